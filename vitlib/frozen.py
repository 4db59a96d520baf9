"""A frozen model's features, computed once and kept, and the best linear head on them."""

import hashlib
import time
import warnings
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from .files import cache_homes, write_atomically
from .published import adapt
from .train import predict, quiet
from .transfer import linear_probe
from .vit import ViT

DECAYS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
EVERY = 60  # seconds after which what has been computed so far is kept


def digest_of(model: ViT) -> str:
    """A short text that is another one for any other weights or configuration, whatever the head."""
    body = adapt(model, classes=0)
    digest = hashlib.blake2b(str(sorted(asdict(body.config).items())).encode(), digest_size=8)
    for name, value in body.state_dict().items():
        digest.update(name.encode())
        digest.update(value.cpu().contiguous().flatten().numpy())
    return digest.hexdigest()


def frozen_features(model: ViT, images: Tensor, batch_size: int = 32) -> Tensor:
    """What the head reads, (N, C, H, W) -> (N, D) on the CPU, from where it was kept as far as it was kept.

    Kept in the first of `files.cache_homes()` that can be written, under a name made from weights and images; on the
    way once a minute, so that a run that is killed loses little.
    """
    body = adapt(model, classes=0)
    digest = hashlib.blake2b(digest_of(model).encode(), digest_size=16)
    digest.update(images.contiguous().flatten().numpy())
    places = [home / f"features-{digest.hexdigest()}.safetensors" for home in cache_homes()]
    parts = [kept(places, body.config.dim)]
    done = len(parts[0])
    missing = images[done:].split(batch_size) if done < len(images) else ()
    if len(missing):
        cost = seconds_each(body, images) * (len(images) - done)
        size, P = body.config.image_size, body.config.patch_size
        smaller = max(P, size // 2 // P * P)
        print(f"features of {len(images) - done} images: about {duration(cost)}, and kept for the next time"
              + (f"; --size {smaller} would take a quarter of it" if cost > 300 and smaller < size else ""), flush=True)
    last = time.monotonic()
    try:
        for part in tqdm(missing, "features", leave=False, disable=quiet()):
            parts.append(predict(body, part).cpu())
            if time.monotonic() - last > EVERY:
                last = keep(places, torch.cat(parts))
    finally:  # after Ctrl-C too
        if len(parts) > 1:
            keep(places, torch.cat(parts))
    return torch.cat(parts)


def seconds_each(model: ViT, images: Tensor) -> float:
    """How long one of these images takes to predict, by a few of them; by more where that is quick."""
    predict(model, images[:1]).cpu()  # the first one pays for what is set up
    for few in (images[:4], images[:32]):
        start = time.perf_counter()
        predict(model, few).cpu()  # waits for a GPU
        if (seconds := time.perf_counter() - start) > 0.2:
            break
    return seconds / len(few)


def duration(seconds: float) -> str:
    """A time for a reader: 40 s, 3 min, 1.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def kept(places: list[Path], dim: int) -> Tensor:
    """The features (n, dim) that an earlier run kept, all or the first of them; (0, dim) where there are none."""
    for path in places:
        try:
            with safe_open(path, "pt") as file:
                features = file.get_tensor("features")
        except (SafetensorError, OSError):
            continue
        if features.ndim == 2 and features.shape[1] == dim and features.isfinite().all():
            return features
    return torch.empty(0, dim)


def keep(places: list[Path], features: Tensor) -> float:
    """Write features to the first place that takes them, or warn that there is none; returns the time."""
    trouble = "there is no home folder; set VITLIB_DATA to a whole path"
    for path in places:
        try:
            write_atomically(path, save({"features": features}))
            return time.monotonic()
        except OSError as error:
            trouble = error.strerror
    warnings.warn(f"cannot keep the features ({trouble}); they will be computed anew each time", stacklevel=3)
    return time.monotonic()


def best_head(features: Tensor, labels: Tensor, classes: int, balance: bool = False, seed: int = 0,
              decays: tuple[float, ...] = DECAYS) -> tuple[nn.Linear, float]:
    """The linear probe of (N, D), (N,) whose decay does best in cross-validation inside these images; and that decay.

    So no validation image takes part in the choice. Four folds; of 2,000 images or more, one of them is enough.
    `balance` counts every class alike, however few its images.
    """
    fold, mean_loss = folds(labels, 4, seed), {}
    for decay in decays if (fold >= 0).any() else decays[2:3]:
        losses = []
        for k in range(4 if len(labels) < 2000 else 1):
            held, rest = (fold == k).nonzero()[:, 0], (fold != k).nonzero()[:, 0]
            rest = rest[balanced(labels[rest])] if balance else rest
            if len(held):
                logits = linear_probe(features[rest], labels[rest], classes, decay)(features[held])
                loss = F.cross_entropy(logits, labels[held], reduction="none")  # (n,)
                share = labels.bincount(minlength=classes)[labels[held]] if balance else torch.ones(len(held))
                losses.append(((loss / share).sum() / (1 / share).sum()).item())
        mean_loss[decay] = sum(losses) / max(1, len(losses))
    decay = min(mean_loss, key=mean_loss.get)
    chosen = balanced(labels) if balance else torch.arange(len(labels))
    return linear_probe(features[chosen], labels[chosen], classes, decay), decay


def folds(labels: Tensor, count: int, seed: int) -> Tensor:
    """A fold 0…count-1 for each image, every class spread over all; -1, never held out, for a class of one image."""
    g, fold = torch.Generator().manual_seed(seed), torch.full_like(labels, -1)
    for k in labels.unique():
        own = (labels == k).nonzero()[:, 0]
        if len(own) > 1:
            fold[own[torch.randperm(len(own), generator=g)]] = torch.arange(len(own)) % count
    return fold


def balanced(labels: Tensor) -> Tensor:
    """Indices that name the images of every class equally often, those of small classes again and again."""
    most = int(labels.bincount().max())
    own = [(labels == k).nonzero()[:, 0] for k in labels.unique()]
    return torch.cat([indices.repeat(-(-most // len(indices)))[:most] for indices in own])
