"""Checkers of chapter 15."""

import math

import torch
from torch.nn import functional as F

from . import exercise, right, wrong


@exercise
def exercise_1(trained_numbers):
    value = float(trained_numbers)
    if value == 384 * 10:
        return wrong("Each class has a bias too.")
    if value == 384 * 10 + 384:
        return wrong("A bias belongs to each class, not to each feature.")
    if value in (384 * 1000 + 1000, 384 * 1000):
        return wrong("Those would be the 1,000 classes of ImageNet; the target has ten.")
    if value in (1536 * 10 + 10, 1536 * 10):
        return wrong("The head reads tokens of width D; 1,536 is the inside of an MLP.")
    if value > 1e6:
        return wrong("That counts the frozen model as well. Frozen numbers are not trained.")
    if value != 3850:
        return wrong(f"{value:g} is not the size of a linear layer from 384 to 10.")
    return right("3,850 numbers, of 21.7 million: a probe trains one in five thousand.")


@exercise
def exercise_2(split_qkv):
    g = torch.Generator().manual_seed(0)
    parts = [torch.randn(8, 8, generator=g) for _ in range(3)]
    found = split_qkv(torch.cat(parts))
    if len(found) != 3:
        return wrong(f"Return three tensors, got {len(found)}.")
    if any(tuple(part.shape) != (8, 8) for part in found):
        shapes = ", ".join(str(tuple(part.shape)) for part in found)
        return wrong(f"Each part of a (24, 8) weight should be (8, 8), got {shapes}: did you split along the inputs?")
    names = "queries", "keys", "values"
    order = [next((name for name, part in zip(names, parts) if torch.equal(part, own)), None) for own in found]
    if None in order:
        if all(torch.equal(own, torch.cat(parts)[i::3]) for i, own in enumerate(found)):
            return wrong("You took every third row. The first D rows are the queries, all of them.")
        if all(any(torch.equal(own, part.T) for part in parts) for own in found):
            return wrong("The parts are transposed: keep rows as outputs.")
        return wrong("The parts are not the three blocks of D rows.")
    if order != list(names):
        return wrong(f"You return {', '.join(order)}; the order is queries, keys, values.")
    biases = split_qkv(torch.arange(24.0))
    if [tuple(b.shape) for b in biases] != [(8,)] * 3 or biases[1][0] != 8:
        return wrong("It should split biases of shape (3D,) as well, in the same order.")
    return right("Rows are outputs, and the first D of them are queries of all heads.")


@exercise
def exercise_3(fold_bytes):
    g = torch.Generator().manual_seed(1)
    weight, bias = torch.randn(5, 3, 4, 4, generator=g), torch.randn(5, generator=g)
    mean, std = torch.tensor([0.5, 0.4, 0.3]), torch.tensor([0.2, 0.25, 0.3])
    bytes_ = torch.randint(0, 256, (2, 3, 8, 8), generator=g).float()
    kept = weight.clone(), bias.clone()
    new_weight, new_bias = fold_bytes(weight, bias, mean, std)
    if not (torch.equal(weight, kept[0]) and torch.equal(bias, kept[1])):
        return wrong("The given weight or bias has changed: return new tensors.")
    if new_weight.shape != weight.shape or new_bias.shape != bias.shape:
        return wrong(f"The shapes should stay {tuple(weight.shape)} and {tuple(bias.shape)}, got "
                     f"{tuple(new_weight.shape)} and {tuple(new_bias.shape)}.")
    m, s = mean[:, None, None], std[:, None, None]
    constant = (weight * m / s).sum(dim=(1, 2, 3))
    if torch.allclose(new_weight, weight / s, atol=1e-6):
        return wrong("The weights still expect 0…1: a byte is 255 times as large.")
    if torch.allclose(new_weight, weight * s / 255, atol=1e-6):
        return wrong("You multiplied by the standard deviation; normalising divides by it.")
    if torch.equal(new_bias, bias):
        return wrong("The mean is missing: it is a constant, and a constant goes into the bias.")
    if torch.allclose(new_bias, bias + constant, atol=1e-4):
        return wrong("The sign of the constant is turned: the mean is taken away.")
    if torch.allclose(new_bias, bias - (weight * m).sum(dim=(1, 2, 3)), atol=1e-4):
        return wrong("The mean is divided by the standard deviation too: (u - mean) / std = u / std - mean / std.")
    if torch.allclose(new_bias, bias - (weight * m / s).mean(dim=(1, 2, 3)), atol=1e-4):
        return wrong("Sum over channels and pixels, do not average: each weight meets the constant once.")
    if torch.allclose(new_bias, bias - constant / 255, atol=1e-5):
        return wrong("The mean is given for 0…1 and needs no 255: the constant does not see the byte.")
    found = F.conv2d(bytes_, new_weight, new_bias, stride=4)
    expected = F.conv2d((bytes_ / 255 - m) / s, weight, bias, stride=4)
    if not torch.allclose(found, expected, atol=1e-3):
        return wrong("The answers differ from those of the normalised image.")
    return right("Scale the weights by 1 / (255 std), take the sum of weight · mean / std from the bias.")


