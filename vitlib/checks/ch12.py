"""Checkers of chapter 12."""

import math
from functools import cache

import torch

from ..checkpoint import load_zoo
from ..data import normalise
from ..maps import head_outputs, replace_head, rollout
from ..shapes import shapes
from ..train import evaluate
from . import exercise, right, wrong
from .evidence import weigh


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


def sample_maps() -> torch.Tensor:
    """Maps (3, 2, 2, 4, 4) whose columns do not sum to 1, so that the axes can be told apart."""
    scores = torch.randn(3, 2, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    return (2 * scores + torch.arange(4)).softmax(dim=-1)


@exercise
def exercise_3(with_skip):
    maps, eye = sample_maps(), torch.eye(4)
    out, mean = with_skip(maps), maps.mean(dim=2)
    if out.shape == maps.shape:
        return wrong("The heads are still there: average over them, the third of the five axes.")
    if out.shape != (3, 2, 4, 4):
        return wrong(f"For maps (3, 2, 2, 4, 4) the result should be (3, 2, 4, 4), got {tuple(out.shape)}.")
    if torch.allclose(out, mean, atol=1e-5):
        return wrong("The skip connection is missing: each token keeps itself, so add the identity.")
    if torch.allclose(out, mean + 1, atol=1e-5):
        return wrong("You added 1 to every entry; a token keeps itself alone, which is the diagonal.")
    if torch.allclose(out, maps.sum(dim=2) + eye, atol=1e-5):
        return wrong("The heads are summed; average them, so that what is read sums to 1.")
    if torch.allclose(out, maps.mean(dim=1) + eye, atol=1e-5):
        return wrong("You averaged over the images; the heads are the third axis, dim=2.")
    if torch.allclose(out, (mean + eye) / 2, atol=1e-5):
        return wrong("That is halved already, which is the next stage: here the rows sum to 2.")
    if not torch.allclose(out, mean + eye, atol=1e-5):
        return wrong("Expected the mean over heads plus the identity; each row should sum to 2.")
    return right("The rows sum to 2: half is the token itself, half is what it reads.")


@exercise
def exercise_4(as_shares):
    layers = 3 * sample_maps().mean(dim=2) + torch.eye(4) * torch.tensor([1.0, 2, 3, 4])
    out, rows = as_shares(layers), layers.sum(dim=-1, keepdim=True)
    if out.shape != layers.shape:
        return wrong(f"The shape should stay {tuple(layers.shape)}, got {tuple(out.shape)}.")
    if torch.allclose(out, layers / layers.sum(dim=-2, keepdim=True), atol=1e-5):
        return wrong("The columns sum to 1. A row says what a token is made of, so it is the rows that are shares.")
    if torch.allclose(out, layers / 2, atol=1e-5):
        return wrong("You divided by 2, which is right for rows that sum to 2 only; divide by what each row sums to.")
    if torch.allclose(out, layers.softmax(dim=-1), atol=1e-5):
        return wrong("A softmax makes rows that sum to 1, but it changes their proportions: divide.")
    if torch.allclose(out, layers / rows.mT, atol=1e-5):
        return wrong("Each row was divided by the sums of other rows: keep the summed axis, keepdim=True.")
    if not torch.allclose(out, layers / rows, atol=1e-5):
        return wrong(f"The first row should sum to 1, yours sums to {out[0, 0, 0].sum():.3f}, or it changed its proportions.")
    return right("Shares again, whatever the rows summed to.")


@exercise
def exercise_5(follow, with_skip, as_shares):
    maps = sample_maps()
    layers = maps.mean(dim=2)
    expected = layers[2] @ layers[1] @ layers[0]
    out = follow(layers)
    if out.shape != (2, 4, 4):
        return wrong(f"The result should be (2, 4, 4), one matrix for each image, got {tuple(out.shape)}.")
    if torch.allclose(out, layers[0] @ layers[1] @ layers[2], atol=1e-5):
        return wrong("The layers are in reverse: the first layer acts first, so it stands on the right.")
    if torch.allclose(out, layers.mean(0), atol=1e-5):
        return wrong("Layers act one after another: multiply them, do not average.")
    if torch.allclose(out, layers.prod(0), atol=1e-5):
        return wrong("That multiplies entry by entry; following a path is a matrix product.")
    if torch.allclose(out, layers[2] @ layers[1], atol=1e-5):
        return wrong("The first layer is left out: begin with the identity, then multiply by every layer.")
    if not torch.allclose(out, expected, atol=1e-5):
        return wrong("The rows do not follow the tokens from the last layer back to the first: expected A3 @ A2 @ A1.")
    if not torch.allclose(follow(as_shares(with_skip(maps))), rollout(maps), atol=1e-5):
        return wrong("This stage is right, but the three together differ from rollout: look again at stages 1 and 2.")
    return right("Your three stages together give what `rollout` gives.")


@exercise
def exercise_6(win_share):
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


@cache
def first_set() -> tuple[float, float]:
    """What is lost on shapes(200, seed=100) without the heads of layer 2: all together, and the sum of each alone."""
    model, images = load_zoo("shapes-tiny")[0], shapes(200, seed=100)
    usual = head_outputs(model, normalise(shapes(300, seed=78).images)).mean(dim=1)

    def lost(heads) -> float:
        cut = model
        for head in heads:
            cut = replace_head(cut, 1, head, usual[1, head])
        return evaluate(model, images)["accuracy"] - evaluate(cut, images)["accuracy"]

    return lost(range(4)), sum(lost([head]) for head in range(4))


@exercise
def exercise_7(claim, evidence):
    said = weigh(claim, evidence, "together", "sum", least=3, between=(-0.2, 1))
    for name, expected in zip(("together", "sum"), first_set()):
        found = evidence.get(name) if isinstance(evidence, dict) else None
        if found and abs(float(found[0]) - expected) > 0.03 and -0.2 <= float(found[0]) <= 1:
            return wrong(f"On the first set, shapes(200, seed=100), I find {expected:.3f} for {name!r}, and you have "
                         f"{float(found[0]):.3f}. Is it layer 2 (number 1), with the means in the heads' place?")
    return said
