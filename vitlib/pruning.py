"""Fewer heads: which ones matter least to a trained model, and the same model without them, in smaller matrices."""

import copy
from collections.abc import Collection

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .attention import MultiHeadAttention
from .data import ImageSet, normalise
from .patches import is_count
from .vit import ViT, evaluating


def head_importance(model: ViT, data: ImageSet, batch_size: int = 50) -> Tensor:
    """How much the loss would change, to first order, were a head switched off: (L, h), the mean over the images.

    A gate g in front of a head's output y is 1; the change is about |dL/dg| = |Σ y · dL/dy|. Its sign is no guide, as
    it has another one for every image. Source: Michel et al. 2019, section 4.1. Built in chapter 19.
    """
    heads, outputs = model.config.heads, []

    def note(_: nn.Module, inputs: tuple[Tensor]) -> None:
        outputs.append(inputs[0])  # (B, N, h·d), what the heads of a block found, side by side

    total = torch.zeros(len(model.blocks), heads)
    hooks = [block.attn.proj.register_forward_pre_hook(note) for block in model.blocks]
    try:
        with evaluating(model), torch.enable_grad():
            for images, labels in zip(data.images.split(batch_size), data.labels.split(batch_size)):
                outputs.clear()
                loss = F.cross_entropy(model(normalise(images).requires_grad_()), labels, reduction="sum")
                for i, (y, slope) in enumerate(zip(outputs, torch.autograd.grad(loss, outputs))):
                    gates = (y * slope).unflatten(2, (heads, -1)).sum(dim=(1, 3))  # (B, h), dL/dg of each image
                    total[i] += gates.abs().sum(dim=0).detach()
    finally:
        for hook in hooks:
            hook.remove()
    return total / len(data)


def shrink(attn: MultiHeadAttention, kept: list[int]) -> None:
    """Leave only these heads: qkv (3·h·d, D) loses rows and proj (D, h·d) columns. Built in chapter 19."""
    h, D = attn.heads, attn.qkv.in_features
    qkv = nn.Linear(D, attn.qkv.out_features // h * len(kept), attn.qkv.bias is not None, device="meta")
    proj = nn.Linear(attn.proj.in_features // h * len(kept), D, device="meta")
    qkv.weight = nn.Parameter(attn.qkv.weight.unflatten(0, (3, h, -1))[:, kept].flatten(0, 2).detach())
    if attn.qkv.bias is not None:
        qkv.bias = nn.Parameter(attn.qkv.bias.unflatten(0, (3, h, -1))[:, kept].flatten().detach())
    proj.weight = nn.Parameter(attn.proj.weight.unflatten(1, (h, -1))[:, kept].flatten(1).detach())
    proj.bias = attn.proj.bias
    attn.qkv, attn.proj, attn.heads = qkv, proj, len(kept)


def prune_heads(model: ViT, heads: Collection[tuple[int, int]]) -> ViT:
    """A copy without these heads, each a pair (block, head) counted from 0. It answers as if they had given zeros.

    Raises ValueError for a head that is not there, and for a block that would be left without any.
    Source: Michel et al. 2019. Built in chapter 19.
    """
    check_prunable(model, heads)
    pruned = copy.deepcopy(model)
    for i, block in enumerate(pruned.blocks):
        kept = [head for head in range(block.attn.heads) if (i, head) not in heads]
        if len(kept) < block.attn.heads:
            shrink(block.attn, kept)
    return pruned


def least_important(importance: Tensor, count: int) -> list[tuple[int, int]]:
    """The `count` heads with the least importance (L, h), as pairs (block, head); each block keeps its best one.

    Raises ValueError for a count that leaves some block without heads. Built in chapter 19.
    """
    L, h = importance.shape
    if not is_count(count) or count > L * (h - 1):
        raise ValueError(f"of {L} blocks with {h} heads, 1 to {L * (h - 1)} can go, got {count!r}")
    spared = importance.scatter(1, importance.argmax(dim=1, keepdim=True), float("inf"))  # the best of each block stays
    return [divmod(place, h) for place in spared.flatten().argsort()[:count].tolist()]


def check_prunable(model: ViT, heads: Collection[tuple[int, int]]) -> None:
    """Raise ValueError unless the model has these heads, and every block keeps one."""
    if not isinstance(model, ViT):
        raise ValueError(f"prune_heads reads a ViT of vitlib, got {type(model).__name__}")
    for i, head in heads:
        if not 0 <= i < len(model.blocks) or not 0 <= head < model.blocks[i].attn.heads:
            raise ValueError(f"there is no head {(i, head)}: the model has {len(model.blocks)} blocks, and the first "
                             f"has {model.blocks[0].attn.heads} heads; both are counted from 0")
    for i, block in enumerate(model.blocks):
        if len({head for layer, head in heads if layer == i}) == block.attn.heads:
            raise ValueError(f"block {i} would be left without heads; keep one of its {block.attn.heads}")
    if adapters := [name for name, _ in model.named_parameters() if "lora_" in name]:
        raise ValueError(f"{adapters[0]} is an adapter; call vitlib.lora.merge and strip first")
