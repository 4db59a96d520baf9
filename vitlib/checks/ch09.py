"""Checkers of chapter 9."""

import math
from functools import cache
from statistics import mean, pstdev, stdev

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD, AdamW
from torch.optim.lr_scheduler import LinearLR

from ..data import normalise
from ..muon import Muon, orthogonalise
from ..shapes import shapes
from . import exercise, right, wrong
from .evidence import weigh


@exercise
def exercise_1(std):
    true = 100 * math.sqrt(0.8 * 0.2 / 5000)
    if math.isclose(std, true / 100, rel_tol=0.02):
        return wrong("That is the share. In percentage points it is a hundred times as much.")
    if math.isclose(std, math.sqrt(5000 * 0.16), rel_tol=0.02):
        return wrong("That is the standard deviation of the number of right answers; the score divides it by 5,000.")
    if math.isclose(std, 100 * 0.16 / 5000, rel_tol=0.02) or math.isclose(std, 0.32, rel_tol=0.02):
        return wrong("That looks like a variance. The standard deviation is its square root.")
    if math.isclose(std, 100 * math.sqrt(0.8 / 5000), rel_tol=0.02):
        return wrong("The variance has p (1 - p), not p alone.")
    if not math.isclose(std, true, rel_tol=0.02):
        return wrong(f"The standard deviation is not {std} points. Start from the variance n p (1 - p) of the count.")
    return right("0.57 points: two scores half a point apart on one set of 5,000 may well be equal.")


@exercise
def exercise_2(gain_interval):
    after, before, t = [0.62, 0.67, 0.61], [0.60, 0.63, 0.60], 4.303
    d = [100 * (a - b) for a, b in zip(after, before)]
    half = t * stdev(d) / math.sqrt(3)
    low, high = gain_interval(after, before, t)

    def is_(center, width):
        return math.isclose(low, center - width, abs_tol=1e-6) and math.isclose(high, center + width, abs_tol=1e-6)

    if is_(mean(d), half):
        return right("The differences are paired, and the interval is as wide as three seeds deserve.")
    if is_(mean(d) / 100, half / 100):
        return wrong("These are shares. Give percentage points: a hundred times as much.")
    if is_(-mean(d), half):
        return wrong("The sign is turned around: a gain is after minus before.")
    if is_(mean(d), t * stdev(d)):
        return wrong("The mean of n differences is surer than one of them: divide by the root of n.")
    if is_(mean(d), t * pstdev(d) / math.sqrt(3)):
        return wrong("The spread was divided by n. With the mean taken from the same numbers it is n - 1.")
    apart = t * 100 * math.sqrt((stdev(after) ** 2 + stdev(before) ** 2) / 3)
    if is_(mean(d), apart):
        return wrong("The seeds are not paired: take the differences seed by seed, then their spread.")
    return wrong(f"For differences of 2, 4 and 1 points the interval is not [{low:.2f}, {high:.2f}].")


@exercise
def exercise_3(report):
    runs = [{"validation": [0.70, 0.79, 0.74], "test": 0.745}, {"validation": [0.60, 0.70, 0.78], "test": 0.76},
            {"validation": [0.71, 0.76, 0.77], "test": 0.785}]
    found = report(runs)
    if found == 0.76:
        return right("The run with the best last epoch on validation, and its test accuracy, whatever it is.")
    if found == 0.785:
        return wrong("That is the best test accuracy: the test set has chosen.")
    if found == 0.745:
        return wrong("The first run had the best epoch on validation, but the weights of that epoch are gone: compare last epochs.")
    if found in (0.78, 0.79):
        return wrong("That is a validation accuracy. It has chosen, so it flatters; publish the test accuracy.")
    if math.isclose(found, mean(run["test"] for run in runs)):
        return wrong("The mean over all runs is honest, but it is not the run that was chosen.")
    return wrong(f"{found} is not the test accuracy of the run that validation chooses.")


@exercise
def exercise_4(epochs):
    if epochs == 25:
        return wrong("Not everything grows with the square of the width: attention's scores and the embedding grow with the width alone.")
    if epochs == 50:
        return wrong("The large matrices have twice as many rows and twice as many columns: four times the work.")
    if epochs > 100:
        return wrong("The wider model costs more for each epoch, so it gets fewer of them.")
    if abs(epochs - 28) > 0.5:
        return wrong(f"{epochs} epochs do not cost the same. Divide the cost of 100 epochs of the small model by that of one of the wide.")
    return right("About 28 epochs.")

@cache
def toy_data() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """1,000 shapes to train on and 1,000 others, every second pixel each way: (1000, 768) with labels (1000,), twice."""
    parts = [shapes(1000, seed=seed) for seed in (1, 2)]
    pixels, others = (normalise(part.images)[:, :, ::2, ::2].flatten(1) for part in parts)
    return pixels, parts[0].labels, others, parts[1].labels


