"""LoRA: a trained model learns another task through small matrices beside its own, which stay as they are.

All of the model's own names stay: `blocks.0.attn.qkv` keeps its weight and bias, and gets `lora_A` and `lora_B` beside
them. Merged and stripped, the model is a plain ViT again.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .patches import is_count
from .vit import ViT

TARGETS = ("qkv", "proj", "fc1", "fc2")  # the four matrices of a block
HEADS = ("head.", "head_dist.")  # how the names of a head's parameters begin


class LoRALinear(nn.Linear):
    """A linear layer whose own weight W stays, and a change of low rank beside it: (…, D_in) -> (…, D_out).

    y = x Wᵀ + b + (alpha / rank) x Aᵀ Bᵀ, with A drawn at random and B zero: at first y is the old layer's.
    While A and B are merged into W, a pass in training mode, saving and loading raise ValueError.
    Source: Hu et al. 2021, section 4.1. Built in chapter 17.
    """

    def __init__(self, linear: nn.Linear, rank: int, alpha: float):
        super().__init__(linear.in_features, linear.out_features, linear.bias is not None, device="meta")
        self.weight, self.bias = linear.weight, linear.bias  # the layer's own, not copies
        self.requires_grad_(False)
        like = {"device": linear.weight.device, "dtype": linear.weight.dtype}
        self.lora_A = nn.Parameter(torch.empty(rank, self.in_features, **like))  # (r, D_in)
        self.lora_B = nn.Parameter(torch.zeros(self.out_features, rank, **like))  # (D_out, r)
        nn.init.kaiming_uniform_(self.lora_A, a=5**0.5)
        self.rank, self.alpha = rank, alpha
        self.kept: Tensor | None = None  # W as it was, while it holds the sum
        self.register_state_dict_pre_hook(check_unmerged)
        self.register_load_state_dict_pre_hook(check_unmerged)

    def change(self) -> Tensor:
        return self.alpha / self.rank * (self.lora_B @ self.lora_A)  # (D_out, D_in)

    def forward(self, x: Tensor) -> Tensor:
        y = F.linear(x, self.weight, self.bias)  # (…, D_out)
        if self.kept is not None:  # merged: W holds the change
            if self.training:
                check_unmerged(self)
            return y
        return y + self.alpha / self.rank * F.linear(F.linear(x, self.lora_A), self.lora_B)


def targeted(model: ViT, targets: tuple[str, ...]) -> dict[str, nn.Linear]:
    """The linear layers of the blocks whose last name is one of `targets`, by their whole name.

    Built in chapter 17.
    """
    return {name: layer for name, layer in model.named_modules()
            if name.startswith("blocks.") and name.split(".")[-1] in targets}


def adapted(model: nn.Module) -> dict[str, LoRALinear]:
    """The layers that have adapters, by name. Built in chapter 17."""
    return {name: layer for name, layer in model.named_modules() if hasattr(layer, "lora_A")}


def exchange(model: nn.Module, name: str, layer: nn.Module) -> None:
    """Put another layer where `name` stands, in the mode of the old one. Built in chapter 17."""
    place, _, last = name.rpartition(".")
    layer.training = model.get_submodule(name).training
    setattr(model.get_submodule(place), last, layer)


def add_lora(model: ViT, rank: int, alpha: float = 16.0, targets: tuple[str, ...] = ("qkv", "proj")) -> ViT:
    """Freeze all of a model but its head, and put adapters beside the blocks' layers that `targets` names.

    Changes the model, and returns it. The change of each layer is scaled by alpha / rank. Raises ValueError for a rank
    or alpha that is none, an unknown target, and a model that has adapters or is no ViT. Built in chapter 17.
    """
    check_addable(model, rank, alpha, targets)
    model.requires_grad_(False)
    for name, layer in targeted(model, targets).items():
        exchange(model, name, LoRALinear(layer, rank, alpha))
    for name, parameter in model.named_parameters():
        if name.startswith(HEADS):  # it belongs to the new task; while it is zero, no gradient gets past it
            parameter.requires_grad_(True)
    return model


@torch.no_grad()
def merge(model: ViT) -> ViT:
    """Add every adapter's change to its layer's weight: then a pass costs what it cost without adapters.

    The old weights are kept, for `unmerge`. Changes the model, and returns it. Raises ValueError, with nothing changed,
    where there is no adapter, or one is merged. Built in chapter 17.
    """
    check_adapted(model)
    for layer in adapted(model).values():
        check_unmerged(layer)
    for layer in adapted(model).values():
        layer.kept, layer.weight.data = layer.weight.data, layer.weight + layer.change()
    return model


def unmerge(model: ViT) -> ViT:
    """Put the old weights back, to the last bit. Raises ValueError where nothing is merged. Built in chapter 17."""
    check_merged(model, "there is nothing to take out")
    for layer in adapted(model).values():
        layer.weight.data, layer.kept = layer.kept.to(layer.weight), None
    return model


def strip(model: ViT) -> ViT:
    """A plain ViT with merged adapters in its weights; all of it may be trained again. Changes the model.

    Raises ValueError where adapters are not merged: what they learned would be lost. Built in chapter 17.
    """
    check_merged(model, "without them the model would forget what they learned; call merge(model) first")
    for name, layer in adapted(model).items():
        plain = nn.Linear(layer.in_features, layer.out_features, layer.bias is not None, device="meta")
        plain.weight, plain.bias = layer.weight, layer.bias
        exchange(model, name, plain)
    model.requires_grad_(True)
    if model.config.positions == "sincos":  # these codes are never trained
        model.pos_embed.requires_grad_(False)
    return model


def check_unmerged(layer: LoRALinear, *_) -> None:
    """Raise ValueError where a layer's adapter is merged; also a hook of state_dict and load_state_dict."""
    if layer.kept is not None:
        raise ValueError("the adapters are merged: the weights hold their change, and to merge, train, save or load "
                         "them now would count it twice; call unmerge(model) first, or strip(model) for a plain ViT")


