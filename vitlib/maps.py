"""Attention maps of a trained ViT: what a token reads, how far a head looks, attention followed through the layers."""

from copy import deepcopy

import torch
from torch import Tensor

from .patches import check_grid
from .vit import ViT


def class_rows(maps: Tensor, grid: tuple[int, int], prefix: int | None = None) -> Tensor:
    """What the class token, token 0, reads of the patches, as pictures: (…, N, N) -> (…, rows, columns).

    Its attention to itself and to registers is left out, so a picture sums to less than 1. `prefix` as in
    `tokens_before`. Raises ValueError when no token stands before the patches, as with mean pooling and no registers.
    Built in chapter 12.
    """
    prefix = tokens_before(maps, grid, prefix, least=1)
    return maps[..., 0, prefix:].unflatten(-1, grid)


def patch_rows(maps: Tensor, query: int, grid: tuple[int, int], prefix: int | None = None) -> Tensor:
    """What patch `query` (numbered row by row from 0) reads of the patches: (…, N, N) -> (…, rows, columns).

    `prefix` as in `tokens_before`; those tokens are left out, as readers and as read. Raises ValueError for a query
    outside the grid. Built in chapter 12.
    """
    prefix = tokens_before(maps, grid, prefix)
    check_query(query, grid)
    return maps[..., prefix + query, prefix:].unflatten(-1, grid)


def attention_distance(maps: Tensor, grid: tuple[int, int], patch_size: int = 1, prefix: int | None = None) -> Tensor:
    """How far each head looks, on average over queries, in pixels: (L, B, h, N, N) -> (L, B, h).

    The distance between patch centres, weighted by attention; the tokens before the patches (`prefix` as in
    `tokens_before`) are left out and the rest of each row rescaled to sum to 1.
    Source: Dosovitskiy et al. 2021, figure 7 and appendix D.7. Built in chapter 12.
    """
    prefix, (rows, columns) = tokens_before(maps, grid, prefix), grid
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    centres = torch.stack([y.flatten(), x.flatten()], dim=1) * float(patch_size)  # (N, 2)
    weights = maps[..., prefix:, prefix:]
    weights = weights / weights.sum(-1, keepdim=True)
    return (weights * torch.cdist(centres, centres).to(maps)).sum(-1).mean(-1)


def rollout(maps: Tensor, residual: float = 0.5) -> Tensor:
    """Follow attention through all layers: (L, B, h, N, N) -> (B, N, N), rows summing to 1.

    Heads are averaged, `residual` of each token is said to pass by on the skip connection, and the layers are
    multiplied, the last on the left. Raises ValueError when residual is not in [0, 1].
    Source: Abnar and Zuidema 2020. Built in chapter 12.
    """
    check_maps(maps)
    if not 0 <= residual <= 1:
        raise ValueError(f"residual is a share in [0, 1], got {residual}")
    total = eye = torch.eye(maps.shape[-1], dtype=maps.dtype, device=maps.device)
    for layer in maps.mean(dim=2):  # (B, N, N), first layer first
        total = (residual * eye + (1 - residual) * layer) @ total
    return total


def without_head(model: ViT, layer: int, head: int) -> ViT:
    """A copy whose head says nothing: its values are zero. Layers and heads are counted from 0.

    Raises ValueError for a head that is not there. Source: Michel et al. 2019. Built in chapter 12.
    """
    c = model.config
    if not (0 <= layer < c.depth and 0 <= head < c.heads):
        raise ValueError(f"there is no head {head} in layer {layer}; the model has {c.depth} layers of {c.heads} heads")
    copy, d = deepcopy(model), c.dim // c.heads
    for parameter in copy.blocks[layer].attn.qkv.parameters():  # it stacks queries, keys, values
        parameter.data[2 * c.dim + head * d:][:d] = 0
    return copy


def tokens_before(maps: Tensor, grid: tuple[int, int], prefix: int | None = None, least: int = 0) -> int:
    """How many tokens stand before the grid's patches in maps (…, N, N): class token and registers.

    `prefix` is that number, `model.prefix`. Left out, it is found where it is 0 or 1; with registers it must be said,
    so that a wrong grid is noticed. Raises ValueError when maps, grid and prefix do not fit, or it is below `least`.
    """
    check_grid(grid)
    if maps.ndim < 2 or maps.shape[-1] != maps.shape[-2]:
        raise ValueError(f"expected attention maps of shape (…, N, N), got {tuple(maps.shape)}")
    (rows, columns), N = grid, maps.shape[-1]
    found = N - rows * columns
    if found != prefix and (prefix is not None or found not in (0, 1)):
        said = "0 or 1 tokens" if prefix is None else f"prefix={prefix} tokens"
        raise ValueError(f"maps over {N} tokens are not {said} and {rows}×{columns} patches; the grid is image_size // "
                         "patch_size each way, and for a model with registers say prefix=model.prefix")
    if found < least:
        raise ValueError(f"maps over {N} tokens are {rows}×{columns} patches and no class token, as with mean pooling; "
                         "patch_rows and attention_distance need none")
    return found


def check_query(query: int, grid: tuple[int, int]) -> None:
    """Raise ValueError unless `query` is the number of a patch."""
    rows, columns = grid
    if query not in range(rows * columns):
        raise ValueError(f"patch {query!r} is not one of the {rows}×{columns} patches; count row by row from 0 to "
                         f"{rows * columns - 1}")


def check_maps(maps: Tensor, gradients: Tensor | None = None) -> None:
    """Raise ValueError unless the maps are (L, B, h, N, N), and their gradients as large."""
    if maps.ndim != 5 or maps.shape[-1] != maps.shape[-2]:
        raise ValueError("expected attention maps of shape (L, B, h, N, N), as ViT.attention_maps gives, "
                         f"got {tuple(maps.shape)}")
    if gradients is not None and gradients.shape != maps.shape:
        raise ValueError(f"maps {tuple(maps.shape)} need gradients of the same shape, got {tuple(gradients.shape)}; "
                         "attention_gradients gives both")
