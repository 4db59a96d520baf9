"""Checkers of chapter 3."""

import torch
from torch.nn import functional as F

from ..positions import sincos_1d
from . import exercise, right, wrong
from .evidence import weigh


@exercise
def exercise_1(parameters):
    projection, cls, codes = 192 * 48 + 48, 48, 17 * 48
    mistakes = {
        projection + cls + codes - 48: "Something of width 48 is missing: the bias, the class token, or its position embedding.",
        projection + codes - 48: "Two things of width 48 are missing, among the bias, the class token, and its position embedding.",
        (64 * 48 + 48) + cls + codes: "A patch has 8 · 8 · 3 = 192 numbers, not 64.",
    }
    if parameters in mistakes:
        return wrong(mistakes[parameters])
    if parameters != projection + cls + codes:
        return wrong(f"{parameters} is not 192 · 48 + 48 for the projection, 48 for the class token and 17 · 48 for the positions.")
    return right("10,128: 9,264 for the projection, 48 for the class token, 816 for the position embeddings.")


@exercise
def exercise_2(add_class_token):
    g = torch.Generator().manual_seed(0)
    x, cls, codes = (torch.randn(*shape, generator=g) for shape in ((3, 4, 8), (1, 1, 8), (1, 5, 8)))
    before = x.clone()
    out = add_class_token(x, cls, codes)
    if out.shape != (3, 5, 8):
        return wrong(f"The result has shape {tuple(out.shape)}, not (3, 5, 8): one token more than there were patches.")
    tokens = out - codes
    if not torch.equal(x, before):
        return wrong("Your function changed the tokens it was given: avoid +=, which writes in place.")
    if torch.allclose(out[:, 1:], x):
        return wrong("The patch tokens have no positions: add the position embeddings after the class token is in place.")
    if torch.allclose(tokens[:, -1], cls[0].expand(3, -1), atol=1e-5):
        return wrong("The class token stands at the end; it should be token 0, before the patch tokens.")
    if torch.allclose(out[:, 0], cls[0].expand(3, -1), atol=1e-5):
        return wrong("The class token got no position embedding; all 1 + N tokens have one.")
    if not torch.allclose(tokens[:, 1:], x, atol=1e-5) or not torch.allclose(tokens[:, 0], cls[0].expand(3, -1), atol=1e-5):
        return wrong("The tokens are not class token, then patch tokens, each plus its own position embedding.")
    return right("Class token first, patch tokens after it, a position embedding for each.")


@exercise
def exercise_3(ignores_order):
    images = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    order = torch.tensor([2, 0, 3, 1])

    def corner(x):
        return x[:, :, 0, 0]  # depends on one position

    def total(x):
        return x.sum(dim=(1, 2, 3))[:, None]  # depends on none

    def rare(x):  # one output of many changes
        return torch.cat([total(x).expand(-1, 49_999), x[:, :1, 0, 0]], dim=1)

    for f, expected in ((corner, False), (total, True)):
        result = ignores_order(f, images, order)
        if not isinstance(result, bool):
            return wrong(f"The answer should be True or False, not {type(result).__name__}; .item() turns a tensor into a number.")
        if result is not expected:
            return wrong("The sum of all pixels does not depend on the order, the corner pixel does; your answer for "
                         + ("the corner is True." if result else "the sum is False: floats need a tolerance."))
    if ignores_order(rare, images, order):
        return wrong("One output of 50,000 changed and you missed it: compare the largest difference, not the mean.")
    if not ignores_order(corner, images, torch.arange(4)):
        return wrong("With the patches left in order nothing changes, but you say it does.")
    if not ignores_order(corner, images, order, tolerance=2.0):
        return wrong("The tolerance is not used: nothing here changes by more than 2.")
    return right("A shuffle, and the largest difference: a test for any model.")


@exercise
def exercise_4(distance):
    if distance in (6, 7):
        return wrong("After 6 positions the wave is 0.28 short of a full period: near, but not within 0.05. More periods may fit better.")
    if distance == 22:
        return wrong("After 22 positions it is half a period off: 22 / 2π = 3.50. Sine and cosine have changed sign.")
    if distance == 0:
        return wrong("Position 0 is as close to itself as can be; look for n of at least 1.")
    if distance == 43:
        return wrong("Off by one: the first code in the list belongs to position 0.")
    if distance != 44:
        return wrong(f"{distance} / 2π is not nearly whole, or a smaller number does it; measure all distances up to 100.")
    return right("44 positions are almost exactly seven periods. A lower frequency tells them apart.")


@exercise
def exercise_5(claim, evidence):
    if isinstance(evidence, dict) and evidence and all(len(runs) and max(runs) < 0.14 for runs in evidence.values()):
        return wrong("All runs are near chance, 10 %: nothing was learned, so nothing can be compared. Train for more epochs.")
    return weigh(claim, evidence, "codes", "none", between=(0, 1))


