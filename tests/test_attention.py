import math

import pytest
import torch
from common import randomise
from torch import nn
from torch.nn import functional as F

from vitlib.attention import MultiHeadAttention, attention, attention_weights


def test_one_case_by_hand():
    q = torch.tensor([[1.0, 0, 0, 0], [0, 0, 0, 0]])
    k = torch.tensor([[2 * math.log(3), 0, 0, 0], [0, 5, 0, 0]])
    v = torch.tensor([[4.0], [8.0]])
    # d = 4: scores (ln 3, 0) give weights (3/4, 1/4); the zero query takes half of each
    torch.testing.assert_close(attention_weights(q, k), torch.tensor([[0.75, 0.25], [0.5, 0.5]]))
    torch.testing.assert_close(attention(q, k, v), torch.tensor([[5.0], [6.0]]))


@pytest.mark.parametrize(("N", "M"), [(5, 5), (3, 7), (1, 4)])
def test_attention_equals_pytorchs(N, M):
    q, k, v = torch.randn(2, 3, N, 8), torch.randn(2, 3, M, 8), torch.randn(2, 3, M, 6)
    torch.testing.assert_close(attention(q, k, v), F.scaled_dot_product_attention(q, k, v), atol=1e-6, rtol=0)


def test_rows_of_the_weights_sum_to_one():
    weights = attention_weights(torch.randn(2, 3, 4, 8) * 9, torch.randn(2, 3, 6, 8))
    assert weights.shape == (2, 3, 4, 6)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 3, 4))
    assert (weights.sum(-2) - 1).abs().max() > 0.1


@pytest.mark.parametrize("bias", [True, False])
def test_multi_head_attention_equals_pytorchs_with_copied_weights(bias):
    ours = randomise(MultiHeadAttention(12, 3, qkv_bias=bias)).double()
    theirs = nn.MultiheadAttention(12, 3, batch_first=True).double()
    with torch.no_grad():
        theirs.in_proj_weight.copy_(ours.qkv.weight)
        theirs.in_proj_bias.copy_(ours.qkv.bias if bias else torch.zeros(36))
    theirs.out_proj.load_state_dict(ours.proj.state_dict())
    x = torch.randn(2, 5, 12, dtype=torch.float64) * 3
    y, weights = ours(x, need_weights=True)
    y2, weights2 = theirs(x, x, x, average_attn_weights=False)
    torch.testing.assert_close(y, y2, atol=1e-12, rtol=0)
    torch.testing.assert_close(weights, weights2, atol=1e-12, rtol=0)


def test_asking_for_weights_does_not_change_the_output_and_the_weights_reproduce_it():
    layer, x = randomise(MultiHeadAttention(12, 3)).double(), torch.randn(2, 5, 12, dtype=torch.float64) * 3
    y, weights = layer(x, need_weights=True)
    torch.testing.assert_close(y, layer(x), atol=1e-12, rtol=0)  # the fused kernel sums in another order
    v = layer.qkv(x)[..., 24:].reshape(2, 5, 3, 4).transpose(1, 2)  # (B, h, N, d)
    by_hand = layer.proj((weights @ v).transpose(1, 2).reshape(2, 5, 12))
    torch.testing.assert_close(by_hand, y, atol=1e-12, rtol=0)


def test_the_output_is_made_from_the_returned_weights_so_it_has_a_gradient_by_them():
    layer, x = randomise(MultiHeadAttention(12, 3)).double(), torch.randn(2, 5, 12, dtype=torch.float64) * 3
    y, weights = layer(x, need_weights=True)
    gradient, = torch.autograd.grad(y[..., 7].sum(), weights)  # an error where the weights are a copy on the side
    v = layer.qkv(x)[..., 24:].reshape(2, 5, 3, 4).transpose(1, 2)  # (B, h, M, d)
    row = layer.proj.weight[7].reshape(3, 1, 4)  # what output 7 takes from each head
    by_hand = (v * row).sum(-1)[:, :, None].expand(-1, -1, 5, -1)  # the same for each query
    torch.testing.assert_close(gradient, by_hand, atol=1e-12, rtol=0)


def test_asking_for_the_first_queries_gives_their_rows_alone():
    layer, x = randomise(MultiHeadAttention(12, 3)).double(), torch.randn(2, 5, 12, dtype=torch.float64)
    (y, weights), (y2, weights2) = layer(x, need_weights=True), layer(x, need_weights=True, queries=2)
    torch.testing.assert_close(y2, y[:, :2], atol=1e-12, rtol=0)
    torch.testing.assert_close(weights2, weights[:, :, :2], atol=1e-12, rtol=0)


def test_each_image_attends_to_itself_alone():
    layer, x = randomise(MultiHeadAttention(8, 2)), torch.randn(3, 5, 8)
    alone = torch.cat([layer(one[None]) for one in x])
    torch.testing.assert_close(layer(x), alone, atol=1e-6, rtol=0)


def test_dropout_acts_in_training_only():
    layer, x = randomise(MultiHeadAttention(8, 2, dropout=0.5)), torch.randn(2, 5, 8)
    assert (layer.train()(x) == 0).any()
    assert not (layer.eval()(x) == 0).any()


@pytest.mark.parametrize(("dim", "heads"), [(64, 5), (8, 16), (8, 0), (8, 2.0), (8, -2)])
def test_heads_that_do_not_divide_are_named(dim, heads):
    with pytest.raises(ValueError, match=f"dim {dim} .* {heads} heads.*divide {dim}"):
        MultiHeadAttention(dim, heads)


@pytest.mark.parametrize("shape", [(5, 8), (2, 5, 9), (2, 2, 5, 8)])
def test_tokens_of_another_shape_are_named(shape):
    with pytest.raises(ValueError, match=rf"\(B, N, 8\), got \({shape[0]}, {shape[1]}"):
        MultiHeadAttention(8, 2)(torch.zeros(shape))


@pytest.mark.parametrize("queries", [0, -1, 1.0, True])
def test_a_number_of_queries_that_counts_nothing_is_named(queries):
    with pytest.raises(ValueError, match=f"first tokens, 1 or more, or is None for all, got {queries}"):
        MultiHeadAttention(8, 2)(torch.zeros(2, 5, 8), queries=queries)


def test_an_empty_batch_gives_an_empty_answer():
    assert MultiHeadAttention(8, 2)(torch.zeros(0, 5, 8)).shape == (0, 5, 8)


def test_queries_keys_and_values_that_do_not_match_are_named():
    with pytest.raises(ValueError, match="queries are 4 wide and keys 5"):
        attention(torch.zeros(3, 4), torch.zeros(3, 5), torch.zeros(3, 4))
    with pytest.raises(ValueError, match="3 keys but 2 values"):
        attention(torch.zeros(3, 4), torch.zeros(3, 4), torch.zeros(2, 4))
