"""Checkers of chapter 10."""

import math
from statistics import mean

import torch
from torch.nn import functional as F

from ..checkpoint import load_record
from . import exercise, right, wrong
from .evidence import weigh


@exercise
def exercise_1(weights, multiplications):
    true = 32 * 16 * 9
    if weights == true + 32:
        return wrong("The biases were counted, and bias=False leaves them out.")
    if weights == 32 * 9 or weights == 16 * 9:
        return wrong("A kernel reaches through all channels of the input, and each channel of the answer has its own.")
    if weights == 32 * 16:
        return wrong("Each pair of channels has 3×3 weights, not one.")
    if weights != true:
        return wrong(f"It does not have {weights} weights: multiply channels in, channels out, and the kernel's nine places.")
    if multiplications == true:
        return wrong("Each weight is used once at every place of the answer, not once in all.")
    if multiplications == true * 30 * 30:
        return wrong("With padding=1 the answer has 32×32 places, not 30×30.")
    if multiplications == 2 * true * 1024:
        return wrong("Multiplications only: the additions double the count to operations.")
    if multiplications != true * 1024:
        return wrong(f"There are not {multiplications} multiplications: the weights times the number of places.")
    return right("4,608 weights, used 1,024 times each. Few weights can be much arithmetic.")


@exercise
def exercise_2(receptive_field):
    cases = [([3, 3, 1], [2, 2, 1], 7), ([3, 3], [1, 1], 5), ([5, 3, 3], [2, 1, 2], 13), ([4], [4], 4), ([7, 1, 3], [1, 3, 1], 13)]
    found = [receptive_field(list(k), list(s)) for k, s, _ in cases]
    if found == [true for *_, true in cases]:
        return right("Each layer adds k - 1 steps, and a step is as long as the strides before it say.")
    if found == [1 + sum(k - 1 for k in ks) for ks, *_ in cases]:
        return wrong("The strides are missing: behind a layer of stride 2, one step is two pixels.")
    own, product = [], []
    for ks, strides, _ in cases:
        field = step = 1
        for k, s in zip(ks, strides):
            step *= s
            field += (k - 1) * step
        own.append(field)
        product.append(math.prod(ks))
    if found == own:
        return wrong("A layer's own stride came too early: it lengthens the steps of the layers after it, not its own.")
    if found == product:
        return wrong("Kernels do not multiply: two layers of 3 see 5 pixels, not 9.")
    k, s, true = next(case for case, got in zip(cases, found) if got != case[2])
    return wrong(f"For kernels {k} and strides {s} it is {true} pixels, not {found[cases.index((k, s, true))]}.")


