"""Checkers of chapter 4."""

import torch

from . import exercise, right, wrong


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
def exercise_2(masked_attention):
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
    if torch.allclose(out, scores.softmax(-1) @ v, atol=1e-5):
        return wrong("The mask has no effect: the left-out keys are still read.")
    if torch.allclose(out, (scores.softmax(-1) * keep[:, None, :]) @ v, atol=1e-5):
        return wrong("You set weights to 0 after the softmax, so the rest no longer sums to 1; change the scores before it.")
    if torch.allclose(out, scores.masked_fill(~keep[:, None, :], 0.0).softmax(-1) @ v, atol=1e-5):
        return wrong("A score of 0 still gets a weight, exp(0) = 1; use minus infinity.")
    if torch.allclose(out, scores.masked_fill(keep[:, None, :], -torch.inf).softmax(-1) @ v, atol=1e-5):
        return wrong("The mask is the wrong way round: True means keep.")
    if not torch.allclose(out, expected, atol=1e-5):
        unscaled = (scores * 2).masked_fill(~keep[:, None, :], -torch.inf).softmax(-1) @ v
        if torch.allclose(out, unscaled, atol=1e-5):
            return wrong("The scores are not divided by the square root of d.")
        return wrong("The left-out keys are handled, but the kept ones do not get softmax shares of the right scores.")
    return right("No weight for the left-out keys, and the others still sum to 1.")


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
        return wrong("Each token reads itself: the query of token i must point to place i - 1.")
    if (A.argmax(-1)[1:] == torch.arange(N - 1)).all():
        return wrong(f"The right token is ahead, but gets only {before.min():.0%} of the weight: make the scores larger.")
    return wrong("The weight is not on the token before: row i of Wq @ Wk.T should be largest in column i - 1.")


@exercise
def exercise_4(deviation):
    value = float(deviation)
    if abs(value - 8**0.5) < 0.01:
        return wrong("Upside down: dividing by more makes the scores smaller.")
    if abs(value - 1 / 8) < 0.003:
        return wrong("The width is 8 times too large; its square root is √8 times too large.")
    if abs(value - 1 / 16) < 0.003:
        return wrong("Dividing by √256 = 16 replaces the division by √32; it does not come on top of it.")
    if abs(value - 8**-0.5) > 0.005:
        return wrong(f"{value:g} is not √32 / √256.")
    return right("1/√8 = 0.354: flatter weights than the head was meant to have.")
