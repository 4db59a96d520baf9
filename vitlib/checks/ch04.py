"""Checkers of chapter 4."""

import math

import torch

from . import evidence as rules
from . import exercise, right, wrong


def same(a, b) -> bool:
    return a.shape == b.shape and torch.allclose(a, b, atol=1e-5)


@exercise
def exercise_1(received):
    value = float(received)
    if abs(value - 16) < 1e-6:
        return wrong("That is the sum of the values; the weights sum to 1, so it is divided by 4.")
    if abs(value - 48) < 1e-6:
        return wrong("The scores were used as weights; the softmax comes first.")
    if abs(value - 10) < 1e-6:
        return wrong("The largest value is not read more: weights come from scores, and those are equal.")
    if abs(value - 4) > 1e-6:
        return wrong(f"{value:g} is not the mean of 1, 2, 3 and 10; equal scores give equal shares.")
    return right("Equal scores give equal shares: the mean, 4.")


@exercise
def exercise_2(std_of_scores):
    value = float(std_of_scores)
    if abs(value - 2) < 0.01:
        return wrong("Upside down: dividing by more makes the scores smaller.")
    if abs(value - 1 / 4) < 0.003:
        return wrong("The width is 4 times too large; its square root is √4 times too large.")
    if abs(value - 48**-0.5) < 0.003:
        return wrong("Dividing by √48 replaces the division by √12; it does not come on top of it.")
    if abs(value - 1) < 0.01:
        return wrong("1 is what the right division by √12 gives.")
    if abs(value - 0.5) > 0.005:
        return wrong(f"{value:g} is not √12 / √48.")
    return right("√12 / √48 = 0.5: scores half as large, and flatter weights.")


@exercise
def exercise_3(previous_token):
    N = 6
    Wq, Wk = previous_token(N)
    if Wq.shape != (N, N) or Wk.shape != (N, N):
        return wrong(f"Both matrices should be ({N}, {N}), got {tuple(Wq.shape)} and {tuple(Wk.shape)}.")
    A = (Wq @ Wk.T / N**0.5).softmax(-1)  # x is the identity, so q = Wq and k = Wk
    before, after, itself = (A.diagonal(n) for n in (-1, 1, 0))
    if before.min() > 0.9:
        return right("Each token reads the one before it. Without positions no matrices could do this.")
    if after.min() > 0.5:
        return wrong("Each token reads the one after it: shift the identity the other way, or exchange Wq and Wk.")
    if itself.min() > 0.5:
        return wrong("Each token reads itself: the query of token i must point to position i - 1.")
    if (A.argmax(-1)[1:] == torch.arange(N - 1)).all():
        return wrong(f"The right token is ahead, but gets only {before.min():.0%} of the weight: make the scores larger.")
    return wrong("The weight is not on the token before: row i of Wq @ Wk.T should be largest in column i - 1.")


@exercise
def exercise_4(claim, evidence, final_loss):
    said = rules.weigh(claim, evidence, more="undivided", less="divided", between=(0, 4))
    if not said.right:
        return said
    for side, divide in (("divided", True), ("undivided", False)):
        again, given = final_loss(divide, 0), evidence[side][0]
        if not math.isclose(again, given, rel_tol=0.02, abs_tol=0.006):  # numbers may be rounded
            return wrong(f"final_loss({divide}, 0) gives {again:.3g}, and the first number under {side!r} is {given:.3g}. "
                         "Begin with seed 0, at the learning rate that the function has, and keep the order.")
    return said


@exercise
def exercise_5(soft_look_up):
    g = torch.Generator().manual_seed(0)
    query, keys, values = torch.randn(3, generator=g), torch.randn(5, 3, generator=g), torch.randn(5, 2, generator=g)
    scores, tau = keys @ query, 0.7
    expected = (scores / tau).softmax(0) @ values
    out = soft_look_up(query, keys, values, tau)
    if out.shape != (2,):
        return wrong(f"The result has shape {tuple(out.shape)} instead of (2,), the width of a value.")
    if same(out, (scores * tau).softmax(0) @ values):
        return wrong("A low temperature should choose more sharply: divide the scores by tau, do not multiply.")
    if same(out, scores.softmax(0) @ values):
        return wrong("The temperature has no effect.")
    if same(out, scores / tau @ values):
        return wrong("The scores were used as weights; the softmax comes first.")
    if same(out, (-(keys - query).square().sum(-1) / (2 * tau)).softmax(0) @ values):
        return wrong("These are scores by distance; here the score is the dot product of query and key.")
    if not same(out, expected):
        return wrong("The result is not softmax(scores / tau), times the values.")
    hard = soft_look_up(query, keys, values, 0)
    if hard.isnan().any():
        return wrong("tau = 0 gives nan: nothing can be divided by 0. Return the value of the key with the highest score.")
    if not same(hard, values[scores.argmax()]):
        return wrong("For tau = 0 the result should be the value of the key with the highest score.")
    return right("Sharp at low temperatures, and a hard look-up at 0.")


