"""Look inside a trained ViT: what its attention maps say, and how to sum them up."""

import torch
from torch import Tensor


def class_rows(maps: Tensor, grid: tuple[int, int]) -> Tensor:
    """What the class token reads, as pictures: (L, B, h, 1+N, 1+N) -> (L, B, h, rows, columns).

    The token's attention to itself is left out, so a picture sums to less than 1.
    Raises ValueError when the maps do not hold one class token and the grid's patches. Built in chapter 12.
    """
    check_maps(maps)
    rows, columns = grid
    if maps.shape[-1] != 1 + rows * columns:
        raise ValueError(f"maps over {maps.shape[-1]} tokens do not hold a class token and {rows}×{columns} patches; "
                         "a model with mean pooling has no class token")
    return maps[..., 0, 1:].unflatten(-1, grid)


def patch_rows(maps: Tensor, query: int, grid: tuple[int, int]) -> Tensor:
    """What patch `query` (numbered row by row from 0) reads: (L, B, h, N, N) -> (L, B, h, rows, columns).

    A class token is left out, as reader and as read. Raises ValueError for a query outside the grid.
    Built in chapter 12.
    """
    prefix = tokens_before(maps, grid)
    if not 0 <= query < grid[0] * grid[1]:
        raise ValueError(f"patch {query} is not one of the {grid[0]}×{grid[1]} patches; count row by row from 0")
    return maps[..., prefix + query, prefix:].unflatten(-1, grid)


def attention_distance(maps: Tensor, grid: tuple[int, int], patch_size: int = 1) -> Tensor:
    """How far each head looks, on average over queries, in pixels: (L, B, h, N, N) -> (L, B, h).

    The distance between patch centres, weighted by attention; a class token is left out and the rest of each
    row rescaled to sum to 1. Source: Dosovitskiy et al. 2021, figure 7 and appendix D.7. Built in chapter 12.
    """
    prefix, (rows, columns) = tokens_before(maps, grid), grid
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
    eye = torch.eye(maps.shape[-1], dtype=maps.dtype, device=maps.device)
    total = eye
    for layer in maps.mean(dim=2):  # (B, N, N), first layer first
        total = (residual * eye + (1 - residual) * layer) @ total
    return total


def tokens_before(maps: Tensor, grid: tuple[int, int]) -> int:
    """How many tokens stand before the grid's patches, 0 or 1.

    Raises ValueError when maps and grid do not fit. Built in chapter 12.
    """
    check_maps(maps)
    prefix = maps.shape[-1] - grid[0] * grid[1]
    if prefix not in (0, 1):
        raise ValueError(f"maps over {maps.shape[-1]} tokens do not hold {grid[0]}×{grid[1]} patches, with or without "
                         "a class token; the grid is image_size // patch_size each way")
    return prefix


def check_maps(maps: Tensor) -> None:
    """Raise ValueError unless the maps are (L, B, h, N, N). Built in chapter 12."""
    if maps.ndim != 5 or maps.shape[-1] != maps.shape[-2]:
        raise ValueError("expected attention maps of shape (L, B, h, N, N), as ViT.attention_maps gives, "
                         f"got {tuple(maps.shape)}")