@exercise
def exercise_4(split_by_group):
    groups = torch.tensor([0, 0, 0, 1, 2, 2, 3, 4, 4, 4, 4, 5, 6, 7, 7, 8, 9, 9, 9, 9]) * 3 + 1  # ten, of unequal size
    train, validation = split_by_group(groups, 0.3, 0)
    for name, mask in (("training", train), ("validation", validation)):
        if mask.shape != groups.shape or mask.dtype != torch.bool:
            return wrong(f"The {name} mask should be bool of shape (20,), got {mask.dtype} {tuple(mask.shape)}.")
    if (train & validation).any():
        return wrong("Some images stand in both parts.")
    if not (train | validation).all():
        return wrong("Some images stand in neither part.")
    both = set(groups[train].tolist()) & set(groups[validation].tolist())
    if both:
        return wrong(f"Group {min(both)} stands on both sides: split the groups, not the images.")
    chosen = len(groups[validation].unique())
    if chosen == 7:
        return wrong("The two masks are exchanged: the first is for training.")
    if chosen != 3:
        return wrong(f"Of ten groups, {chosen} validate; a share of 0.3 should take three.")
    again = [split_by_group(groups, 0.3, seed)[1] for seed in (0, 1, 2, 3, 4)]
    if not torch.equal(again[0], validation):
        return wrong("The same seed should give the same split: use a generator of your own.")
    if all(torch.equal(again[0], other) for other in again[1:]):
        return wrong("Every seed gives the same split: shuffle the groups first.")
    return right("A whole group goes to one side, whatever its size.")


@exercise
def exercise_5(share_of_the_patch_embedding, factor_for_a_thousandth):
    share, factor = float(share_of_the_patch_embedding), float(factor_for_a_thousandth)
    for layers, words in ((12, "From the head to the patch embedding it is one step more than there are blocks."),
                          (11, "Count again: head, 12 blocks, patch embedding."),
                          (14, "The head itself learns at the full rate.")):
        if math.isclose(share, 0.75**layers, rel_tol=2e-2):
            return wrong(words)
    if math.isclose(share, 1 / 0.75**13, rel_tol=2e-2):
        return wrong("Turn the first number over: a share of the head's rate is below 1.")
    if not math.isclose(share, 0.75**13, rel_tol=2e-2):
        return wrong("The first number should be 0.75 to the power of the steps between head and patch embedding.")
    if math.isclose(factor, 0.001 / 13, rel_tol=2e-2):
        return wrong("The factor is multiplied 13 times, not added: take a root.")
    if not math.isclose(factor**13, 1e-3, rel_tol=5e-2):
        return wrong(f"{factor:g} to the power of 13 is {factor**13:.2g}, not a thousandth.")
    return right("A fortieth at 0.75, a thousandth at 0.588.")
