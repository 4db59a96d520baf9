"""Checkers of chapter 3."""

import torch

from . import exercise, right, wrong


@exercise
def exercise_1(parameters):
    projection, cls, codes = 48 * 192 + 192, 192, 65 * 192
    mistakes = {
        projection + cls + codes - 192: "Something of width 192 is missing: the bias, the class token, or the class token's code.",
        projection + codes - 192: "Two things of width 192 are missing, among the bias, the class token, and the class token's code.",
        (16 * 192 + 192) + cls + codes: "A patch has 4 · 4 · 3 = 48 numbers, not 16.",
    }
    if parameters in mistakes:
        return wrong(mistakes[parameters])
    if parameters != projection + cls + codes:
        return wrong(f"{parameters} is not 48 · 192 + 192 for the projection, 192 for the class token and 65 · 192 for the codes.")
    return right("22,080: 9,408 for the projection, 192 for the class token, 12,480 for the codes.")


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
        return wrong("The patches have no positions: add the codes after the class token is in place.")
    if torch.allclose(tokens[:, -1], cls[0].expand(3, -1), atol=1e-5):
        return wrong("The class token stands at the end; its place is 0, before the patches.")
    if torch.allclose(out[:, 0], cls[0].expand(3, -1), atol=1e-5):
        return wrong("The class token got no position code; all 1 + N tokens have one.")
    if not torch.allclose(tokens[:, 1:], x, atol=1e-5) or not torch.allclose(tokens[:, 0], cls[0].expand(3, -1), atol=1e-5):
        return wrong("The tokens are not class token, then patches, each plus its own code.")
    return right("Class token first, patches after it, a code for each.")


@exercise
def exercise_3(ignores_order):
    images = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    order = torch.tensor([2, 0, 3, 1])

    def corner(x):
        return x[:, :, 0, 0]  # depends on one place

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
        return wrong("After 6 places the hand is 0.28 short of a full turn: near, but not within 0.05. More turns may fit better.")
    if distance == 22:
        return wrong("After 22 places the hand is at half a turn and a bit: 22 / 2π = 3.50. It points the other way.")
    if distance == 0:
        return wrong("Place 0 is as close to itself as can be; look for n of at least 1.")
    if distance == 43:
        return wrong("Off by one: the first code in the list belongs to place 0.")
    if distance != 44:
        return wrong(f"{distance} / 2π is not nearly whole, or a smaller number does it; measure all distances up to 100.")
    return right("44 places are almost exactly seven turns. A slower hand tells them apart.")