def true_waves(n: torch.Tensor, D: int, base: float) -> torch.Tensor:
    """Alternating sines and cosines, written out: (N,) -> (N, D)."""
    out = torch.empty(len(n), D)
    for j in range(D // 2):
        angle = n.double() * base ** (-2 * j / D)
        out[:, 2 * j], out[:, 2 * j + 1] = angle.sin(), angle.cos()
    return out


@exercise
def exercise_6(waves):
    n, D = torch.arange(7), 12
    out = waves(n, D)
    if out.shape != (7, 12):
        return wrong(f"7 positions of width 12 should give (7, 12), not {tuple(out.shape)}.")
    true = true_waves(n, D, 10000.0)
    if torch.allclose(out, sincos_1d(n, D), atol=1e-4):
        return wrong("All sines stand before all cosines, as in sincos_1d. Here they alternate: sine, cosine, sine, cosine …")
    if torch.allclose(out, true.reshape(7, 6, 2).flip(2).flatten(1), atol=1e-4):
        return wrong("The cosines come first; each pair is sine, then cosine.")
    if torch.allclose(out, true_waves(n, D, 100.0), atol=1e-4):
        return wrong("The frequencies fall half as fast as they should: the exponent is -2j/D, with j = 0 … D/2 - 1.")
    if torch.allclose(out[:, :2], true[:, :2], atol=1e-4) and not torch.allclose(out, true, atol=1e-4):
        return wrong("The first frequency is right, the others are not: omega_j = base^(-2j/D).")
    if not torch.allclose(out, true, atol=1e-4):
        return wrong("Position 1 should begin sin 1 = 0.84, cos 1 = 0.54: the first frequency is base^0 = 1.")
    if not torch.allclose(waves(n, D, 100.0), true_waves(n, D, 100.0), atol=1e-4):
        return wrong("With base 100 the codes are still those of base 10000: use the argument.")
    return right("Sines and cosines alternating, for any base.")


@exercise
def exercise_7(grid_codes):
    rows, columns, D = 3, 5, 16
    out = grid_codes(rows, columns, D)
    if out.shape == (15, 32):
        return wrong("Each half has the full width D: give waves half of it, D // 2, for the row and for the column.")
    if out.shape != (15, 16):
        return wrong(f"A grid of 3×5 and width 16 should give (15, 16), not {tuple(out.shape)}.")
    n = torch.arange(15)
    row, column = true_waves(n // 5, 8, 10000.0), true_waves(n % 5, 8, 10000.0)
    if torch.allclose(out, torch.cat([column, row], 1), atol=1e-4):
        return wrong("Column and row are exchanged: the first half belongs to the row.")
    if torch.allclose(out, torch.cat([true_waves(n % 3, 8, 10000.0), true_waves(n // 3, 8, 10000.0)], 1), atol=1e-4):
        return wrong("The cells are counted down the columns. In reading order cell 1 lies to the right of cell 0.")
    if torch.allclose(out, torch.cat([true_waves(n // 3, 8, 10000.0), true_waves(n % 3, 8, 10000.0)], 1), atol=1e-4):
        return wrong("Divide by the number of columns, not of rows: with a square grid nobody would notice.")
    if not torch.allclose(out, torch.cat([row, column], 1), atol=1e-4):
        return wrong("Cell n should be waves of n // columns, then waves of n % columns, each of width D // 2.")
    if torch.allclose(grid_codes(rows, columns, D, 50.0), out, atol=1e-4):
        return wrong("The base is not passed on: another base gives the same codes.")
    return right("Row, then column, in reading order, for a grid of any shape.")


@exercise
def exercise_8(resize_codes):
    g = torch.Generator().manual_seed(0)
    codes, old, new = torch.randn(1, 2 + 12, 8, generator=g), (3, 4), (6, 5)
    grid = codes[:, 2:].reshape(1, 3, 4, 8).permute(0, 3, 1, 2)  # (1, D, rows, columns)
    out = resize_codes(codes, old, new, 2)
    if out.shape == (1, 30, 8):
        return wrong("The first prefix codes are gone: put them back in front of the resized ones.")
    if out.shape != (1, 32, 8):
        return wrong(f"2 codes and a grid of 6×5 should give (1, 32, 8), not {tuple(out.shape)}.")
    if not torch.equal(out[:, :2], codes[:, :2]):
        return wrong("The first prefix codes should stay as they are: they belong to no cell of the grid.")

    def resized(x: torch.Tensor, **options) -> torch.Tensor:
        return F.interpolate(x, size=new, **options).flatten(2).transpose(1, 2)

    bilinear = {"mode": "bilinear", "align_corners": False}
    known = {
        "That is the nearest code, not a mean of the four around it: mode=\"bilinear\".": resized(grid, mode="nearest"),
        "That is align_corners=True: corners of the two grids were laid on each other, where cells should be.":
            resized(grid, mode="bilinear", align_corners=True),
        "That is bicubic, as in the library; here take mode=\"bilinear\".": resized(grid, mode="bicubic", align_corners=False),
        "The old grid was read with rows and columns exchanged: reshape to (1, rows, columns, D).":
            resized(codes[:, 2:].reshape(1, 4, 3, 8).permute(0, 3, 1, 2), **bilinear),
        "The numbers were poured into (1, D, rows, columns): reshape to (1, rows, columns, D) first, then permute.":
            resized(codes[:, 2:].reshape(1, 8, 3, 4), **bilinear),
    }
    for message, values in known.items():
        if torch.allclose(out[:, 2:], values, atol=1e-5):
            return wrong(message)
    if not torch.allclose(out[:, 2:], resized(grid, **bilinear), atol=1e-5):
        return wrong("The prefix is right, the resized codes are not: (1, cells, D) -> (1, D, rows, columns), resize, and back.")
    if resize_codes(codes[:, 2:], old, old).shape != (1, 12, 8):
        return wrong("Without a prefix, prefix=0, the result has the wrong number of codes.")
    return right("Any grid to any other, with the prefix kept: a model for 32×32 can now read a panorama.")
