"""Checkers of chapter 13."""

from functools import cache

import torch
from torch.nn import functional as F

from ..checkpoint import load_zoo
from ..data import normalise
from ..explain import input_gradient
from ..scores import pointing_game
from ..shapes import shapes
from ..train import predict
from . import exercise, right, wrong
from .evidence import weigh


@exercise
def exercise_1(wins_by_chance):
    value = float(wins_by_chance)
    if abs(value - 9 / 64) < 1e-3:
        return wrong("That counts every patch with some object in it; a hit needs one half or more.")
    if abs(value - 5 / 9) < 1e-3:
        return wrong("That is the share among patches of the object; the random rival may name any of the 64.")
    if abs(value - 1 / 64) < 1e-3:
        return wrong("That is the chance of one certain patch; five would do.")
    if abs(value - 5 / 64) > 1e-3:
        return wrong(f"{value:.4g} is not the share of hits among the 64 patches.")
    return right("5 of 64, about 8 %.")


@exercise
def exercise_2(falls):
    weights = torch.tensor([1.0, -2.0, 0.5])
    x = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    original = x.clone()
    out = falls(lambda z: (z * weights).sum(dim=1), x, 10.0)
    if not torch.equal(x, original):
        return wrong("The input itself has changed: clone it before you replace an entry.")
    if out.shape != x.shape:
        return wrong(f"The result should have the input's shape (2, 3), got {tuple(out.shape)}.")
    expected = (original - 10) * weights
    if torch.allclose(out, -expected):
        return wrong("The sign is turned: a fall is the score before minus the score after.")
    if torch.allclose(out, original * weights):
        return wrong("You replaced entries by 0, not by `fill`.")
    if torch.allclose(out, expected.cumsum(dim=1)):
        return wrong("The replaced entries pile up: begin each time from the whole input.")
    if torch.allclose(out, expected.sum(dim=1, keepdim=True) - expected):
        return wrong("You replaced all entries but one.")
    if torch.allclose(out, expected.abs()):
        return wrong("Keep the sign: an entry whose loss raises the score has a negative fall.")
    if not torch.allclose(out, expected):
        return wrong("For the score Σ wᵢ xᵢ each fall should be wₙ (xₙ - fill).")
    return right("One entry at a time, from the whole input, before minus after.")


@exercise
def exercise_3(paired_interval):
    g = torch.Generator().manual_seed(0)
    hard = torch.randn(400, generator=g)  # how easy an image is, for both methods
    a, b = hard + 0.3 + 0.1 * torch.randn(400, generator=g), hard
    low, high = (float(value) for value in paired_interval(a, b))
    if low > high:
        return wrong("Return the lower end first.")
    width, d = high - low, a - b
    expected = 2 * 1.96 * (d.std() / 20).item()
    if high < 0:
        return wrong("The difference is a - b; yours is b - a.")
    if not low < d.mean().item() < high:
        return wrong(f"The mean difference, {d.mean():.3f}, does not lie between {low:.3f} and {high:.3f}.")
    if width > 15 * expected:
        return wrong("That is the spread of single images; take the mean of each draw first.") if width < 0.6 else \
            wrong("Much too wide.")
    if width > 5 * expected:
        return wrong("Too wide: you drew images for a and b separately. With the same draw, hard images cancel out.")
    if not 0.9 * expected < width < 1.12 * expected:
        return wrong(f"The interval is {width / expected:.2f} times as wide as a 95 % one: cut 2.5 % off at each end.")
    return right("The same images for both, so that only the difference between the methods is left.")


@exercise
def exercise_4(smooth):
    pictures = torch.zeros(2, 4, 5)
    pictures[0, 0, 0], pictures[0, 0, 1], pictures[1, 2, 3] = 4.0, 2.0, 9.0
    out = smooth(pictures)
    if out.shape != pictures.shape:
        return wrong(f"The result should keep the shape (2, 4, 5), got {tuple(out.shape)}.")
    options = {"kernel_size": 3, "stride": 1, "padding": 1}
    expected = F.avg_pool2d(pictures[:, None], **options, count_include_pad=False)[:, 0]
    if torch.allclose(out, F.avg_pool2d(pictures[:, None], **options)[:, 0]):
        return wrong("At the border you also count neighbours that do not exist, as zeros: a corner has four values, not nine.")
    if torch.allclose(out, 9 * F.avg_pool2d(pictures[:, None], **options)[:, 0]):
        return wrong("That is the sum of the neighbours; divide by how many there are.")
    if torch.allclose(out, F.max_pool2d(pictures[:, None], **options)[:, 0]):
        return wrong("That is the largest neighbour; take the mean.")
    if (out[1] > 0).sum() > 9:
        return wrong("The window is larger than 3×3.")
    if not torch.allclose(out, expected):
        return wrong(f"A lone 9 in the middle should become nine 1s; yours has {out[1].max():.3g} at most.")
    return right("Now score the smoothed edges. They know nothing of any model.")


@cache
def first_set() -> float:
    """Share of wins of the plain input gradient on shapes(100, seed=200, scattered=True)."""
    model, data = load_zoo("shapes-scattered")[0], shapes(100, seed=200, scattered=True)
    shown = input_gradient(model, normalise(data.images), predict(model, data.images).argmax(dim=1))
    return pointing_game(shown, F.adaptive_avg_pool2d(data.masks.float(), (8, 8))).mean().item()


@exercise
def exercise_5(claim, evidence):
    said = weigh(claim, evidence, "smooth", "plain", least=4, between=(0, 1))
    plain = evidence.get("plain") if isinstance(evidence, dict) else None
    if plain and 0 <= float(plain[0]) <= 1 and abs(float(plain[0]) - first_set()) > 0.02:
        return wrong(f"On the first set, seed 200, the plain input gradient wins {first_set():.2f} of the games, and you "
                     f"have {float(plain[0]):.2f}. Is it one copy, without noise, for the predicted class?")
    return said
