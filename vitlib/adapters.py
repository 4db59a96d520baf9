"""Adapters in files: what LoRA trained, saved alone, and put on the base that it was made for.

An adapter is every A and B and the head that was trained with them. Its file holds no weight of the base, only a mark
of each tensor, by which another base is found out.
"""

import json
import math
from dataclasses import asdict, replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from .files import write_atomically
from .lora import HEADS, TARGETS, adapted, add_lora, check_adapted, check_unmerged, exchange, targeted
from .vit import ViT


def lora_state(model: ViT) -> dict[str, Tensor]:
    """What was trained: every A and B, and the head. The same whether they are merged or not. Built in chapter 17."""
    return {name: p.detach() for name, p in model.named_parameters() if "lora_" in name or name.startswith(HEADS)}


def marks(model: ViT) -> dict[str, float]:
    """A number for each tensor of the base that other weights do not have: its product with a wave.

    It is compared with a tolerance: codes that were stretched on another machine differ in their last digits.
    Built in chapter 17.
    """
    base = dict([*model.named_parameters(), *model.named_buffers()])
    base |= {f"{name}.weight": layer.kept for name, layer in adapted(model).items() if layer.kept is not None}
    base = {name: value.detach().cpu().double().flatten() for name, value in base.items()
            if name not in lora_state(model)}
    return {name: float(value @ torch.arange(len(value)).double().cos()) for name, value in base.items()}


def heads(model: ViT) -> list[str]:
    """The names of a model's heads: one, or two where it is distilled. Without classes nothing is in their place."""
    return [name for name, _ in model.named_children() if f"{name}." in HEADS]


def form(model: ViT) -> dict:
    """Rank, alpha and targets of a model's adapters, as `add_lora` takes them."""
    layers = adapted(model)
    first, names = next(iter(layers.values())), {name.split(".")[-1] for name in layers}
    return {"rank": first.rank, "alpha": first.alpha, "targets": [name for name in TARGETS if name in names]}


def save_adapter(model: ViT, path: str | Path, classes: tuple[str, ...] = ()) -> None:
    """Write what was trained, and for which base, as safetensors; `classes` names what the head tells apart.

    Raises ValueError for a model without adapters, for another number of names, and for weights that are no numbers.
    Built in chapter 17.
    """
    check_saveable(model, classes)
    about = form(model) | {"classes": list(classes), "config": asdict(model.config), "marks": marks(model)}
    tensors = {name: value.contiguous() for name, value in lora_state(model).items()}
    write_atomically(path, save(tensors, {"lora": json.dumps(about)}))


def load_adapter(model: ViT, path: str | Path) -> tuple[str, ...]:
    """Put an adapter and its head on the base that it was made for, in place of the one that is there.

    Returns the names of its classes. Raises FileNotFoundError, or ValueError, with nothing changed, for a file that
    holds something else, for another base, and for a model with adapters of another form, or merged ones.
    Built in chapter 17.
    """
    about, tensors = read_adapter(path)
    check_fits(model, about, tensors, path)
    if (classes := len(tensors["head.weight"])) != model.config.classes:
        model.config = replace(model.config, classes=classes)
        for name in heads(model):
            exchange(model, name, nn.Linear(model.config.dim, classes).to(next(model.blocks.parameters())))
    if not adapted(model):
        add_lora(model, about["rank"], about["alpha"], tuple(about["targets"]))
    with torch.no_grad():
        for name, value in lora_state(model).items():
            value.copy_(tensors[name])
    return tuple(about["classes"])


def read_adapter(path: str | Path) -> tuple[dict, dict[str, Tensor]]:
    """What `save_adapter` wrote: what it says of adapter and base, and the tensors."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no adapter {path}; save_adapter writes one")
    try:
        with safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {})["lora"])
            return about, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, it is no dict
    except (SafetensorError, KeyError, ValueError) as error:
        raise ValueError(f"{path} holds no adapter of vitlib ({' '.join(str(error).split())[:120]}); write one with "
                         "save_adapter, and read the weights of a whole model with load_weights") from error


def check_saveable(model: ViT, classes: tuple[str, ...]) -> None:
    """Raise ValueError unless the model has an adapter that is worth a file."""
    check_adapted(model)
    if classes and len(classes) != model.config.classes:
        raise ValueError(f"the head tells {model.config.classes} classes apart, got {len(classes)} names; "
                         "pass the names of the data that it was trained on")
    if broken := [name for name, value in lora_state(model).items() if not value.isfinite().all()]:
        raise ValueError(f"{broken[0]} holds nan or infinity; a run that blew up has nothing to save")


def check_fits(model: ViT, about: dict, tensors: dict[str, Tensor], path: str | Path) -> None:
    """Raise ValueError unless a file's adapter can be put on the model as it is."""
    here = asdict(model.config)
    other = [f"{name}={value}, not {here[name]}" for name, value in about["config"].items()
             if name != "classes" and name in here and value != here[name]]
    if other:
        raise ValueError(f"{path} was made for another model ({', '.join(other)}); load the one that it was trained on")
    for layer in adapted(model).values():
        check_unmerged(layer)
    if adapted(model) and (own := form(model)) != {name: about[name] for name in own}:
        theirs = ", ".join(f"{name}={about[name]}, not {value}" for name, value in own.items() if about[name] != value)
        raise ValueError(f"the adapter in {path} is of another form than those on the model ({theirs}); load it onto "
                         "the base without adapters")
    own = marks(model)
    if changed := [name for name, mark in about["marks"].items()
                   if not math.isclose(mark, own.get(name, math.inf), rel_tol=1e-3, abs_tol=1e-4)]:
        raise ValueError(f"{path} was made for other weights: {len(changed)} of the base's {len(own)} tensors differ, "
                         f"such as {changed[0]}; load those that it was trained on, for a change means nothing without")
    r, D = about["rank"], model.config.dim
    K = len(tensors.get("head.bias", ()))
    shapes = {f"{head}.{name}": shape for head in heads(model) for name, shape in (("weight", (K, D)), ("bias", (K,)))}
    for name, layer in targeted(model, about["targets"]).items():
        shapes |= {f"{name}.lora_A": (r, layer.in_features), f"{name}.lora_B": (layer.out_features, r)}
    if shapes != {name: tuple(value.shape) for name, value in tensors.items()}:
        raise ValueError(f"{path} says rank {r} for {', '.join(about['targets'])}, and holds other tensors; it was "
                         "changed after it was written: save it again")