def toy(kind: str, lr: float, seed: int) -> float:
    """Train an MLP of five layers for five epochs, with a rate that falls to 0; accuracy (0…1) on other images.

    "Muon" takes the three square matrices at `lr` and leaves the rest to AdamW at 0.003; "AdamW" takes all at `lr`.
    """
    if kind not in ("Muon", "AdamW"):
        raise ValueError(f"kind is 'Muon' or 'AdamW', not {kind!r}")
    images, labels, others, other_labels = toy_data()
    g = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = [nn.Linear(768, 64), nn.GELU(), *(layer for _ in range(3) for layer in (nn.Linear(64, 64), nn.GELU()))]
        model = nn.Sequential(*layers, nn.Linear(64, 10))
    square = [p for p in model.parameters() if p.shape == (64, 64)] if kind == "Muon" else []
    rest = [p for p in model.parameters() if all(p is not q for q in square)]
    optimizers = [AdamW(rest, lr=3e-3 if square else lr)] + ([Muon(square, lr=lr)] if square else [])
    schedules = [LinearLR(optimizer, 1.0, 0.0, 100) for optimizer in optimizers]
    for batch in torch.cat([torch.randperm(1000, generator=g) for _ in range(5)]).split(50):
        loss = F.cross_entropy(model(images[batch]), labels[batch])
        model.zero_grad()
        loss.backward()
        for part in (*optimizers, *schedules):
            part.step()
    with torch.no_grad():
        return (model(others).argmax(1) == other_labels).float().mean().item()


@exercise
def exercise_5(claim, evidence, adamw_lr):
    verdict = weigh(claim, evidence, "Muon", "AdamW", least=3, between=(0, 1))
    if not verdict.right:
        return verdict
    muon, adamw = evidence["Muon"], evidence["AdamW"]
    for name, accuracies, lr in (("Muon", muon, 0.03), ("AdamW", adamw, adamw_lr)):
        if abs(toy(name, lr, 0) - accuracies[0]) > 0.08:
            return wrong(f"{name} at {lr:g} with seed 0 does not reach {accuracies[0]:.3f} here, but {toy(name, lr, 0):.3f}. "
                         "Give the accuracies in the order of the seeds, seed 0 first.")
    better = toy("AdamW", 0.006, 0)
    if better > mean(adamw) + 0.05:
        return wrong(f"AdamW is not tuned: another rate brings it to {better:.2f} with seed 0, yours to {mean(adamw):.2f} on average. "
                     "Find a peak inside your grid of rates, then weigh again.")
    return right(verdict.message + " And AdamW had a rate that suits it.")


def close(found: Tensor, true: Tensor) -> bool:
    return found.shape == true.shape and torch.allclose(found, true, atol=2e-3)


@exercise
def exercise_6(newton_schulz):
    g = torch.Generator().manual_seed(0)
    stack = torch.randn(3, 6, 9, generator=g) * torch.tensor([1.0, 10.0, 0.1])[:, None, None]
    given, true = stack.clone(), orthogonalise(stack)
    found = newton_schulz(given)
    if not isinstance(found, Tensor) or found.shape != stack.shape:
        return wrong(f"A stack (3, 6, 9) should come back with its shape, not {tuple(getattr(found, 'shape', ()))}.")
    if not torch.equal(given, stack):
        return wrong("The stack that came in was changed: work on a copy, for it is somebody's gradient.")
    if close(found, true):
        if not newton_schulz(torch.zeros(1, 4, 4)).isfinite().all():
            return wrong("A matrix of zeros becomes NaN: keep the norm away from 0 with clamp(min=1e-7).")
        tall = torch.randn(2, 9, 6, generator=g)
        if not close(newton_schulz(tall), orthogonalise(tall)):
            return wrong("Right for matrices that lie down, wrong for tall ones (9, 6).")
        return right("Each matrix for itself, every singular value near 1.")
    if not found.isfinite().all():
        return wrong("The numbers grow beyond all bounds: divide by the norm before the first round.")
    for rounds in (0, 1, 2, 3, 4, 6, 7):
        if close(found, orthogonalise(stack, rounds)):
            return wrong(f"{rounds} round{'s' * (rounds != 1)}, not five: small singular values need all of them.")
    X = stack / stack.norm()
    for _ in range(5):
        A = X @ X.mT
        X = 3.4445 * X + (-4.7750 * A + 2.0315 * A @ A) @ X
    if close(found, X):
        return wrong("One norm was taken for the whole stack: the large matrix drowns the small ones. Take one for each.")
    U, _, V = torch.linalg.svd(stack, full_matrices=False)
    if close(found, U @ V):
        return wrong("That is exactly U Vᵀ, by a decomposition. It is right and slow: write the rounds.")
    return wrong("The shape is right, the numbers are not. Compare with the loop of muon_step, line by line.")


