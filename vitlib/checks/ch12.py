"""Checkers of chapter 12."""

import math

import torch

from . import exercise, right, wrong


@exercise
def exercise_1(share_on_patches):
    value = float(share_on_patches)
    if abs(value - 1) < 1e-6:
        return wrong("The whole row sums to 1, but one of its 65 shares is the class token's attention to itself.")
    if abs(value - 1 / 65) < 1e-4:
        return wrong("That is the share of one token; there are 64 patches.")
    if abs(value - 63 / 64) < 1e-4:
        return wrong("There are 65 tokens: 64 patches and the class token.")
    if abs(value - 64 / 65) > 1e-3:
        return wrong(f"{value:.4g} is not 64 of 65 equal shares.")
    return right("64/65, 98.5 %.")


@exercise
def exercise_2(row_entropy):
    A = torch.tensor([[[1.0, 0.0, 0.0], [1 / 3, 1 / 3, 1 / 3], [0.5, 0.5, 0.0]]]).expand(2, 3, 3)
    out = row_entropy(A)
    if out.isnan().any():
        return wrong("There are NaNs: 0 · ln 0 is not a number to a computer. torch.special.entr takes it as 0.")
    if out.shape != (2, 3):
        return wrong(f"For maps (2, 3, 3) the result should be (2, 3), one number a row, not {tuple(out.shape)}.")
    expected = torch.tensor([0.0, math.log(3), math.log(2)]).expand(2, 3)
    if torch.allclose(out, -expected, atol=1e-4):
        return wrong("The sign is missing: logarithms of shares are negative, entropy is not.")
    if torch.allclose(out, expected / math.log(2), atol=1e-4):
        return wrong("That is in bits; the natural logarithm gives nats.")
    if torch.allclose(out, torch.special.entr(A).sum(-2), atol=1e-4):
        return wrong("You summed down the columns; a row runs along the last axis.")
    if torch.allclose(out, expected / 3, atol=1e-4):
        return wrong("The terms are summed, not averaged.")
    if not torch.allclose(out, expected, atol=1e-4):
        return wrong(f"A row with one weight of 1 has entropy 0, an even one ln 3 = 1.099; you have {out[0, 0]:.3f} and {out[0, 1]:.3f}.")
    return right("0 for a choice, ln N for an even row.")


@exercise
def exercise_3(follow):
    maps = torch.rand(3, 4, 4, generator=torch.Generator().manual_seed(0)).softmax(-1)
    maps = (maps * torch.tensor([1.0, 2.0, 4.0, 8.0])).div((maps * torch.tensor([1.0, 2.0, 4.0, 8.0])).sum(-1, keepdim=True))
    maps[0, 0] = torch.tensor([1.0, 0, 0, 0])
    expected = maps[2] @ maps[1] @ maps[0]
    out = follow(maps)
    if out.shape != (4, 4):
        return wrong(f"The result should be (4, 4), got {tuple(out.shape)}.")
    if torch.allclose(out, maps[0] @ maps[1] @ maps[2], atol=1e-5):
        return wrong("The layers are in reverse: the first layer acts first, so it stands on the right.")
    if torch.allclose(out, maps.mean(0), atol=1e-5):
        return wrong("Layers act one after another: multiply them, do not average.")
    if torch.allclose(out, maps[2] * maps[1] * maps[0], atol=1e-5):
        return wrong("That multiplies entry by entry; following a path is a matrix product.")
    half = torch.eye(4)
    for layer in maps:
        half = (0.5 * torch.eye(4) + 0.5 * layer) @ half
    if torch.allclose(out, half, atol=1e-5):
        return wrong("That is rollout with a residual path; here there is none.")
    if not torch.allclose(out, expected, atol=1e-5):
        return wrong("The rows do not follow the tokens from the last layer back to the first: expected A3 @ A2 @ A1.")
    return right("A3 @ A2 @ A1: later layers on the left.")


@exercise
def exercise_4(win_share):
    pictures, inside = torch.zeros(4, 2, 3), torch.zeros(4, 2, 3)
    pictures[:, 1, 2], pictures[:, 0, 0] = 0.6, 0.4
    inside[0, 1, 2], inside[1, 1, 2], inside[2, 0, 0], inside[3, 1, 2] = 1.0, 0.5, 1.0, 0.3
    value = win_share(pictures, inside)
    if isinstance(value, torch.Tensor):
        if value.numel() > 1:
            return wrong("Return one number for all images: the share of wins.")
        value = value.item()
    if abs(value - 0.25) < 1e-6:
        return wrong("A patch covered to exactly one half counts as a win: use >=.")
    if abs(value - 0.75) < 1e-6:
        return wrong("A patch covered to 0.3 is not a win; the object must cover at least one half.")
    if abs(value - 0.45) < 1e-6:
        return wrong("You averaged the shares at the maximum; a win is all or nothing.")
    if abs(value - 2) < 1e-6:
        return wrong("That is the number of wins; divide by the number of images.")
    if abs(value - 0.5) > 1e-6:
        return wrong(f"Of four test maps two win, yours says {value:.3g}: find the place of each map's maximum, in its own image.")
    return right("Two wins of four. A map that always pointed at the centre would be the rival to beat.")
