"""Checkers of chapter 8."""

import copy
import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..data import ImageSet, normalise
from ..optim import learning_rate
from . import exercise, right, wrong
from .evidence import weigh


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


@exercise
def exercise_5(claim, evidence, trial):
    verdict = weigh(claim, evidence, more="none", less="warm-up", between=(0, 100), unit=" nats")
    if not verdict.right:
        return verdict
    again, said = trial(0, 0), float(evidence["none"][0])
    if abs(again - said) > 0.1:
        return wrong(f"Seed 0 without warm-up gives {again:.3f} when it is run again, and your first number is {said:.3f}. Collect "
                     "what trial returns, with the seeds from 0 on.")
    return verdict


def numbered(count: int) -> ImageSet:
    """Images that say who they are: channel 0 is 20 times the label, channel 1 the number of the image."""
    labels = torch.arange(count) * 7 % 10
    images = torch.stack([20 * labels, torch.arange(count), 0 * labels], dim=1).to(torch.uint8)
    return ImageSet(images[:, :, None, None].expand(-1, -1, 2, 2).contiguous(), labels, tuple("abcdefghij"), None, "numbered")


class Reader(nn.Module):
    """Reads the label off an image, and keeps the numbers of the images that it was shown, batch by batch."""

    def __init__(self):
        super().__init__()
        self.gain, self.seen = nn.Parameter(torch.tensor(30.0)), []

    def forward(self, x: Tensor) -> Tensor:
        pixels = ((x[:, :, 0, 0] * 0.25 + 0.5) * 255).round().long()  # (B, C)
        self.seen.append(pixels[:, 1].tolist())
        return self.gain * F.one_hot(pixels[:, 0] // 20, 10).float()


@exercise
def exercise_6(one_step):
    g = torch.Generator().manual_seed(0)
    images = torch.randint(256, (8, 3, 2, 2), generator=g).to(torch.uint8)
    labels = torch.randint(10, (8,), generator=g)
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 10))
    with torch.no_grad():
        model[1].weight.copy_(0.1 * torch.randn(10, 12, generator=g))
        model[1].bias.zero_()

    def loss_of(model: nn.Module, x: Tensor) -> Tensor:
        return F.cross_entropy(model(x), labels)

    def after(steps: int, x: Tensor, clear: bool = True) -> tuple[Tensor, list[float]]:
        twin, losses = copy.deepcopy(model), []
        optimizer = torch.optim.SGD(twin.parameters(), lr=0.1)
        for _ in range(steps):
            if clear:
                optimizer.zero_grad()
            loss = loss_of(twin, x)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return twin[1].weight.detach(), losses + [loss_of(twin, x).item()]

    yours = copy.deepcopy(model)
    optimizer = torch.optim.SGD(yours.parameters(), lr=0.1)
    said = [one_step(yours, optimizer, images, labels) for _ in range(2)]
    weight, (true, losses) = yours[1].weight.detach(), after(2, normalise(images))
    if torch.equal(weight, model[1].weight):
        return wrong("The weights have not moved: backward finds the gradients, and optimizer.step() moves the weights.")
    if torch.allclose(weight, after(2, normalise(images), clear=False)[0], atol=1e-6):
        return wrong("The second step followed the gradients of both: forget the old ones with zero_grad before backward.")
    if torch.allclose(weight, after(2, images.float() / 255)[0], atol=1e-6):
        return wrong("The images were only divided by 255: normalise shifts and scales them as well.")
    if not torch.allclose(weight, true, atol=1e-6):
        return wrong("The weights moved to another place than cross-entropy on the normalised images leads to.")
    if not all(isinstance(value, float) for value in said):
        return wrong(f"The loss comes back as {type(said[0]).__name__}; .item() makes a number of it, and lets its graph go.")
    if abs(said[0] - losses[1]) < 1e-6:
        return wrong("That is the loss after the move; return the one that the gradients came from.")
    if abs(said[0] - losses[0]) > 1e-5:
        return wrong(f"The first loss is {losses[0]:.3f}, and you return {said[0]:.3f}.")
    return right("Two steps, and the weights are where they should be.")


