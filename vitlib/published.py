"""Published weights in our ViT: timm's, torchvision's and Hugging Face's, with their mean and standard deviation."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from pickle import UnpicklingError
from zipfile import is_zipfile

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from .families import check_plain, config_of, timm_names, whose
from .hub import find_weights
from .positions import interpolate_positions, sincos_2d
from .vit import ViT, ViTConfig

WRAPPED = ("model", "state_dict", "model_state_dict", "model_ema", "teacher")  # what training code puts around weights


def load_published(source: str | Path, classes: int | None = None, image_size: int | None = None,
                   like: str | None = None) -> ViT:
    """Published weights in our ViT, in float32 and evaluation mode, ready for what `data.normalise` gives.

    `source` is a file, a folder or a name, and `like` tells what a bare file does not: see `hub.find_weights`.
    `classes=K` puts a new head in place of the published one, zero at first; `image_size`, in pixels, stretches the
    position codes. The mean and standard deviation that the weights were trained with are folded into the first layer.
    Raises ValueError for weights that are damaged, of another family, or lack a part, naming the first such key;
    FileNotFoundError where nothing was found. Built in chapter 15.
    """
    weights = find_weights(source, like)
    facts = {"heads": None, "mean": None, "std": None, "dim": None, "eps": 1e-6, "pool": None} | weights.facts
    state = timm_names(read_weights(weights.path), weights.path)
    check_plain(state, weights.path)
    check_facts(facts, state, classes, weights.path)
    config = config_of(state, facts["heads"], facts["eps"], facts["pool"])
    model = build(*changed(state, config, classes, image_size), weights.path)
    check_normalisation(facts["mean"], facts["std"], config.channels, weights.path)
    fold_normalisation(model.patch_embed.proj, facts["mean"], facts["std"])
    return model


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a file, safetensors or PyTorch's, without running code from it. Halves become float32."""
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, "pt") as file:  # maps the file into memory: nothing is copied
                ours = "config" in (file.metadata() or {})
                state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, it is no dict
        else:
            ours, state = False, torch.load(path, map_location="cpu", weights_only=True, mmap=is_zipfile(path))
            while isinstance(inner := next((state[key] for key in WRAPPED if key in state), None), dict):
                state = inner
    except UnpicklingError as error:
        what = "holds more than tensors" if is_zipfile(path) else "is damaged, cut short or no file of weights"
        raise ValueError(f"{path} {what}, and opening it could run code from it; fetch it again, or convert it to "
                         "safetensors where it comes from") from error
    except (SafetensorError, RuntimeError, EOFError, TypeError, AttributeError, OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:120]
        raise ValueError(f"{path} is damaged, cut short or no file of weights ({reason}); fetch it again") from error
    if ours:
        raise ValueError(f"{path} was written by export_weights, so vitlib.checkpoint.load_weights reads it")
    tensors = {name.removeprefix("module."): value for name, value in state.items() if isinstance(value, Tensor)}
    if not tensors:
        raise ValueError(f"{path} holds no tensors by name, but {', '.join(map(str, list(state)[:3])) or 'nothing'}")
    if whole := [name for name, value in tensors.items() if value.dtype in (torch.int8, torch.uint8)]:
        raise ValueError(f"{path}: {whole[0]} is {tensors[whole[0]].dtype}; quantised weights are not read, take the "
                         "originals")
    return {name: value.float() for name, value in tensors.items()}


@torch.no_grad()
def fold_normalisation(first: nn.Conv2d, mean: Sequence[float], std: Sequence[float]) -> None:
    """Change the first layer so that it reads what `data.normalise` gives, and answers as before.

    The weights expect (u - mean) / std of pixels u in 0…1, and get x = (u - 0.5) / 0.25. Both are linear in u, so one
    is linear in the other: (u - mean) / std = x · 0.25 / std + (0.5 - mean) / std. Built in chapter 15.
    """
    mean, std = (torch.tensor(values, dtype=first.weight.dtype)[:, None, None] for values in (mean, std))  # (C, 1, 1)
    first.bias += (first.weight * (0.5 - mean) / std).sum(dim=(1, 2, 3))  # (D,), what the constant adds
    first.weight *= 0.25 / std  # (D, C, P, P)


