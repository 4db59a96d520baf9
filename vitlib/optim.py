"""How the weights are changed: optimisers, which parameters decay, and the learning rate over time."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from .muon import Muon


def learning_rate(step: int, total: int, peak: float = 1.0, warmup: int = 0, shape: str = "cosine",
                  drops: tuple[float, ...] = (), factor: float = 0.1) -> float:
    """The rate at `step` of `total`: a straight climb over `warmup` steps to `peak`, then the way down.

    The first step already learns (peak / warmup), the last one nearly not. `shape` is "cosine", "linear",
    "constant", or "steps": then the rate is multiplied by `factor` at each of the `drops`, shares of all steps.
    Raises ValueError for another shape or a step outside 0…total-1.
    Source: Loshchilov and Hutter 2017 (cosine). Built in chapter 8.
    """
    if shape not in ("cosine", "linear", "constant", "steps"):
        raise ValueError(f"shape {shape!r} is not cosine, linear, constant or steps")
    if not 0 <= step < total:
        raise ValueError(f"step {step} is outside the schedule's 0…{total - 1}")
    if step < warmup:
        return peak * (step + 1) / warmup
    done = (step - warmup) / max(1, total - warmup)  # share of the way down, from 0 to just under 1
    if shape == "constant":
        return peak
    if shape == "steps":
        return peak * factor ** sum(step >= drop * total for drop in drops)
    return peak * (1 - done if shape == "linear" else (1 + math.cos(math.pi * done)) / 2)


def decays(name: str, parameter: Tensor) -> bool:
    """Whether weight decay acts on a parameter: on matrices, not on biases, norms, positions or extra tokens.

    Built in chapter 8.
    """
    return parameter.ndim >= 2 and not name.endswith(("pos_embed", "cls_token", "dist_token", "reg_token"))


def parameter_groups(named: Iterator[tuple[str, nn.Parameter]], weight_decay: float) -> list[dict]:
    """Sort parameters into two groups for an optimiser: those that decay and those that do not. Built in chapter 8."""
    named = list(named)
    return [{"params": [p for n, p in named if decays(n, p)], "weight_decay": weight_decay},
            {"params": [p for n, p in named if not decays(n, p)], "weight_decay": 0.0}]


def layer_groups(named: Iterator[tuple[str, nn.Parameter]], weight_decay: float, lr: float,
                 factor: float) -> list[dict]:
    """Groups whose rate falls by `factor` for each layer further from the head: what is general moves least.

    The head and the last norm learn at `lr`, the last block at lr · factor, and so on down to the patch embedding and
    the positions. Source: Clark et al. 2020 (ELECTRA), Bao et al. 2022 (BEiT). Built in chapter 15.
    """
    named = list(named)
    depth = 1 + max((int(n.split(".")[1]) for n, _ in named if n.startswith("blocks.")), default=-1)  # L
    groups = []
    for level in range(depth + 2):  # 0: what stands before the blocks; L + 1: what follows them
        own = [(n, p) for n, p in named if level_of(n, depth) == level]
        groups += [group | {"lr": lr * factor ** (depth + 1 - level)} for group in parameter_groups(own, weight_decay)]
    return [group for group in groups if group["params"]]


def level_of(name: str, depth: int) -> int:
    """How many blocks, and one for what stands before them, lie below a parameter. Built in chapter 15."""
    if name.startswith("blocks."):
        return 1 + int(name.split(".")[1])
    return depth + 1 if name.startswith(("norm", "fc_norm", "attn_pool", "head")) else 0


def make_optimizers(model: nn.Module, kind: str, lr: float, weight_decay: float, betas: tuple[float, float],
                    muon_lr: float, muon_decay: float, layer_decay: float = 1.0) -> list[Optimizer]:
    """"adamw" for everything; or "muon" for the matrices inside the blocks and AdamW for the rest.

    With "muon+stem", Muon takes the convolutions before the blocks too. Frozen parameters are left out. With
    `layer_decay` below 1, AdamW's rates fall from layer to layer (`layer_groups`).
    Raises ValueError for another kind. Source: Loshchilov and Hutter 2019 (AdamW), Jordan et al. 2024 (Muon).
    """
    if kind not in ("adamw", "muon", "muon+stem"):
        raise ValueError(f"optimizer {kind!r} is not adamw, muon or muon+stem")
    named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    takes = {"adamw": (), "muon": (2,), "muon+stem": (2, 4)}[kind]  # axes: matrices have 2, convolutions 4
    hidden = [(n, p) for n, p in named if p.ndim in takes and ("blocks." in n or p.ndim == 4)]
    rest = [(n, p) for n, p in named if all(p is not q for _, q in hidden)]
    groups = parameter_groups(rest, weight_decay)
    if layer_decay < 1:
        groups = layer_groups(rest, weight_decay, lr, layer_decay)
    optimizers = [AdamW(groups, lr=lr, betas=betas, fused=True)]
    if hidden:
        optimizers.append(Muon([p for _, p in hidden], muon_lr, muon_decay))
    return optimizers


def set_rate(optimizers: list[Optimizer], factor: float) -> None:
    """Set every group's learning rate to `factor` times its peak, the rate that it was made with."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group.setdefault("peak", group["lr"]) * factor


def finite_or_stop(loss: Tensor, step: int) -> None:
    """Stop a run whose loss is no longer a number, with advice. Raises FloatingPointError."""
    if not torch.isfinite(loss):
        raise FloatingPointError(f"loss or weights became {loss.item()} near step {step}; the last checkpoint is kept. "
                                 "Lower the learning rate, lengthen the warm-up, or clip gradients harder, and start "
                                 "again in another folder")
