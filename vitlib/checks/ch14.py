"""Checkers of chapter 14."""

import math
from functools import cache

import torch

from ..clinic import early_cost
from . import Verdict, exercise, right, wrong
from .evidence import weigh


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
def exercise_3(flip_test):
    value = float(flip_test([1.0, 3.0, 2.0, 4.0, -1.0]))  # sums of 9 or more: 11 once, 9 twice, and their mirror images
    if value > 1 or abs(value - 6) < 1e-9:
        return wrong("That is a count; divide by the number of choices, 2 to the power of n.")
    if abs(value - 3 / 32) < 1e-9:
        return wrong("That counts one side only; a mean as far below zero would have surprised you as much.")
    if abs(value - 2 / 32) < 1e-9:
        return wrong("A choice that ties with the observed mean counts too: at least as far. Mind the rounding of sums.")
    if abs(value - 12 / 32) < 1e-9:
        return wrong("That looks at the number of plus signs; here the sizes count as well: compare means.")
    if abs(value - 4 / 32) < 1e-9 or abs(value - 5 / 32) < 1e-9:
        return wrong("The observed signs are one of the choices and count as well.")
    if abs(value - 1) < 1e-9:
        return wrong("Every choice counted: the order was shuffled, or the sizes' signs were left as they are. Flip signs, then add.")
    if abs(value - 6 / 32) > 1e-9:
        return wrong(f"For differences of 1, 3, 2, 4 and -1 six of 32 choices reach the observed mean; you have {value:.4g}.")
    if abs(float(flip_test([0.1] * 3)) - 2 / 8) > 1e-9:
        return wrong("For three equal differences, two of eight choices tie with the observed mean; is 32 written into the code, or a sum rounded?")
    return right("6 of 32.")


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


@exercise
def exercise_5(claim, evidence):
    verdict = weigh(claim, evidence, more="high rate", less="low rate", between=(-10, 10), unit=" nats")
    return recomputed(evidence) or verdict


@cache
def first_pair() -> tuple[float, float]:
    return early_cost("scale", 5e-3, seed=0), early_cost("scale", 1e-3, seed=0)


def recomputed(evidence: object) -> Verdict | None:
    """What is wrong with the first pair of runs, or None."""
    if not isinstance(evidence, dict) or not all(evidence.get(side) for side in ("high rate", "low rate")):
        return None
    high, low = (float(evidence[side][0]) for side in ("high rate", "low rate"))
    ours_high, ours_low = first_pair()
    if abs(high - ours_high) < 0.05 and abs(low - ours_low) < 0.05:
        return None
    if abs(high - ours_low) < 0.05 and abs(low - ours_high) < 0.05:
        return wrong("The two lists have each other's place: the runs at 0.005 belong under 'high rate'.")
    return wrong(f"At seed 0, patient 3 costs {ours_high:.2f} nats at 0.005 and {ours_low:.2f} at 0.001; your first runs say "
                 f"{high:.2f} and {low:.2f}. Start with seed 0, and give what early_cost returns.")