@exercise
def exercise_6(masked_attention):
    g = torch.Generator().manual_seed(0)
    q, k, v = torch.randn(2, 3, 4, generator=g), torch.randn(2, 5, 4, generator=g), torch.randn(2, 5, 4, generator=g)
    keep = torch.tensor([[True, True, False, True, False], [False, True, True, True, True]])
    scores = q @ k.transpose(-2, -1) / 2
    expected = scores.masked_fill(~keep[:, None, :], -torch.inf).softmax(-1) @ v
    out = masked_attention(q, k, v, keep)
    if out.shape != expected.shape:
        return wrong(f"The result has shape {tuple(out.shape)} instead of {tuple(expected.shape)}.")
    if out.isnan().any():
        return wrong("There are NaNs. 0 times infinity is one: fill the scores with masked_fill. Or a row has no key left: the mask belongs to the keys, the last axis.")
    if same(out, scores.softmax(-1) @ v):
        return wrong("The mask has no effect: the left-out keys are still read.")
    if same(out, (scores.softmax(-1) * keep[:, None, :]) @ v):
        return wrong("You set weights to 0 after the softmax, so the rest no longer sums to 1; change the scores before it.")
    if same(out, scores.masked_fill(~keep[:, None, :], 0.0).softmax(-1) @ v):
        return wrong("A score of 0 still gets a weight, exp(0) = 1; use minus infinity.")
    if same(out, scores.masked_fill(keep[:, None, :], -torch.inf).softmax(-1) @ v):
        return wrong("The mask is the wrong way round: True means keep.")
    if same(out, (scores * 2).masked_fill(~keep[:, None, :], -torch.inf).softmax(-1) @ v):
        return wrong("The scores are not divided by the square root of d.")
    if not same(out, expected):
        return wrong("The left-out keys are handled, but the kept ones do not get softmax shares of the right scores.")
    return right("No weight for the left-out keys, and the others still sum to 1.")


@exercise
def exercise_7(cross_attention):
    g = torch.Generator().manual_seed(0)
    x, context = torch.randn(2, 2, 5, 6, generator=g)  # as long and as wide as each other, so that mistakes run through
    Wq, Wk, Wv = torch.randn(3, 6, 3, generator=g)
    keep = torch.tensor([[True, True, False, True, False], [False, True, True, True, True]])

    def answer(a, b, c, keys=Wk, values=Wv, mask=keep, width=3):
        scores = (a @ Wq) @ (b @ keys).transpose(1, 2) / width**0.5
        return scores.masked_fill(~mask[:, None, :], -torch.inf).softmax(-1) @ (c @ values)

    out = cross_attention(x, context, Wq, Wk, Wv, keep)
    if out.shape != (2, 5, 3):
        return wrong(f"The result has shape {tuple(out.shape)} instead of (2, 5, 3).")
    if same(out, answer(x, x, x)):
        return wrong("That is self-attention of x: the context is never read.")
    if same(out, answer(context, context, context)):
        return wrong("That is self-attention of the context: x, which should read it, has no part in it.")
    if same(out, answer(context, x, x)):
        return wrong("The two sequences are exchanged: x looks for something, so the queries come from x.")
    if same(out, answer(x, context, x)):
        return wrong("The values come from x. What is found in the context is also what is returned: values come with the keys.")
    if same(out, answer(x, context, context, Wv, Wk)):
        return wrong("Wk and Wv are exchanged.")
    if same(out, answer(x, context, context, mask=torch.ones_like(keep))):
        return wrong("The mask has no effect: hand `keep` on.")
    if same(out, answer(x, context, context, width=6)):
        return wrong("The scores are divided by √6, the width of the tokens, instead of √3, that of queries and keys.")
    if not same(out, answer(x, context, context)):
        return wrong("The result is not masked attention with queries from x, keys and values from the context.")
    longer = torch.randn(2, 7, 4, generator=g)  # another length S and another width E
    if cross_attention(x, longer, Wq, Wk[:4], Wv[:4], torch.ones(2, 7, dtype=torch.bool)).shape != (2, 5, 3):
        return wrong("A context of another length or width should give as many results as x has tokens.")
    return right("Queries from x, keys and values from the context, and its left-out tokens are never read.")
