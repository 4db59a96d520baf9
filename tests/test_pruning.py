"""Whole heads taken out: the answer is that of heads that give zeros, and the matrices are really smaller."""

from dataclasses import replace

import pytest
import torch
from common import TINY, pictures, randomise

from vitlib.attention import MultiHeadAttention
from vitlib.data import normalise
from vitlib.lora import add_lora
from vitlib.pruning import head_importance, least_important, prune_heads, shrink
from vitlib.train import predict
from vitlib.vit import ViT

WIDE = replace(TINY, dim=24, heads=4)  # two blocks of four heads, each 6 wide


def vit(**changes):
    return randomise(ViT(replace(WIDE, **changes)), 0.3).eval()


def silenced(model, heads):
    """The same model whose heads give zeros: their columns of proj are zero."""
    twin = ViT(model.config).eval()
    twin.load_state_dict(model.state_dict())
    with torch.no_grad():
        for i, head in heads:
            twin.blocks[i].attn.proj.weight[:, 6 * head:6 * head + 6] = 0
    return twin


@pytest.mark.parametrize("kind", [{}, {"qkv_bias": False}, {"pool": "mean"}], ids=str)
def test_a_pruned_model_answers_as_if_the_heads_gave_zeros(kind):
    model, heads, x = vit(**kind), [(0, 1), (0, 3), (1, 0)], torch.randn(3, 3, 8, 8)
    pruned = prune_heads(model, heads)
    torch.testing.assert_close(pruned(x), silenced(model, heads)(x), atol=1e-5, rtol=1e-5)
    assert (pruned(x) - model(x)).abs().max() > 1e-3
    assert [block.attn.heads for block in pruned.blocks] == [2, 3] and [b.attn.heads for b in model.blocks] == [4, 4]
    weights, bias = pruned.blocks[0].attn.qkv.weight, pruned.blocks[0].attn.qkv.bias
    assert weights.shape == (3 * 2 * 6, 24) and pruned.blocks[0].attn.proj.weight.shape == (24, 12)
    assert (bias is None) == (kind == {"qkv_bias": False})
    assert torch.equal(prune_heads(model, [])(x), model(x))


def test_maps_have_as_many_heads_as_the_block_has_left():
    attn = randomise(MultiHeadAttention(24, 4), 0.4)
    x, (_, whole) = torch.randn(2, 5, 24), (None, None)
    whole = attn(x, need_weights=True)[1]
    shrink(attn, [0, 2])
    y, maps = attn(x, need_weights=True)
    torch.testing.assert_close(maps, whole[:, [0, 2]])
    torch.testing.assert_close(y, attn(x))


def test_importance_is_the_slope_of_the_loss_along_a_gate():
    model, data, step = vit().double(), pictures(count=6), 1e-4
    with torch.no_grad():
        model.patch_embed.proj.weight.mul_(0.1)

    def losses(head, factor):
        twin = ViT(model.config).double().eval()
        twin.load_state_dict(model.state_dict())
        with torch.no_grad():
            twin.blocks[1].attn.proj.weight[:, 6 * head:6 * head + 6] *= factor
            logits = twin(normalise(data.images).double())
        return torch.nn.functional.cross_entropy(logits, data.labels, reduction="none")

    class Double(ViT):
        def embed(self, images):
            return super().embed(images.double())

    model.__class__ = Double
    found = head_importance(model, data, batch_size=4)
    assert found.shape == (2, 4) and (found > 0).all()
    for head in range(4):
        slope = (losses(head, 1 + step) - losses(head, 1 - step)) / (2 * step)  # (B,)
        assert abs(found[1, head] - slope.abs().mean()) < 1e-4 * (1 + slope.abs().mean())


def test_importance_leaves_the_model_as_it_was_and_reads_a_frozen_one():
    model, data = vit().requires_grad_(False).train(), pictures(count=6)
    before = predict(model, data.images)
    head_importance(model, data)
    assert model.training and torch.equal(predict(model, data.images), before)
    assert not any(block.attn.proj._forward_pre_hooks for block in model.blocks)
    assert all(p.grad is None for p in model.parameters())


def test_the_least_important_go_first_and_each_block_keeps_its_best():
    importance = torch.tensor([[1.0, 2, 3], [4, 5, 6], [0.1, 0.2, 0.3]])
    assert least_important(importance, 3) == [(2, 0), (2, 1), (0, 0)]  # (2, 2) is the third least, and stays
    assert len(least_important(importance, 6)) == 6
    for count in (0, 7, 1.5):
        with pytest.raises(ValueError, match="1 to 6 can go"):
            least_important(importance, count)


def test_what_cannot_be_pruned_is_refused():
    for heads, words in (([(2, 0)], "no head"), ([(0, 4)], "no head"), ([(-1, 0)], "no head"),
                         ([(1, head) for head in range(4)], "block 1 would be left without heads")):
        with pytest.raises(ValueError, match=words):
            prune_heads(vit(), heads)
    with pytest.raises(ValueError, match="is an adapter"):
        prune_heads(add_lora(vit(), 2), [(0, 0)])
    with pytest.raises(ValueError, match="got Linear"):
        prune_heads(torch.nn.Linear(2, 2), [(0, 0)])
