import pytest
import torch
from common import randomise

from vitlib.encoder import MLP, DropPath, EncoderBlock


def test_mlp_is_two_linear_layers_around_the_exact_gelu():
    mlp, x = randomise(MLP(4, 8)).double(), torch.randn(2, 3, 4, dtype=torch.float64) * 5
    hidden = mlp.fc1(x)
    hidden = hidden * (1 + torch.erf(hidden / 2**0.5)) / 2
    torch.testing.assert_close(mlp(x), mlp.fc2(hidden), atol=1e-12, rtol=0)


def test_a_block_whose_branches_are_silent_passes_its_input_through():
    block, x = randomise(EncoderBlock(8, 2, 16)), torch.randn(2, 5, 8)
    with torch.no_grad():
        for layer in (block.attn.proj, block.mlp.fc2):
            layer.weight.zero_()
            layer.bias.zero_()
    assert torch.equal(block(x), x)


def test_a_block_normalises_before_each_branch_and_not_after():
    block, x = randomise(EncoderBlock(8, 2, 16)), torch.randn(2, 5, 8)
    middle = x + block.attn(block.norm1(x))
    torch.testing.assert_close(block(x), middle + block.mlp(block.norm2(middle)))


def test_tokens_may_come_in_any_order():
    block, x, order = randomise(EncoderBlock(8, 2, 16)), torch.randn(2, 5, 8), torch.tensor([3, 0, 4, 1, 2])
    torch.testing.assert_close(block(x[:, order]), block(x)[:, order], atol=1e-6, rtol=0)
    assert not torch.allclose(block(x[:, order]), block(x), atol=1e-3)


def test_asking_for_weights_does_not_change_the_output():
    block, x = randomise(EncoderBlock(8, 2, 16)).double(), torch.randn(2, 5, 8, dtype=torch.float64)
    y, weights = block(x, need_weights=True)
    torch.testing.assert_close(y, block(x), atol=1e-12, rtol=0)  # the fused kernel adds in another order
    assert weights.shape == (2, 2, 5, 5)


def test_the_first_queries_alone_come_out_as_they_would_among_all():
    block, x = randomise(EncoderBlock(8, 2, 16)), torch.randn(2, 5, 8)
    torch.testing.assert_close(block(x, queries=1), block(x)[:, :1])


def test_drop_path_leaves_out_whole_images_and_keeps_the_mean():
    layer = DropPath(0.25).train()
    y = layer(torch.ones(20_000, 2, 3))
    first = y[:, 0, 0]
    assert torch.equal(y, first[:, None, None].expand_as(y))  # one draw an image
    torch.testing.assert_close(first.unique(), torch.tensor([0, 4 / 3]))
    assert first.mean().item() == pytest.approx(1, abs=0.02)


def test_drop_path_is_silent_in_evaluation_and_at_rate_zero():
    x = torch.randn(50, 2, 3)
    assert torch.equal(DropPath(0.9).eval()(x), x)
    assert torch.equal(DropPath(0.0).train()(x), x)


def test_a_block_drops_both_branches_and_never_its_input():
    block, x = randomise(EncoderBlock(8, 2, 16, drop_path=0.5)).train(), torch.randn(1, 5, 8).expand(200, 5, 8)
    kinds = block(x).flatten(1).round(decimals=4).unique(dim=0)
    assert len(kinds) == 4  # neither, attention, MLP, both
    assert (kinds == x[:1].flatten(1).round(decimals=4)).all(dim=1).any()


def test_dropout_reaches_the_mlp():
    assert (randomise(MLP(4, 8, dropout=0.5)).train()(torch.randn(2, 3, 4)) == 0).any()


@pytest.mark.parametrize("rate", [-0.1, 1.0, 2])
def test_a_drop_path_rate_that_is_no_probability_is_named(rate):
    with pytest.raises(ValueError, match=rf"\[0, 1\), got {rate}"):
        DropPath(rate)
