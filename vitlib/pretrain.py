"""Training without labels, and the features of every block."""

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from .checkpoint import describe, load_checkpoint, restore, save_checkpoint, snapshot
from .data import ImageSet, normalise, on_device
from .devices import as_device, device_of, layout_for
from .mae import MaskedAutoencoder
from .optim import finite_or_stop, learning_rate, make_optimizers, set_rate
from .parallel import processes
from .train import TrainConfig, autocast, batches, quiet
from .vit import ViT, evaluating


def pretrain(model: MaskedAutoencoder, data: ImageSet, config: TrainConfig, checkpoint: str | Path | None = None,
             resume: bool = False, device: str | torch.device = "cpu",
             each_epoch: Callable[[], object] | None = None) -> list[dict]:
    """Train a masked autoencoder in place, on images alone: the labels are not read. One dict an epoch is returned.

    The loop is that of `fit`, with the same order, augmentation, schedule and checkpoints. `each_epoch` is called
    without arguments after every epoch. Raises ValueError for settings that belong to labels, a checkpoint of another
    run, or images that do not fit; FloatingPointError when the loss is no number. Built in chapter 16.
    """
    check_pretraining(config, data, checkpoint, resume)
    device = as_device(device)
    model, data = model.to(device), on_device(data, device)
    optimizers = make_optimizers(model, config.optimizer, config.lr, config.weight_decay, config.betas,
                                 config.muon_lr, config.muon_decay)
    g = torch.Generator(device).manual_seed(config.seed)
    torch.manual_seed(config.seed)  # for dropout and DropPath
    decoder = {f"autoencoder's {name}": value for name, value in asdict(model.config).items()}
    about = describe(model.encoder, data, asdict(config) | decoder)
    history = restore(load_checkpoint(checkpoint), about, model, optimizers, None, g) if resume else []
    for epoch in range(len(history), config.epochs):
        start = time.perf_counter()
        loss = pretrain_one_epoch(model, data, optimizers, config, epoch, g)
        history.append({"epoch": epoch + 1, "loss": loss, "seconds": round(time.perf_counter() - start, 3)})
        if checkpoint:
            save_checkpoint(checkpoint, snapshot(about, model, optimizers, None, g, history))
        if each_epoch:
            each_epoch()
    model.eval()
    return history


def pretrain_one_epoch(model: MaskedAutoencoder, data: ImageSet, optimizers: list, config: TrainConfig, epoch: int,
                       g: torch.Generator) -> float:
    """One pass over the images, each with a mask of its own; returns the mean loss. Built in chapter 16."""
    model.train()
    steps, losses = max(1, len(data) // config.batch_size), []
    total, N = steps * config.epochs, model.encoder.patch_embed.num_patches
    drawn = batches(data, config, epoch, g, layout_for(model))
    for i, (images, _) in enumerate(tqdm(drawn, f"epoch {epoch + 1}", steps, leave=False, disable=quiet())):
        step = epoch * steps + i
        set_rate(optimizers, learning_rate(step, total, 1.0, round(config.warmup * total), config.schedule,
                                           config.drops, config.drop_factor))
        noise = torch.rand(len(images), N, generator=g, device=g.device)  # another mask for each image and each pass
        with autocast(images.device, config.precision):
            loss = model(images, noise)
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss.backward()
        if config.clip:
            nn.utils.clip_grad_norm_(model.parameters(), config.clip)
        if i % 20 == 0 or i == steps - 1:
            finite_or_stop(loss.detach(), step)
        for optimizer in optimizers:
            optimizer.step()
        losses.append(loss.detach())
    return torch.stack(losses).mean().item()


@torch.no_grad()
def layer_features(model: ViT, images: Tensor, batch_size: int = 500) -> Tensor:
    """The mean patch after each block, before the last norm: uint8 (B, C, H, W) -> (L, B, D). Built in chapter 16."""
    device, parts = device_of(model), []
    with evaluating(model):
        for part in images.split(batch_size):
            x, layers = model.embed(normalise(part.to(device))), []
            for block in model.blocks:
                x = block(x)
                layers.append(x[:, model.prefix:].mean(dim=1))  # (b, D)
            parts.append(torch.stack(layers))
    return torch.cat(parts, dim=1)


def check_pretraining(config: TrainConfig, data: ImageSet, checkpoint: str | Path | None, resume: bool) -> None:
    """Raise ValueError for settings or images that pre-training cannot use."""
    for name in ("mixup", "cutmix", "label_smoothing", "ema", "compile"):
        if getattr(config, name):
            raise ValueError(f"{name}={getattr(config, name)} has no place in pre-training; leave it at 0")
    if config.layer_decay != 1:
        raise ValueError(f"layer_decay={config.layer_decay} is for fine-tuning; pre-training starts from nothing that "
                         "could be destroyed: leave it at 1")
    if not len(data):
        raise ValueError("there are no images: the set is empty")
    if resume and checkpoint is None:
        raise ValueError("resume=True needs the path of the checkpoint to go on from: checkpoint=…")
    if processes() > 1:
        raise ValueError("pretrain runs in one process; start it without torchrun")
