"""Checkers of chapter 8."""

import math

import torch

from . import exercise, right, wrong


@exercise
def exercise_1(steps_and_warmup):
    steps, warmup = steps_and_warmup
    if steps in (18 * 391, round(18 * 50_000 / 128)):
        return wrong("The last batch of each epoch is not full and is left out: 50,000 // 128 = 390 steps an epoch.")
    if steps == 390:
        return wrong("That is one epoch; there are 18.")
    if steps != 7020:
        return wrong(f"18 epochs of 390 steps are not {steps}.")
    if warmup in (19, 20):
        return wrong("The warm-up is a share of all steps, not of one epoch.")
    if warmup != 351:
        return wrong(f"The steps are right. 5 % of 7,020 is not {warmup}.")
    return right("7,020 steps, 351 of them warm-up.")


@exercise
def exercise_2(cosine_to_floor):
    values = [cosine_to_floor(step, 101, 0.1) for step in range(101)]
    if abs(values[0] - 1) > 1e-6:
        return wrong(f"The first step should have the full rate, 1; yours has {values[0]:.3f}.")
    if abs(values[50] - 1) < 1e-6 and abs(values[-1] - 1) < 1e-6:
        return wrong("The rate does not fall.")
    if abs(values[-1]) < 1e-6:
        return wrong("The last step has rate 0: stretch the cosine so that it ends at the floor.")
    straight = [1 - 0.9 * s / 100 for s in range(101)]
    if max(abs(a - b) for a, b in zip(values, straight)) < 1e-3:
        return wrong("This is a straight line from 1 to the floor, not half a cosine.")
    clipped = [max(0.1, (1 + math.cos(math.pi * s / 100)) / 2) for s in range(101)]
    if max(abs(a - b) for a, b in zip(values, clipped)) < 1e-3:
        return wrong("The curve is cut off at the floor; it should be stretched, so that it reaches the floor at the last step only.")
    if 0.1 < values[-1] < 0.11:
        return wrong("The last step does not quite reach the floor: steps run from 0 to total - 1.")
    true = [0.1 + 0.9 * (1 + math.cos(math.pi * s / 100)) / 2 for s in range(101)]
    if max(abs(a - b) for a, b in zip(values, true)) > 1e-6:
        return wrong(f"Both ends are checked; in the middle the rate should be 0.55, yours is {values[50]:.3f}.")
    return right("From 1 to the floor along half a cosine.")


def gradients(*values: list[float]) -> list[torch.Tensor]:
    parameters = [torch.zeros(len(v), requires_grad=True) for v in values]
    for p, v in zip(parameters, values):
        p.grad = torch.tensor(v)
    return parameters


@exercise
def exercise_3(clip_gradients):
    long = gradients([3.0, 0.0], [0.0, 4.0])  # together 5 long
    length = clip_gradients(long, 1.0)
    if torch.allclose(long[0].grad, torch.tensor([1.0, 0.0])) and torch.allclose(long[1].grad, torch.tensor([0.0, 1.0])):
        return wrong("Each gradient was clipped by itself, or each entry: that changes the direction. Use one factor for all.")
    if torch.allclose(long[0].grad, torch.tensor([3.0, 0.0])):
        return wrong("The gradients are unchanged: scale p.grad in place, with mul_.")
    total = math.sqrt(sum(p.grad.pow(2).sum().item() for p in long))
    if abs(total - 1) > 1e-4:
        return wrong(f"After clipping to 1 the whole length is {total:.3f}; it is the root of the sum of all squares.")
    if length is None or abs(float(length) - 5) > 1e-4:
        return wrong(f"Return the length before clipping, 5 here, not {length}.")
    short = gradients([0.3], [0.4])
    clip_gradients(short, 1.0)
    if abs(short[0].grad.item() - 0.3) > 1e-6:
        return wrong("A short gradient was stretched to the limit; leave it as it is.")
    return right("One factor for all, and only where they are too long.")


@exercise
def exercise_4(smallest_loss):
    value = float(smallest_loss)
    if abs(value) < 1e-3:
        return wrong("Zero would need a probability of 1 for the true class, and then the other nine cost infinitely much.")
    if abs(value + math.log(0.91)) < 2e-3:
        return wrong("The nine other classes count as well: add 9 · 0.01 · ln 0.01, with its sign.")
    if abs(value + math.log(0.9)) < 2e-3 or abs(value + 0.9 * math.log(0.9) + 9 / 90 * math.log(1 / 90)) < 2e-3:
        return wrong("PyTorch spreads the 0.1 over all ten classes, the true one too: it keeps 0.91, not 0.9.")
    if abs(value - 0.5) > 2e-3:
        return wrong(f"{value:.3f} is not the entropy of 0.91 and nine times 0.01.")
    return right("0.500: the entropy of the smoothed target.")
