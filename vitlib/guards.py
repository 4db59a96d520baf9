"""What cannot be trained, refused before the first step with the way out: settings, images, models."""

import math

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from .data import ImageSet, normalise
from .devices import same_draws
from .modes import is_frozen
from .parallel import processes
from .settings import check_types
from .vit import evaluating


def check_settings(config) -> None:
    """Raise ValueError for a setting of another type, or one that no training can have."""
    check_types(config)
    for name in ("epochs", "batch_size", "lr", "drop_factor"):
        if getattr(config, name) <= 0:
            raise ValueError(f"{name} must be positive, got {getattr(config, name)}")
    for name in ("warmup", "label_smoothing", "augment", "erase", "calm"):
        if not 0 <= getattr(config, name) <= 1:
            raise ValueError(f"{name} must lie in 0…1, got {getattr(config, name)}")
    for name in ("clip", "mixup", "cutmix", "crop", "weight_decay", "muon_lr", "muon_decay"):
        if getattr(config, name) < 0:
            raise ValueError(f"{name} must not be negative, got {getattr(config, name)}; 0 switches it off")
    if not 0 < config.layer_decay <= 1:
        raise ValueError(f"layer_decay is a factor above 0, up to 1, got {config.layer_decay}; 1 is one rate for all")
    if not 0 <= config.ema < 1:
        raise ValueError(f"ema must lie in 0…1, below 1, got {config.ema}; at 1 the mean would never move")
    if len(config.betas) != 2 or not all(0 <= beta < 1 for beta in config.betas):
        raise ValueError(f"betas must be two numbers in 0…1, below 1, got {config.betas}")
    if list(config.drops) != sorted(set(config.drops)) or not all(0 <= drop <= 1 for drop in config.drops):
        raise ValueError(f"drops must be shares of the run in 0…1, each later than the one before, got {config.drops}")
    if not abs(config.seed) < 2**62:
        raise ValueError(f"seed must lie between -2**62 and 2**62, got {config.seed}")


def check_run(model: nn.Module, train: ImageSet, validation: ImageSet | None, config) -> None:
    """Raise ValueError where model, images and settings do not make a training. Images lie on the model's device."""
    for name, data in (("training", train), ("validation", validation)):
        if data is not None and not len(data):
            raise ValueError(f"there are no {name} images: the set is empty")
        if data is not None and data.classes != train.classes:
            raise ValueError(f"training and validation images have other classes: {train.classes}, {data.classes}")
    if not any(p.requires_grad for p in model.parameters()):
        raise ValueError("no parameter of the model can change: all have requires_grad=False, or there are none; "
                         "free some, such as model.head.requires_grad_(True)")
    if (size := min(config.batch_size, len(train))) % processes():
        raise ValueError(f"{processes()} processes cannot share a batch of {size} equally; "
                         "choose a batch_size that is a multiple")
    logits, fewest = try_out(model, train.images[:1])
    if (classes := logits.shape[1]) != len(train.classes):
        raise ValueError(f"the model tells {classes} classes apart, the data has {len(train.classes)}; "
                         f"build the model with classes={len(train.classes)}")
    if fewest * (size // processes()) < 2:
        raise ValueError("the model's batch norm takes the spread over a batch, and here it sees one number for each "
                         f"channel: a batch_size of {size // processes()} is too small for this model")


def try_out(model: nn.Module, image: Tensor) -> tuple[Tensor, float]:
    """The logits (1, K) of one uint8 image (1, C, H, W), and how many numbers a channel has at the tightest batch norm.

    Changes nothing: neither mode, statistics nor random states. Batch norms that stay frozen do not count.
    """
    seen = [math.inf]
    hooks = [part.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0][:, 0].numel()))
             for part in model.modules() if isinstance(part, _BatchNorm) and not is_frozen(part)]
    try:
        with torch.no_grad(), evaluating(model), same_draws(image.device):
            logits = model(normalise(image))
    except ValueError:
        raise  # says what is wrong
    except Exception as error:  # a model that is not ours fails in its own way
        reason = (str(error) or type(error).__name__).splitlines()[0][:120]
        raise ValueError(f"the model cannot read images of shape {tuple(image.shape)} ({reason}); resize them, or "
                         "build the model for them") from error
    finally:
        for hook in hooks:
            hook.remove()
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != 1:
        found = f"shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else f"a {type(logits).__name__}"
        raise ValueError(f"a model gives logits (B, K), for one image (1, K); this one gives {found}")
    return logits, min(seen)