@exercise
def exercise_3(local_mask):
    rows, columns, radius = 3, 5, 1
    n = torch.arange(rows * columns)
    dy, dx = ((v[:, None] - v).abs() for v in (n // columns, n % columns))
    mask = local_mask(rows, columns, radius)
    if not isinstance(mask, torch.Tensor) or mask.shape != (15, 15):
        return wrong(f"For 3×5 patches the mask is a tensor of shape (15, 15), not {tuple(getattr(mask, 'shape', ()))}.")
    if mask.dtype != torch.bool:
        return wrong(f"The mask is {mask.dtype}; a comparison gives torch.bool.")
    if torch.equal(mask, (dy <= radius) & (dx <= radius)) and torch.equal(
            local_mask(4, 2, 2), torch.tensor([[abs(a // 2 - b // 2) <= 2 for b in range(8)] for a in range(8)])):
        return right("Local in both directions, and no patch is the neighbour of one in another row's far end.")
    known = {"This is the complement: True is for what may be seen.": ~((dy <= radius) & (dx <= radius)),
             "A patch must see itself too.": (dy <= radius) & (dx <= radius) & (dy + dx > 0),
             "These are neighbours by number: the end of a row and the start of the next are far apart.": (n[:, None] - n).abs() <= radius,
             "One near direction is not enough: both differences must be small.": (dy <= radius) | (dx <= radius),
             "The corners are missing: the larger of the two differences counts, not their sum.": dy + dx <= radius,
             "Patches exactly `radius` away belong to it.": (dy < radius) & (dx < radius)}
    for message, pattern in known.items():
        if torch.equal(mask, pattern):
            return wrong(message)
    y, x = n // rows, n % rows
    if torch.equal(mask, ((y[:, None] - y).abs() <= radius) & ((x[:, None] - x).abs() <= radius)):
        return wrong("The grid is numbered row by row: divide by the number of columns, not of rows.")
    return wrong("The mask is right for some pairs only. Compare it with the hint on a grid of 3×5 and radius 1.")


@exercise
def exercise_4(shares_covered):
    scores = {(run["contender"], run["images"]): mean(run["accuracy"]) for run in load_record("vit_cnn")["runs"]}
    ends = [(scores["ViT", n], scores["hybrid", n], scores["narrow ResNet-18", n]) for n in (450, 4500, 45_000)]
    true = [(hybrid - vit) / (cnn - vit) for vit, hybrid, cnn in ends]
    if not isinstance(shares_covered, (list, tuple)) or len(shares_covered) != 3:
        return wrong("Give three numbers in a list: for 450, 4,500 and 45,000 images.")

    def are(values):
        return all(math.isclose(found, value, rel_tol=0.03, abs_tol=0.005) for found, value in zip(shares_covered, values))

    if are(true):
        return right(f"{', '.join(f'{share:.0%}' for share in true)}: a few small convolutions go a good part of the way.")
    if are([100 * share for share in true]):
        return wrong("Those are per cent; give shares, 0 to 1.")
    if are(true[::-1]):
        return wrong("The order is turned around: 450 images come first.")
    if are([1 - share for share in true]):
        return wrong("That is the part that the stem leaves: measure from the ViT, not from the ResNet.")
    if are([1 / share for share in true]):
        return wrong("Upside down: the whole way belongs below the line.")
    if are([hybrid / cnn for _, hybrid, cnn in ends]):
        return wrong("That compares accuracies, not the distances from the ViT: subtract its accuracy first.")
    if are([100 * (hybrid - vit) for vit, hybrid, _ in ends]):
        return wrong("Those are the hybrid's leads in points; divide each by the ResNet's lead.")
    return wrong(f"Not {', '.join(f'{x:.2f}' for x in shares_covered)}: divide the hybrid's lead over the ViT by the ResNet's.")


def miniature(kind: str, images: int, seed: int, drift: float) -> float:
    """As in section 10.1: the error of a linear map learned from noisy images, by a convolution or a full matrix."""
    kernel, change = torch.randn(2, 9, 1, generator=torch.Generator().manual_seed(0))
    kernels = kernel + drift * change * torch.linspace(-1, 1, 64)
    g = torch.Generator().manual_seed(seed)
    x, new = (torch.randn(n, 1, 8, 8, generator=g) for n in (images, 100))
    near, near_new = (F.unfold(part, 3, padding=1) for part in (x, new))
    y = (near * kernels).sum(dim=1)
    y = y + torch.randn(y.shape, generator=g)
    if kind == "convolution":
        A = near.mT.flatten(0, 1)
        out = near_new.mT @ torch.linalg.solve(A.T @ A, A.T @ y.flatten())
    else:
        A = x.flatten(1)
        out = new.flatten(1) @ torch.linalg.solve(A.T @ A + torch.eye(64), A.T @ y)
    return (out - (near_new * kernels).sum(dim=1)).square().mean().item()


@exercise
def exercise_5(claim, evidence, drift, images):
    if not drift > 0.15:
        return wrong(f"The chapter has a drift of 0.15; choose a larger one than {drift:g}.")
    if images > 1000:
        return wrong("With more than a thousand images the full matrix passes at a drift of 0.15 too. Find fewer.")
    verdict = weigh(claim, evidence, "convolution", "full matrix", least=3, between=(0, 1e6))
    if not verdict.right:
        return verdict
    for kind, errors in evidence.items():
        for seed, error in enumerate(errors[:5]):
            if not math.isclose(again := miniature(kind, images, seed, drift), error, rel_tol=0.05):
                return wrong(f"The {kind} with {images} images, seed {seed} and drift {drift:g} has an error of {again:.3g} here, "
                             f"not {error:.3g}. Give the seeds in order, from 0 on.")
    if claim == "full matrix is higher":
        return wrong(f"{verdict.message} But with {images} images the full matrix has not passed yet: its error is the higher one.")
    if claim == "cannot tell":
        return wrong(f"{verdict.message} That is honest, and near the crossing: take more images, or more seeds.")
    return right(f"{verdict.message} An assumption that is less true is worth fewer images.")