@exercise
def exercise_7(one_epoch):
    data, model = numbered(50), Reader()
    optimizer, g = torch.optim.SGD(model.parameters(), lr=1e-3), torch.Generator().manual_seed(0)
    loss = one_epoch(model, optimizer, data, 8, g)
    first, sizes = sum(model.seen, []), [len(batch) for batch in model.seen]
    if sizes[-1:] == [2]:
        return wrong("The last batch holds only 2 images; leave out what does not fill a batch.")
    if sizes != [8] * 6:
        return wrong(f"50 images make six batches of 8; your batches hold {sizes}.")
    if first == sorted(first):
        return wrong("The images came in the order in which they lie; draw an order with torch.randperm.")
    if len(set(first)) < 48:
        return wrong("Some images came twice, and others not at all: cut one order into pieces rather than drawing each batch anew.")
    if float(loss) > 0.1:
        return wrong("This model reads the label off the image, yet its loss is high: take images and labels with the same indices.")
    model.seen.clear()
    one_epoch(model, optimizer, data, 8, g)
    if sum(model.seen, []) == first:
        return wrong("The second epoch has the order of the first: draw a new one each time, from the generator that is passed in.")
    model.seen.clear()
    one_epoch(model, optimizer, data, 8, torch.Generator().manual_seed(0))
    if sum(model.seen, []) != first:
        return wrong("With the same seed the order is another: draw it with generator=g.")
    weak = Reader()
    weak.gain.data.fill_(1.0)
    returned = one_epoch(weak, torch.optim.SGD(weak.parameters(), lr=1.0), data, 8, torch.Generator().manual_seed(0))
    gain, true = torch.tensor(1.0), []
    for _ in range(6):  # the same loss on any batch, so its descent can be followed by hand
        p = gain.exp() / (gain.exp() + 9)
        true.append(-p.log().item())
        gain = gain + (1 - p)
    if abs(float(returned) - true[-1]) < 1e-4:
        return wrong("That is the loss of the last batch; return the mean of all.")
    if abs(float(returned) - sum(true)) < 1e-4:
        return wrong("That is the sum of the losses; divide by the number of steps.")
    if abs(float(returned) - sum(true) / 6) > 1e-3:
        return wrong(f"The mean loss of the steps is {sum(true) / 6:.3f}, and you return {float(returned):.3f}.")
    return right("Each image at most once, in a new order every epoch.")


class Noting(torch.optim.SGD):
    """Notes the learning rate of every step that it takes."""

    rates: list[float]

    def step(self, closure=None):
        self.rates = [*getattr(self, "rates", []), self.param_groups[0]["lr"]]
        return super().step(closure)


@exercise
def exercise_8(whole_run):
    data, model = numbered(50), Reader()
    optimizer = Noting(model.parameters(), lr=1e-3)
    history = whole_run(model, optimizer, data, 3, 8, 0.01, 5, torch.Generator().manual_seed(0))
    found = getattr(optimizer, "rates", [])

    def rates(total: int, warmup: int, shape: str = "linear") -> list[float]:
        return [learning_rate(step, total, 0.01, warmup, shape) for step in range(total)]

    def like(other: list[float]) -> bool:
        return len(found) == len(other) and max(abs(a - b) for a, b in zip(found, other)) < 1e-9

    true = rates(18, 5)
    if len(found) != 18:
        return wrong(f"Three epochs of six full batches are 18 steps; yours were {len(found)}.")
    if like([1e-3] * 18):
        return wrong('The rate never changed: set group["lr"] in optimizer.param_groups before each step.')
    if like(rates(6, 5) * 3):
        return wrong("The schedule starts anew in every epoch: count the steps of the whole run, epoch * steps + i.")
    if like([1e-3, *true[:-1]]):
        return wrong("Each rate comes one step late: set it before the step, not after.")
    if like(rates(18, 0)):
        return wrong("The rate falls from the first step on: the warm-up is missing.")
    if like(rates(18, 5, "constant")):
        return wrong("After the warm-up the rate stays at its peak; let it fall in a straight line.")
    if like(rates(18, 5, "cosine")):
        return wrong("The rate falls along a cosine; a straight line was asked for.")
    if not like(true):
        return wrong(f"The rates begin with {', '.join(f'{r:.4f}' for r in found[:6])}; they should begin with "
                     f"{', '.join(f'{r:.4f}' for r in true[:6])}.")
    epochs = [sum(model.seen[6 * e:6 * e + 6], []) for e in range(3)]
    if epochs[0] == epochs[1]:
        return wrong("All epochs have the same order: draw a new one for each.")
    if len(history) != 3:
        return wrong(f"Return one mean loss for each of the three epochs, not {len(history)} numbers.")
    return right("Eighteen steps: up for five, and down to nearly zero.")
