"""Checkers of chapter 5."""

import torch
from torch import nn

from ..attention import MultiHeadAttention
from . import evidence, exercise, right, wrong


@exercise
def exercise_1(parameters):
    twelve, six = parameters
    correct = 4 * 768**2 + 4 * 768
    if twelve == correct and six == correct:
        return right("2,362,368 both times: heads share the width out, they do not add to it.")
    if twelve == correct:
        return wrong("The first number is right. Half as many heads are each twice as wide: the matrices keep their size.")
    if twelve == 4 * 768**2:
        return wrong("The biases are missing: 3·768 in qkv and 768 in proj.")
    if twelve in (3 * 768**2, 3 * 768**2 + 3 * 768):
        return wrong("That is qkv alone; the last linear layer, which mixes the heads, has 768² weights more.")
    if twelve in (12 * correct, correct // 12):
        return wrong("The number of heads does not multiply or divide the parameters: each head has only D/h columns.")
    return wrong(f"qkv maps 768 numbers to 3·768, proj maps 768 to 768, both with biases: that is not {twelve}.")


@exercise
def exercise_2(split_heads):
    B, N, D, h = 2, 5, 12, 3
    x = torch.arange(float(B * N * D)).reshape(B, N, D)
    out = split_heads(x, h)
    truth = x.reshape(B, N, h, D // h).transpose(1, 2)
    if out.shape == (B, N, h, D // h):
        return wrong("The parts are named but not ordered: heads must come before tokens, so swap axes 1 and 2.")
    if out.shape != truth.shape:
        return wrong(f"(2, 5, 12) with 3 heads should become (2, 3, 5, 4), not {tuple(out.shape)}.")
    if torch.equal(out, truth):
        return right("Head j holds columns jd to (j+1)d - 1 of every token.")
    if torch.equal(out, x.reshape(B, h, N, D // h)):
        return wrong("Reshaping straight to (B, h, N, d) pours numbers across tokens: name the parts as (B, N, h, d), then transpose.")
    if torch.equal(out, x.reshape(B, N, D // h, h).permute(0, 3, 1, 2)):
        return wrong("Each head got every h-th column; its columns should be neighbours: split D into (h, d), not (d, h).")
    return wrong(f"Head 0 of token 0 should be columns 0 to 3, {truth[0, 0, 0].tolist()}; it is {out[0, 0, 0].tolist()}.")


def random_layer(dim: int, heads: int) -> MultiHeadAttention:
    """A layer in float64 whose parameters are all drawn at random, the same each time."""
    g = torch.Generator().manual_seed(0)
    layer = MultiHeadAttention(dim, heads).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=g))
    return layer


@exercise
def exercise_3(attend):
    B, N, D, h = 2, 5, 12, 3
    d, layer = D // h, random_layer(D, h)
    x = torch.randn(B, N, D, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with torch.no_grad():
        out = attend(x, layer.qkv, h)
        q, k, v = layer.split(x)
        parts = layer.qkv(x).reshape(B, N, h, 3, d).permute(3, 0, 2, 1, 4)  # sorted by head first
    scores = q @ k.transpose(-2, -1)

    def equals(truth):
        return out.shape == truth.shape and torch.allclose(out, truth, atol=1e-8)

    def with_scale(width, dim=-1):
        return (scores / width**0.5).softmax(dim) @ v

    if equals(with_scale(d)):
        return right("Every head attends on its own columns, all in one product.")
    if out.shape == (B, N, D):
        return wrong("The heads are merged already, or were never split: keep them apart, (B, h, N, d) = (2, 3, 5, 4).")
    if out.shape != (B, h, N, d):
        return wrong(f"The result should be (B, h, N, d) = (2, 3, 5, 4), not {tuple(out.shape)}.")
    if equals(with_scale(D)):
        return wrong("The scores were divided by √D. A dot product of d numbers needs √d, the width of one head.")
    if equals(with_scale(1)):
        return wrong("The scores were not divided by √d.")
    if equals(with_scale(d, -2)):
        return wrong("The softmax runs over the queries: each row, over the keys, should sum to 1 (dim=-1).")
    if equals((k @ q.transpose(-2, -1) / d**0.5).softmax(-1) @ v):
        return wrong("Queries and keys have changed places: the first third of qkv's columns are the queries.")
    if equals((parts[0] @ parts[1].transpose(-2, -1) / d**0.5).softmax(-1) @ parts[2]):
        return wrong("You split into heads first and into q, k, v second: the columns are sorted by kind, then by head.")
    return wrong("The numbers differ from softmax(q kᵀ / √d) v in each head: check the order of q, k and v, and the split.")


@exercise
def exercise_4(multi_head):
    B, N, D, h = 2, 5, 12, 3
    layer = random_layer(D, h)
    x = torch.randn(B, N, D, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with torch.no_grad():
        out = multi_head(x, layer.qkv, layer.proj, h)
        q, k, v = layer.split(x)
        y = torch.nn.functional.scaled_dot_product_attention(q, k, v)  # (B, h, N, d)
        merged = y.transpose(1, 2).reshape(B, N, D)
        if out.shape != x.shape:
            return wrong(f"(2, 5, 12) should keep its shape, but became {tuple(out.shape)}.")

        def equals(truth):
            return torch.allclose(out, truth, atol=1e-8)

        if equals(layer.proj(merged)):
            if moved_by_query(multi_head, layer, x, h, 3) != [3]:
                return wrong("The numbers agree, but a change of one query moved other outputs too.")
            return right("It equals the library's layer, and a change of one query moves one output.")
        if equals(layer.proj(y.reshape(B, N, D))):
            moved = moved_by_query(multi_head, layer, x, h, 3)
            return wrong(f"The transpose before the merge is missing: a change of query 3 alone moves outputs {moved}.")
        if equals(merged):
            return wrong("The heads are merged, but proj was not applied: nothing mixes them.")
        if equals(merged @ layer.proj.weight.T):
            return wrong("The bias of proj is missing: call proj(...) instead of multiplying by its weight.")
        if equals(layer.proj(y.flip(1).transpose(1, 2).reshape(B, N, D))):
            return wrong("The heads are merged in reverse order: head 0 belongs in columns 0 to d - 1.")
        if equals(layer.proj(y.permute(0, 2, 3, 1).reshape(B, N, D))):
            return wrong("The heads' columns are interleaved: merge (B, N, h, d), with d last.")
        if equals(x + layer.proj(merged)):
            return wrong("That adds the tokens to the result: the addition belongs to the block, in chapter 6.")
    return wrong("The numbers differ from the library's layer: is stage 2 right, and do the heads come before the merge?")


def moved_by_query(multi_head, layer: MultiHeadAttention, x: torch.Tensor, h: int, n: int) -> list[int]:
    """Which outputs of a reader's layer move when the query of token n alone is changed."""

    class Shifted(nn.Module):
        def forward(self, tokens):
            out = layer.qkv(tokens).clone()
            out[:, n, :x.shape[-1]] += 1
            return out

    moved = multi_head(x, Shifted(), layer.proj, h) - multi_head(x, layer.qkv, layer.proj, h)
    return (moved.abs().amax(dim=(0, 2)) > 1e-8).nonzero().flatten().tolist()


@exercise
def exercise_5(contributions):
    B, h, N, d = 2, 3, 5, 4
    D, g = h * d, torch.Generator().manual_seed(0)
    y = torch.randn(B, h, N, d, generator=g, dtype=torch.float64)
    weight = torch.randn(D, D, generator=g, dtype=torch.float64)
    out = contributions(y, weight)
    merged = y.transpose(1, 2).reshape(B, N, D)
    if out.shape == (B, N, D):
        return wrong("That is the sum over heads already: keep the parts apart, (B, h, N, D).")
    if out.shape != (B, h, N, D):
        return wrong(f"The result should be (B, h, N, D) = (2, 3, 5, 12), not {tuple(out.shape)}.")

    def equals(parts):
        return torch.allclose(out, y @ parts, atol=1e-8)

    if equals(weight.reshape(D, h, d).permute(1, 2, 0)):
        return right("Each head meets its own d columns of the weight, and the parts add up to the layer's output.")
    if equals(weight.reshape(h, d, D)):
        return wrong("You took rows of the weight. nn.Linear computes x Wᵀ, so a head's inputs meet columns of W.")
    if equals(weight.reshape(D, d, h).permute(2, 1, 0)):
        return wrong("Each head met every h-th column; its columns are neighbours: split them into (h, d), not (d, h).")
    if torch.allclose(out.sum(1), h * (merged @ weight.T), atol=1e-8):
        return wrong("Every head got the whole output: the parts add up to h times the layer's result.")
    if torch.allclose(out.sum(1), merged @ weight.T, atol=1e-8):
        return wrong("The sum is right, the parts are not: some heads hold what others wrote.")
    return wrong("Summed over heads the parts do not give y Wᵀ: check which columns of the weight each head meets.")


@exercise
def exercise_6(claim, losses):
    one, four = "the loss with one head", "the loss with four heads"
    if isinstance(losses, dict) and set(losses) == {one, four}:
        values = [float(value) for side in losses.values() for value in side]
        if values and 2.25 < min(values) and max(values) < 2.5:
            return wrong("All losses are near 2.30, which is guessing among ten classes: train before you compare.")
    return evidence.weigh(claim, losses, one, four, between=(0, 4), unit=" nats")