def check_adapted(model: nn.Module) -> None:
    """Raise ValueError unless the model has adapters."""
    if not adapted(model):
        raise ValueError(f"this {type(model).__name__} has no adapters; add_lora(model, rank) adds new ones, "
                         "load_adapter(model, path) those of a file")


def check_merged(model: nn.Module, why: str) -> None:
    """Raise ValueError unless the model has adapters, all of them merged."""
    check_adapted(model)
    if any(layer.kept is None for layer in adapted(model).values()):
        raise ValueError(f"the adapters are not merged: {why}")


def check_addable(model: nn.Module, rank: int, alpha: float, targets: tuple[str, ...]) -> None:
    """Raise ValueError unless adapters of this form can be put on the model."""
    if not isinstance(model, ViT):
        raise ValueError(f"add_lora changes a ViT of vitlib, got {type(model).__name__}")
    if not model.config.classes:
        raise ValueError("the model has no head (classes=0), and adapters learn through one; give it one for the new "
                         "classes first: adapt(model, classes=K)")
    if found := adapted(model):
        raise ValueError(f"the model has adapters already, of rank {next(iter(found.values())).rank}; "
                         "train those, or merge(model) and strip(model) first and add others to the result")
    if not targets or not set(targets) <= set(TARGETS):
        raise ValueError(f"targets are some of {', '.join(TARGETS)}, as in targets=('qkv', 'proj'), got {targets!r}")
    most = min(min(layer.weight.shape) for layer in targeted(model, targets).values())
    if not is_count(rank) or rank > most:
        raise ValueError(f"rank counts columns, from 1 to the {most} of the smallest matrix, got {rank!r}; "
                         "4 to 16 is usual")
    if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not 0 < alpha < math.inf:
        raise ValueError(f"alpha is a positive number, got {alpha!r}; the scale is alpha / rank")
