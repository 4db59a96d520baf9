"""Checkers of chapter 14."""

import math

import torch

from . import exercise, right, wrong


@exercise
def exercise_1(lowest_loss):
    value = float(lowest_loss)
    e = math.e
    if abs(value) < 1e-3:
        return wrong("Zero is the floor when the loss is given logits; here it is given probabilities, which are never above 1.")
    if abs(value - math.log(2)) < 1e-3:
        return wrong("ln 2 is the loss of a guess, where training starts; ask for the best end.")
    if abs(value - (math.log(e + 9) - 1)) < 1e-3:
        return wrong("That is the floor for ten classes; this classifier has two.")
    if abs(value - math.log(e + 1)) < 1e-3:
        return wrong("ln(e + 1) is the logarithm of the softmax's sum; the right class's own score, 1, is still to be subtracted.")
    if abs(value - e / (e + 1)) < 1e-3:
        return wrong("That is the probability that the second softmax gives to the right class; the loss is minus its logarithm.")
    if abs(value - (math.log(e + 1) - 1)) > 2e-3:
        return wrong(f"{value:.4g} is not minus the logarithm of what the second softmax makes of the pair (1, 0).")
    return right("ln(e + 1) − 1 = 0.313.")


def layers() -> tuple[list, list]:
    """Five layers, and the same with faults in the second and the fourth."""
    g = torch.Generator().manual_seed(0)
    weights = [torch.randn(6, 6, generator=g) / 2 for _ in range(5)]
    healthy = [lambda x, w=w: torch.tanh(x @ w) for w in weights]
    faulty = [lambda x, w=w: torch.tanh(x @ w) + 1e-8 for w in weights]  # rounding is no fault
    faulty[1] = lambda x: torch.tanh(x @ weights[1].T)
    faulty[3] = lambda x: torch.tanh(x @ weights[3] + 0.01)
    return faulty, healthy


@exercise
def exercise_2(faulty_layers):
    ours, theirs = layers()
    x = torch.randn(4, 6, generator=torch.Generator().manual_seed(1))
    found = faulty_layers(ours, theirs, x)
    if not isinstance(found, list | tuple):
        return wrong(f"Return a list of layer numbers, not {type(found).__name__}.")
    found = [int(n) for n in found]
    if found == [1, 2, 3, 4]:
        return wrong("Layers 2 and 4 are innocent: they were fed with the output of a faulty layer. Feed both with the reference's.")
    if found == [0, 1, 2, 3, 4]:
        return wrong("Every layer is accused: outputs that differ by 1e-8 are rounding. Compare with a tolerance of 1e-5.")
    if found == [1]:
        return wrong("There is a second fault behind the first: go on after the first layer that differs.")
    if found == [2, 4]:
        return wrong("Those are counted from 1; count layers from 0.")
    if found == [0, 2, 4]:
        return wrong("Those are the layers that agree.")
    if found != [1, 3]:
        return wrong(f"Layers 1 and 3 of five have a fault; you found {found}.")
    if faulty_layers(theirs, theirs, x) != []:
        return wrong("Compared with itself, a model has no faulty layers: return an empty list.")
    return right("Layers 1 and 3, and the innocent ones are cleared.")


@exercise
def exercise_3(paired_interval):
    well, ill, t = [0.50, 0.60, 0.55, 0.65], [0.49, 0.57, 0.53, 0.61], 3.0  # differences 1, 3, 2, 4 points
    out = tuple(float(value) for value in paired_interval(well, ill, t))
    if len(out) != 2:
        return wrong("Return two numbers: the lower end and the upper end.")
    middle, half = (out[0] + out[1]) / 2, (out[1] - out[0]) / 2
    s = math.sqrt(5 / 3)
    if abs(middle) > 1e-9 and abs(abs(middle) - 0.025) < 1e-6:
        return wrong("The ends are in shares; points are a hundred times that.")
    if half < 0:
        return wrong("The ends are swapped: the lower one comes first.")
    if abs(middle + 2.5) < 1e-6:
        return wrong("The sign is reversed: healthy minus patient, so that a cost is positive.")
    if abs(half - t * s) < 1e-6:
        return wrong("That is t times the deviation of one difference; the mean of n is surer by √n.")
    if abs(half - s / 2) < 1e-6:
        return wrong("That is one standard error; multiply it by t.")
    if abs(half - t * math.sqrt(5 / 4) / 2) < 1e-6:
        return wrong("The deviation divides by n; with so few seeds it must be n − 1 (statistics.stdev).")
    if half > t * s / 2 + 0.5:
        return wrong("Too wide: the seeds' own ups and downs are still in it. Subtract within each seed first, then take the deviation.")
    if abs(middle - 2.5) > 1e-6 or abs(half - t * s / 2) > 1e-6:
        return wrong(f"For differences of 1, 3, 2 and 4 points and t = 3 the interval is 2.5 ± 1.94; you have {middle:.2f} ± {half:.2f}.")
    return right("2.5 ± 1.94 points.")


@exercise
def exercise_4(seeds_needed):
    value = float(seeds_needed)
    if value != int(value):
        return wrong(f"Seeds come in whole numbers: round {value:.2f} up.")
    if value == 5:
        return wrong("You forgot the square: half as wide takes four times the seeds.")
    if value == 17:
        return wrong("17 seeds give 2.1/√17 = 0.509, just too wide. Round up.")
    if value == 16:
        return wrong("16 is the answer for the normal distribution's 1.96 at best; use t = 2.1.")
    if value in (4, 71):
        return wrong("The half-width is t·s/√n, with t = 2.1: solve for n.")
    if value != 18:
        return wrong(f"With {int(value)} seeds the half-width is {2.1 / max(value, 1) ** 0.5:.3f}; it should be just below 0.5.")
    return right("18, for one half point.")