def changed(state: dict[str, Tensor], config: ViTConfig, classes: int | None = None,
            image_size: int | None = None) -> tuple[dict[str, Tensor], ViTConfig]:
    """Weights and configuration with a new head of zeros, or position codes for another image size, or both.

    Raises ValueError for a size that the patches do not divide. Built in chapter 15.
    """
    c = replace(config, classes=config.classes if classes is None else classes,
                image_size=config.image_size if image_size is None else image_size)
    if classes is not None:
        state = {name: value for name, value in state.items() if not name.startswith("head")}
        heads = ("head", "head_dist") if c.pool == "distilled" else ("head",)
        for head in heads if classes else ():
            state |= {f"{head}.weight": torch.zeros(classes, c.dim), f"{head}.bias": torch.zeros(classes)}
    if c.image_size % c.patch_size:
        lower = max(c.patch_size, c.image_size // c.patch_size * c.patch_size)
        raise ValueError(f"image_size {c.image_size} is not a multiple of the model's patches of {c.patch_size}; "
                         f"use {lower} or {lower + c.patch_size}")
    side = c.image_size // c.patch_size
    if c.image_size != config.image_size and "pos_embed" in state:
        before = state["pos_embed"].shape[1] - (config.image_size // config.patch_size) ** 2
        fixed = torch.cat([torch.zeros(before, c.dim), sincos_2d(side, side, c.dim)])[None]
        state = state | {"pos_embed": fixed if c.positions == "sincos" else
                         interpolate_positions(state["pos_embed"], (side, side), before)}
    return state, c


def build(state: Mapping[str, Tensor], config: ViTConfig, path: str | Path = "these weights") -> ViT:
    """The ViT of this configuration around the tensors themselves: nothing is drawn, nothing is copied.

    Raises ValueError naming the first key that is left over or missing. Built in chapter 15.
    """
    with torch.device("meta"):  # shapes without memory
        model = ViT(config)
    expected = model.state_dict().keys()
    if odd := sorted(state.keys() - expected) + sorted(expected - state.keys()):
        what = "holds" if odd[0] in state else "lacks"
        raise ValueError(f"{path} {what} {odd[0]} (and {len(odd) - 1} more that do not fit our ViT){whose(odd)}; "
                         "plain ViTs, DeiTs and DINOv2 can be read")
    try:
        model.load_state_dict(state, strict=True, assign=True)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return model.eval()


def adapt(model: ViT, classes: int | None = None, image_size: int | None = None) -> ViT:
    """A copy of a trained model with a new head of zeros, or for another image size, or both. In evaluation mode.

    Raises ValueError for a size that the patches do not divide. Built in chapter 15.
    """
    return build(*changed(copy.deepcopy(model.state_dict()), model.config, classes, image_size), "the model")


def check_facts(facts: dict, state: Mapping[str, Tensor], classes: int | None, path: Path) -> None:
    """Raise ValueError where what is known beside the weights is not enough, is nonsense, or does not fit them."""
    needed = {"heads": "how many heads its model has", "mean": "with which mean and standard deviation it was trained"}
    missing = [words for name, words in needed.items() if facts[name] is None]
    if missing:
        raise ValueError(f"{path} does not say {' nor '.join(missing)}; name a model of timm or torchvision that was "
                         "trained alike, such as like='vit_small_patch14_dinov2' (in a terminal --like), or put the "
                         "config.json and preprocessor_config.json of its model beside it")
    D = len(state["patch_embed.proj.weight"])
    if facts["dim"] not in (None, D):
        raise ValueError(f"{path} holds a model {D} wide, and the one that it is said to be like is {facts['dim']} "
                         "wide; name one of the same size with like= (in a terminal --like)")
    if classes is None and "head.weight" in state and state["head.weight"].shape[1] != D:
        raise ValueError(f"{path}: its head.weight is {tuple(state['head.weight'].shape)}, so it reads more than the "
                         f"{D} features that ours does; ask for a new head with classes=…")


def check_normalisation(mean: object, std: object, channels: int, path: Path) -> None:
    """Raise ValueError unless mean and standard deviation are numbers for pixels in 0…1, one for each channel."""
    for name, values, low in (("mean", mean, 0), ("std", std, 1e-3)):
        if not isinstance(values, list | tuple) or len(values) != channels or not all(low <= v <= 1 for v in values):
            raise ValueError(f"{path}: {name} must be {channels} numbers, one a channel, for pixels in 0…1, got "
                             f"{values!r}")
