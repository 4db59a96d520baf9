"""Checkers of chapter 5."""

import torch

from . import exercise, right, wrong


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


@exercise
def exercise_3(contributions):
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
def exercise_4(mix):
    head, tokens = mix
    tokens = [int(token) for token in tokens]
    if head == 1 and tokens == [16, 17, 18, 19]:
        return right("Rows 80 to 83 are head 1, tokens 16 to 19. Output 20 holds nothing of token 20.")
    if tokens == [20, 20, 20, 20] or tokens == [20]:
        return wrong("That is the right merge, one token from all heads. Here four rows in a line come from one head.")
    if tokens == [80, 81, 82, 83]:
        return wrong("80 to 83 are the rows. Each head has 64 of them: which head, and which tokens within it?")
    if tokens == [20, 21, 22, 23]:
        return wrong("Each output takes four rows, so output 20 begins at row 4 · 20, not at row 20.")
    if tokens == [16, 17, 18, 19]:
        return wrong(f"The tokens are right, the head is not {head}: rows 64 to 127 belong to one head.")
    return wrong("Number the (4, 64) rows from 0 to 255, reshape them to (64, 4), and look at row 20.")