def orthogonal(direction: Tensor, scale: float) -> Tensor:
    """A step in the shape of the direction, which may be a filter."""
    return scale * orthogonalise(direction.flatten(1)[None])[0].reshape(direction.shape)


@exercise
def exercise_7(muon_update):
    g = torch.Generator().manual_seed(0)
    for shape in ((12, 5), (5, 12), (8, 3, 2, 2)):
        gradient, average = torch.randn(shape, generator=g), torch.randn(shape, generator=g)
        kept, m, n = average.clone(), shape[0], gradient[0].numel()
        update, after = muon_update(gradient.clone(), average, 0.9)
        if update.shape != gradient.shape:
            return wrong(f"The update of a gradient {shape} has shape {tuple(update.shape)}: give it back its own.")
        true = 0.9 * kept + 0.1 * gradient
        if close(after, 0.1 * kept + 0.9 * gradient):
            return wrong("The shares are turned around: the average keeps 90 % of itself and takes 10 % of the gradient.")
        if close(after, 0.9 * kept + gradient):
            return wrong("That is a sum, not an average: the gradient enters with 1 - momentum.")
        if not close(after, true):
            return wrong("The new average is not momentum · average + (1 - momentum) · gradient.")
        ahead, scale = 0.9 * true + 0.1 * gradient, max(1, m / n) ** 0.5
        if close(update, orthogonal(ahead, scale)):
            continue
        if close(update, orthogonal(true, scale)):
            return wrong("Nesterov's look ahead is missing: mix the new average with the gradient once more.")
        if close(update, orthogonal(gradient, scale)):
            return wrong("The gradient itself was made orthogonal: the average should be.")
        if close(update, orthogonal(ahead, 1.0)):
            return wrong(f"For {m} rows and {n} columns the factor √max(1, m/n) is {scale:.2f}; it is missing.")
        if close(update, orthogonal(ahead, (m / n) ** 0.5)):
            return wrong("A matrix that lies down (m < n) is not scaled: the factor is √max(1, m/n).")
        return wrong(f"The average is right, the update of a gradient {shape} is not.")
    return right("Momentum, a look ahead, an orthogonal step, for matrices and filters.")


def toy_problem(make) -> float:
    """Share of a target matrix that is still missing after 100 steps, seen through a matrix of condition 100."""
    g = torch.Generator().manual_seed(0)
    turn, back = (torch.linalg.qr(torch.randn(32, 32, generator=g))[0] for _ in range(2))
    A, target = turn @ torch.diag(torch.logspace(0, -2, 32)) @ back, torch.randn(16, 32, generator=g)
    W = nn.Parameter(torch.zeros(16, 32))
    optimizer = make([W])
    schedule = LinearLR(optimizer, 1.0, 0.01, 100)
    for _ in range(100):
        optimizer.zero_grad()
        ((W - target) @ A).square().mean().backward()
        optimizer.step()
        schedule.step()
    return ((W - target).square().mean() / target.square().mean()).item()


@exercise
def exercise_8(StageMuon):
    g = torch.Generator().manual_seed(0)
    begun = [torch.randn(shape, generator=g) for shape in ((12, 5), (12, 5), (8, 3, 2, 2), (4, 4))]
    ours, theirs = ([nn.Parameter(p.clone()) for p in begun] for _ in range(2))
    mine, library = StageMuon(ours, lr=0.1), Muon(theirs, lr=0.1)
    for i in range(5):
        for optimizer in (mine, library):
            optimizer.param_groups[0]["lr"] = 0.1 / (i + 1)
        for p, q in zip(ours[:3], theirs[:3]):  # the last has no gradient
            p.grad = torch.randn(p.shape, generator=g)
            q.grad = p.grad.clone()
        mine.step()
        library.step()
        if torch.equal(ours[0], begun[0]):
            return wrong("After a step the weights are where they were: change them in place, with sub_ or add_.")
        if i == 0 and not close(ours[0], theirs[0]):
            if close(ours[0] - begun[0], begun[0] - theirs[0]):
                return wrong("The step goes uphill: subtract it.")
            return wrong("Even the first step differs from the library's: lr times the update of stage 2, subtracted.")
    if not close(ours[0], theirs[0]) and torch.equal(mine.state.get(ours[0], {}).get("average", ours[0]), ours[0]):
        return wrong("The first step is right, later ones are not. Is the average kept in self.state[p] under \"average\"?")
    if not all(close(p, q) for p, q in zip(ours, theirs)):
        return wrong("The first step is right, later ones are not. Read group[\"lr\"] at every step, and keep an average for each parameter.")
    missing, plain = toy_problem(lambda ps: StageMuon(ps, lr=1.0)), toy_problem(lambda ps: SGD(ps, lr=300, momentum=0.9))
    return right(f"The library's steps. Of the toy problem {missing:.1%} is missing after 100 steps; SGD with momentum, "
                 f"at the best of several rates, leaves {plain:.0%}.")
