"""Say where each token comes from: sine and cosine codes, and learned codes moved to another grid."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from .patches import check_grid, is_count


def sincos_1d(positions: Tensor, dim: int) -> Tensor:
    """Encode numbers as sines and cosines of falling frequency: (N,) -> (N, D).

    The first D/2 columns are sines, the others cosines, at the frequencies 10000^(-2i/D).
    Raises ValueError when D is not even or the numbers are not (N,). Source: Vaswani et al. 2017, section 3.5 (which
    interleaves the columns; a linear layer cannot tell the difference). Built in chapter 3.
    """
    check_codes(positions, dim)
    frequencies = 10000.0 ** -(torch.arange(dim // 2, device=positions.device) / (dim / 2))  # (D/2,)
    angles = positions.float()[:, None] * frequencies  # (N, D/2)
    return torch.cat([angles.sin(), angles.cos()], dim=1)  # (N, D)


def sincos_2d(rows: int, columns: int, dim: int) -> Tensor:
    """Encode each cell of a grid by its row (first D/2 columns) and its column: -> (rows·columns, D).

    Raises ValueError when D is not a multiple of 4, or for a grid of no cells.
    Source: Beyer et al. 2022, "Better plain ViT baselines". Built in chapter 3.
    """
    check_codes_2d(rows, columns, dim)
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    return torch.cat([sincos_1d(y.flatten(), dim // 2), sincos_1d(x.flatten(), dim // 2)], dim=1)


def interpolate_positions(positions: Tensor, grid: tuple[int, int], prefix: int = 0) -> Tensor:
    """Stretch position codes from their square grid to another: (1, prefix+N, D) -> (1, prefix+rows·columns, D).

    The first `prefix` codes, of class token and registers, are kept as they are. The dtype stays; half precision is
    stretched in float32. Raises ValueError when the other codes do not come from a square grid.
    Source: Dosovitskiy et al. 2021, section 3.2. Built in chapter 3.
    """
    side = square_side(positions, grid, prefix)
    kept, codes = positions[:, :prefix], positions[:, prefix:]
    codes = codes.reshape(1, side, side, -1).permute(0, 3, 1, 2)  # (1, D, side, side)
    codes = codes.to(torch.promote_types(codes.dtype, torch.float32))  # a CPU cannot do it in half precision
    codes = F.interpolate(codes, size=grid, mode="bicubic", align_corners=False, antialias=True)
    return torch.cat([kept, codes.flatten(2).transpose(1, 2).to(kept.dtype)], dim=1)


def check_codes(positions: Tensor, dim: int) -> None:
    """Raise ValueError unless `sincos_1d` can encode the positions."""
    if not is_count(dim) or dim % 2:
        raise ValueError(f"sincos_1d needs an even width, got {dim!r}; use {max(2, int(dim) // 2 * 2 + 2)}")
    if positions.ndim != 1:
        raise ValueError(f"sincos_1d encodes numbers of shape (N,), got {tuple(positions.shape)}; flatten() them")


def check_codes_2d(rows: int, columns: int, dim: int) -> None:
    """Raise ValueError unless `sincos_2d` can encode the grid."""
    check_grid((rows, columns))
    if not is_count(dim) or dim % 4:
        raise ValueError(f"sincos_2d needs a width that 4 divides, got {dim!r}; use {max(4, int(dim) // 4 * 4 + 4)}")


def square_side(positions: Tensor, grid: tuple[int, int], prefix: int) -> int:
    """The side of the square grid that the codes after the prefix fill.

    Raises ValueError when they fill none, or for another shape, dtype or grid than `interpolate_positions` reads.
    """
    check_grid(grid)
    if positions.ndim != 3 or positions.shape[0] != 1 or not positions.is_floating_point():
        raise ValueError(f"position codes are floats of shape (1, prefix+N, D), got {positions.dtype} "
                         f"{tuple(positions.shape)}")
    count = positions.shape[1] - prefix
    side = math.isqrt(max(0, count))
    if prefix < 0 or count < 1 or side * side != count:
        raise ValueError(f"{positions.shape[1]} position codes less prefix={prefix} do not fill a square grid; prefix "
                         "counts the class token and the registers: it is model.prefix")
    return side
