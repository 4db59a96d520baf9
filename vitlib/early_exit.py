"""Early exit: a head after every block, and an image goes no further than it needs to."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from .data import normalise
from .patches import is_count
from .transfer import linear_probe
from .vit import ViT, evaluating


def read_tokens(model: ViT, x: Tensor) -> Tensor:
    """What the model's kind of head reads: the class token, or the mean patch: (B, N, D) -> (B, D).

    Built in chapter 19.
    """
    return x[:, 0] if model.config.pool in ("cls", "distilled") else x[:, model.prefix:].mean(dim=1)


@torch.no_grad()
def block_features(model: ViT, images: Tensor, batch_size: int = 64) -> Tensor:
    """What a head after each block but the last would read: uint8 (N, C, H, W) -> (L-1, N, D). Built in chapter 19."""
    parts = []
    with evaluating(model):
        for part in images.split(batch_size):
            x, layers = model.embed(normalise(part)), []
            for block in model.blocks[:-1]:
                x = block(x)
                layers.append(read_tokens(model, x))
            parts.append(torch.stack(layers).float())
    return torch.cat(parts, dim=1)


def exit_heads(features: Tensor, labels: Tensor, classes: int, decay: float = 1e-2) -> dict[int, nn.Linear]:
    """A linear probe for each block's features, (L-1, N, D) and (N,): {number of blocks: head}. Built in chapter 19."""
    return {i: linear_probe(layer, labels, classes, decay) for i, layer in enumerate(features, 1)}


class EarlyExit(nn.Module):
    """A ViT with heads on the way: images (B, C, H, W) -> logits (B, K), each from the first head that is sure.

    Sure is a probability of `threshold` or more for some class; the last head answers for what is left. `route` also
    gives how many blocks each image has passed. Images leave the batch, so the shapes inside depend on the images.
    Raises ValueError for heads that stand nowhere, and for a threshold outside 0…1.
    Source: Teerapittayanon et al. 2016, "BranchyNet". Built in chapter 19.
    """

    def __init__(self, vit: ViT, heads: Mapping[int, nn.Linear], threshold: float):
        super().__init__()
        check_exits(vit, heads, threshold)
        self.vit, self.threshold = vit, threshold
        self.exits = nn.ModuleDict({str(blocks): head for blocks, head in heads.items()})
        self.train(vit.training)

    def route(self, images: Tensor) -> tuple[Tensor, Tensor]:
        model, x = self.vit, self.vit.embed(images)
        logits = x.new_zeros(len(x), model.config.classes)
        blocks, left = torch.full((len(x),), len(model.blocks), device=x.device), torch.arange(len(x), device=x.device)
        for passed, block in enumerate(model.blocks[:-1], 1):
            x = block(x)
            if str(passed) in self.exits and len(x):
                said = self.exits[str(passed)](read_tokens(model, x))  # (b, K)
                sure = said.softmax(dim=1).amax(dim=1) >= self.threshold
                logits[left[sure]], blocks[left[sure]] = said[sure].to(logits.dtype), passed
                x, left = x[~sure], left[~sure]
        if len(x):
            read = {"cls": 1, "distilled": 2}.get(model.config.pool)
            last = model.classify(model.norm(model.blocks[-1](x, queries=read)))
            logits[left] = last.to(logits.dtype)
        return logits, blocks

    def forward(self, images: Tensor) -> Tensor:
        return self.route(images)[0]


def check_exits(model: ViT, heads: Mapping[int, nn.Linear], threshold: float) -> None:
    """Raise ValueError unless the heads fit the model, stand before its last block, and the threshold is in 0…1."""
    if not isinstance(model, ViT):
        raise ValueError(f"EarlyExit reads a ViT of vitlib, got {type(model).__name__}")
    c = model.config
    for blocks, head in heads.items():
        if not is_count(blocks) or blocks >= c.depth:
            raise ValueError(f"a head stands behind 1 to {c.depth - 1} of the {c.depth} blocks, got {blocks!r}; behind "
                             "the last stands the model's own")
        if (head.in_features, head.out_features) != (c.dim, c.classes):
            raise ValueError(f"the head behind {blocks} blocks goes from {head.in_features} to {head.out_features} "
                             f"numbers; this model needs {c.dim} to {c.classes}")
    if not 0 <= threshold <= 1:
        raise ValueError(f"threshold is a probability in 0…1, got {threshold}")
