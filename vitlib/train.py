"""Train a ViT: one loop in the open. `python -m vitlib train RECIPE` runs it from a terminal."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from .augment import cutmix, mixup, random_augment, random_crop, random_erase, random_flip
from .checkpoint import describe, load_checkpoint, restore, save_checkpoint, snapshot
from .data import ImageSet, normalise, on_device
from .devices import as_device, device_of, has_bf16, layout_for, same_draws
from .guards import check_run, check_settings
from .modes import training_mode
from .optim import finite_or_stop, learning_rate, make_optimizers, set_rate
from .parallel import connect, rank, share, summed, unwrapped
from .vit import evaluating

Objective = Callable[..., tuple[Tensor, Tensor]]  # (model, images, targets, config) -> logits (B, K), loss


@dataclass(frozen=True)
class TrainConfig:
    """How a model is trained. Frozen: change a copy with `dataclasses.replace`."""

    epochs: int = 10
    batch_size: int = 128
    optimizer: str = "adamw"  # or "muon" for the blocks' matrices, "muon+stem" for the stem too
    lr: float = 2e-3
    weight_decay: float = 0.05
    layer_decay: float = 1.0  # AdamW's rate falls by this factor with each layer further from the head
    betas: tuple[float, float] = (0.9, 0.98)
    muon_lr: float = 0.02
    muon_decay: float = 0.01
    warmup: float = 0.05  # share of all steps
    schedule: str = "linear"  # or "cosine", "constant", "steps"
    drops: tuple[float, ...] = ()  # of "steps": shares of the run at which the rate is multiplied by drop_factor
    drop_factor: float = 0.1
    clip: float = 1.0  # largest gradient norm; 0 leaves gradients alone
    label_smoothing: float = 0.0
    crop: int = 2  # shift by up to so many pixels
    flip: bool = True
    augment: float = 0.0  # strength of random_augment, 0 to 1
    erase: float = 0.0  # probability of random_erase
    mixup: float = 0.0  # alpha; 0 is off
    cutmix: float = 0.0  # alpha; 0 is off; with both on, each batch tosses a coin
    calm: float = 0.0  # share of the epochs, at the end, without patch drop, augment, erase and mixing
    ema: float = 0.0  # decay of the weights' moving average; 0 is off
    precision: str = "auto"  # "auto" is bf16 on a GPU that has it, fp32 elsewhere
    compile: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        check_settings(self)
        for name, known in (("precision", ("auto", "fp32", "bf16")), ("optimizer", ("adamw", "muon", "muon+stem")),
                            ("schedule", ("linear", "cosine", "constant", "steps"))):
            if getattr(self, name) not in known:
                raise ValueError(f"{name}={getattr(self, name)!r} is not one of {', '.join(known)}")

    def is_calm(self, epoch: int) -> bool:
        return epoch + 1e-9 >= self.epochs * (1 - self.calm)


def batches(data: ImageSet, config: TrainConfig, epoch: int, g: torch.Generator,
            layout: torch.memory_format = torch.contiguous_format) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch in random order: augmented, normalised images (B, C, H, W) and targets (B, K).

    Images that do not fill a last batch wait for the next epoch's order. Of several processes, each draws the
    same batches and keeps its share. `layout` is the order of the numbers in memory. Built in chapter 8.
    """
    order = torch.randperm(len(data), generator=g, device=g.device)
    size = min(config.batch_size, len(data))
    for chosen in order[: len(order) // size * size].split(size):
        images, labels = data.images[chosen], data.labels[chosen]
        targets = F.one_hot(labels, len(data.classes)).float()
        images, targets = augment_batch(images, targets, config, config.is_calm(epoch), g)
        yield share(images).contiguous(memory_format=layout), share(targets)


def augment_batch(images: Tensor, targets: Tensor, config: TrainConfig, calm: bool,
                  g: torch.Generator) -> tuple[Tensor, Tensor]:
    """uint8 images (B, C, H, W) and targets (B, K) -> what the model is trained on."""
    if config.flip:
        images = random_flip(images, g)
    if config.crop:
        images = random_crop(images, config.crop, g)
    if not calm and config.augment:
        images = random_augment(images.float() / 255, config.augment, g)
    if not calm and config.erase:
        images = random_erase(images, config.erase, g)
    images = normalise(images)
    mixed = [mix(images, targets, alpha, g) for mix, alpha in ((mixup, config.mixup), (cutmix, config.cutmix))
             if alpha > 0 and not calm]
    if mixed:  # the coin stays on the device: a GPU need not wait for it
        coin = torch.randint(len(mixed), (1,), generator=g, device=g.device)
        images, targets = (torch.stack(parts).index_select(0, coin)[0] for parts in zip(*mixed, strict=True))
    return images, targets


def autocast(device: torch.device, precision: str) -> AbstractContextManager:
    """bf16 where it is asked for, or where "auto" finds a GPU that has it."""
    if precision == "bf16" or (precision == "auto" and has_bf16(device)):
        return torch.autocast(device.type, torch.bfloat16)
    return nullcontext()


def label_loss(model: nn.Module, images: Tensor, targets: Tensor, config: TrainConfig) -> tuple[Tensor, Tensor]:
    """Logits (B, K), and the cross-entropy between them and the targets (B, K). Built in chapter 8."""
    logits = model(images)  # (B, K)
    return logits, F.cross_entropy(logits, targets, label_smoothing=config.label_smoothing)


def train_one_epoch(model: nn.Module, data: ImageSet, optimizers: list, config: TrainConfig, epoch: int,
                    g: torch.Generator, average: nn.Module | None = None, objective: Objective = label_loss) -> dict:
    """One pass over the data; returns the mean loss and accuracy on the augmented batches. Built in chapter 8."""
    training_mode(model, config.is_calm(epoch))
    steps = max(1, len(data) // config.batch_size)
    total, loss_sum, correct, seen = steps * config.epochs, 0.0, 0.0, 0
    drawn = batches(data, config, epoch, g, layout_for(model))
    for i, (images, targets) in enumerate(tqdm(drawn, f"epoch {epoch + 1}", steps, leave=False, disable=quiet())):
        step = epoch * steps + i
        set_rate(optimizers, learning_rate(step, total, 1.0, round(config.warmup * total), config.schedule,
                                           config.drops, config.drop_factor))
        with autocast(images.device, config.precision):
            logits, loss = objective(model, images, targets, config)
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss.backward()
        if config.clip:
            nn.utils.clip_grad_norm_(model.parameters(), config.clip)
        if i % 20 == 0 or i == steps - 1:  # asking a GPU for a number makes it wait: not every step
            finite_or_stop(loss.detach(), step)
        for optimizer in optimizers:
            optimizer.step()
        if average is not None:
            average.update_parameters(model)
        loss_sum += loss.detach() * len(images)
        correct += (logits.argmax(1) == targets.argmax(1)).sum()
        seen += len(images)
    finite_or_stop(sum(p.detach().sum() for p in model.parameters()), step)  # the last update counts too
    loss_sum, correct, seen = summed(loss_sum, correct, seen)
    return {"train_loss": loss_sum / seen, "train_accuracy": correct / seen}


@torch.no_grad()
def predict(model: nn.Module, images: Tensor, batch_size: int = 500) -> Tensor:
    """Logits (B, K) of uint8 images (B, C, H, W), in evaluation mode, on the model's device. Built in chapter 8."""
    device = device_of(model)
    with evaluating(model):
        logits = torch.cat([model(normalise(part.to(device))) for part in images.split(batch_size)])
    return logits.float()


def evaluate(model: nn.Module, data: ImageSet) -> dict:
    """Mean loss and accuracy on unaltered images. Built in chapter 8."""
    logits = predict(model, data.images)
    labels = data.labels.to(logits.device)
    return {"loss": F.cross_entropy(logits, labels).item(),
            "accuracy": (logits.argmax(1) == labels).float().mean().item()}


def fit(model: nn.Module, train: ImageSet, config: TrainConfig, validation: ImageSet | None = None,
        checkpoint: str | Path | None = None, resume: bool = False, device: str | torch.device = "cpu",
        objective: Objective = label_loss) -> list[dict]:
    """Train `model` in place; returns one dict an epoch: losses, accuracies, seconds.

    Any module that gives logits (B, K) will do. It ends on `device` and in evaluation mode, whether an epoch was left
    to train or not; with config.ema, with the averaged weights. With `checkpoint`, the whole state is kept after every
    epoch; `resume=True` goes on from it, on a CPU bit for bit as if there had been no stop. `objective` gives a batch's
    logits and its loss; `distil.Teaching` is another one. Raises ValueError when data and model do not fit or the
    checkpoint is of another run, FloatingPointError when the loss is no number. Built in chapter 8.
    """
    if resume and checkpoint is None:
        raise ValueError("resume=True needs the path of the checkpoint to go on from: checkpoint=…")
    device = as_device(device)
    runner, train = model.to(device), on_device(train, device)
    validation = on_device(validation, device) if validation is not None else None
    model = unwrapped(runner)
    check_run(model, train, validation, config)
    optimizers = make_optimizers(model, config.optimizer, config.lr, config.weight_decay, config.betas,
                                 config.muon_lr, config.muon_decay, config.layer_decay)
    follow = get_ema_multi_avg_fn(config.ema)
    average = AveragedModel(model, multi_avg_fn=follow, use_buffers=True) if config.ema else None
    g = torch.Generator(device).manual_seed(config.seed)
    torch.manual_seed(config.seed)  # dropout, DropPath and patch dropping draw from the global generator
    about = describe(model, train, asdict(config)) if checkpoint else {}
    history = restore(load_checkpoint(checkpoint), about, model, optimizers, average, g) if resume else []
    runner = connect(model if config.compile else runner)  # nothing is compiled twice
    runner = warm_up(runner, train, config, device) if config.compile else runner
    for epoch in range(len(history), config.epochs):
        if rank():  # number 0 goes on with its own draws, as if it were alone
            torch.manual_seed(config.seed + 1000 * epoch + rank())
        start = time.perf_counter()
        metrics = train_one_epoch(runner, train, optimizers, config, epoch, g, average, objective)
        seconds = time.perf_counter() - start  # the training alone: neither evaluation nor saving
        if validation is not None:
            scores = evaluate(average.module if average else model, validation)
            metrics |= {f"validation_{name}": value for name, value in scores.items()}
        history.append({"epoch": epoch + 1, **metrics, "seconds": round(seconds, 3)})
        if rank():
            continue
        if checkpoint:  # before the line is printed: what was seen is kept
            save_checkpoint(checkpoint, snapshot(about, model, optimizers, average, g, history))
        print("  ".join(f"{name} {value:.4g}" for name, value in history[-1].items()), flush=True)
    if average:
        model.load_state_dict(average.module.state_dict())
    runner.eval()
    return history


def warm_up(model: nn.Module, data: ImageSet, config: TrainConfig, device: torch.device) -> nn.Module:
    """Compile on one batch before the clock starts, leaving weights and random states as they were.

    Raises ValueError where this machine cannot compile.
    """
    compiled, before = torch.compile(model), {name: value.clone() for name, value in model.state_dict().items()}
    training_mode(compiled, config.is_calm(0))
    g = torch.Generator(device).manual_seed(0)
    with same_draws(device):
        images, targets = next(batches(data, config, 0, g, layout_for(model)))
        try:
            with autocast(device, config.precision):
                F.cross_entropy(compiled(images), targets).backward()
        except RuntimeError as error:
            from torch._dynamo.exc import TorchDynamoException  # here, because loading them takes a second
            from torch._inductor.exc import InvalidCxxCompiler
            if not isinstance(error, TorchDynamoException | InvalidCxxCompiler):
                raise  # such as memory that runs out
            raise ValueError(f"compile=True does not work on this machine ({str(error).splitlines()[0][:120]}); "
                             "install a C++ compiler (g++, clang, Xcode's or MSVC; for a GPU also Triton), or train "
                             "with compile=False") from error
    model.zero_grad()
    model.load_state_dict(before)  # batch norm keeps count of what it has seen
    return compiled


def quiet() -> bool:
    """No progress bar where nobody can see it move: neither a terminal nor a notebook, or not the first process."""
    return rank() > 0 or not (sys.stderr.isatty() or "ipykernel" in sys.modules)


if __name__ == "__main__":
    raise SystemExit("the command is now: python -m vitlib train RECIPE")
