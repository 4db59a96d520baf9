"""Say where each token comes from: sine and cosine codes, and learned codes moved to another grid."""

import torch
from torch import Tensor
from torch.nn import functional as F


def sincos_1d(positions: Tensor, dim: int) -> Tensor:
    """Encode numbers as sines and cosines of falling frequency: (N,) -> (N, D).

    The first D/2 columns are sines, the others cosines, at the frequencies 10000^(-2i/D).
    Raises ValueError when D is odd. Source: Vaswani et al. 2017, section 3.5 (which interleaves
    the columns; a linear layer cannot tell the difference). Built in chapter 3.
    """
    if dim % 2:
        raise ValueError(f"sincos_1d needs an even width, got {dim}; use {dim + 1}")
    frequencies = 10000.0 ** -(torch.arange(dim // 2, device=positions.device) / (dim / 2))  # (D/2,)
    angles = positions.float()[:, None] * frequencies  # (N, D/2)
    return torch.cat([angles.sin(), angles.cos()], dim=1)  # (N, D)


def sincos_2d(rows: int, columns: int, dim: int) -> Tensor:
    """Encode each cell of a grid by its row (first D/2 columns) and its column: -> (rows·columns, D).

    Raises ValueError when D is not a multiple of 4.
    Source: Beyer et al. 2022, "Better plain ViT baselines". Built in chapter 3.
    """
    if dim % 4:
        raise ValueError(f"sincos_2d needs a width that 4 divides, got {dim}; use {dim + 4 - dim % 4}")
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    return torch.cat([sincos_1d(y.flatten(), dim // 2), sincos_1d(x.flatten(), dim // 2)], dim=1)


def interpolate_positions(positions: Tensor, grid: tuple[int, int], prefix: int = 0) -> Tensor:
    """Stretch position codes from their square grid to another: (1, prefix+N, D) -> (1, prefix+rows·columns, D).

    The first `prefix` codes (1 where there is a class token) are kept as they are.
    Raises ValueError when the codes do not come from a square grid.
    Source: Dosovitskiy et al. 2021, section 3.2. Built in chapter 3.
    """
    kept, codes = positions[:, :prefix], positions[:, prefix:]
    side = round(codes.shape[1] ** 0.5)
    if side * side != codes.shape[1]:
        raise ValueError(f"{codes.shape[1]} position codes do not fill a square grid; "
                         f"check prefix={prefix} (1 with a class token, 0 without)")
    codes = codes.reshape(1, side, side, -1).permute(0, 3, 1, 2)  # (1, D, side, side)
    codes = F.interpolate(codes, size=grid, mode="bicubic", align_corners=False, antialias=True)
    return torch.cat([kept, codes.flatten(2).transpose(1, 2)], dim=1)
