"""Queries and keys made ready before they meet: turned by their place, or brought to one length."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from .attention import MultiHeadAttention
from .patches import check_grid, is_count


def rotary_angles(rows: int, columns: int, d: int, base: float = 100.0) -> Tensor:
    """How far each pair of columns of a head is turned, for each cell of a grid: -> (rows·columns, d/2) radians.

    The first d/4 pairs turn with the row, the others with the column: by row · base^(-4i/d) for i = 0 … d/4 - 1.
    Raises ValueError when d is not a multiple of 4, or for a grid of no cells.
    Source: Su et al. 2021, "RoFormer"; in two dimensions Heo et al. 2024, "Rotary position embedding for vision
    transformer", section 3.2. Built in chapter 18.
    """
    check_rotary(rows, columns, d)
    speeds = base ** -(torch.arange(d // 4) / (d // 4))  # (d/4,), from 1 down
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    return torch.cat([y.flatten()[:, None] * speeds, x.flatten()[:, None] * speeds], dim=1)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn neighbouring columns (0, 1), (2, 3), … as points of a plane: (…, N, d), twice (N, d/2) -> (…, N, d).

    A turn changes no length. The dot product of two turned vectors depends on the difference of their angles alone.
    Source: Su et al. 2021, equation 34. Built in chapter 18.
    """
    a, b = x[..., 0::2], x[..., 1::2]  # (…, N, d/2)
    return torch.stack([a * cos - b * sin, a * sin + b * cos], dim=-1).flatten(-2).to(x.dtype)


class Rotary(nn.Module):
    """Turn the queries or keys of the patches by their places, and leave the `prefix` tokens: (B, h, N, d), same.

    One for all blocks. It has no parameters and nothing to keep with the weights. Built in chapter 18.
    """

    def __init__(self, grid: tuple[int, int], d: int, prefix: int = 0):
        super().__init__()
        angles = torch.cat([torch.zeros(prefix, d // 2), rotary_angles(*grid, d)])  # (prefix+N, d/2)
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return rotate(x, self.cos, self.sin)


class PreparedAttention(MultiHeadAttention):
    """Multi-head attention whose queries and keys are normalised (`qk_norm`), then turned (`rotary`), or one of both.

    Without a norm, a long query or key makes scores that leave the softmax no choice; with one, the gains of the norm
    say how sharp a head may be. Shapes and errors are MultiHeadAttention's; the names are timm's.
    Source: Dehghani et al. 2023, "Scaling vision transformers to 22 billion parameters", section 2.
    Built in chapter 18.
    """

    def __init__(self, dim: int, heads: int, qkv_bias: bool = True, dropout: float = 0.0, qk_norm: bool = False,
                 rotary: nn.Module | None = None, eps: float = 1e-6):
        super().__init__(dim, heads, qkv_bias, dropout)
        self.q_norm, self.k_norm = (nn.LayerNorm(dim // heads, eps) if qk_norm else nn.Identity() for _ in "qk")
        self.rotary = rotary or nn.Identity()

    def split(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v = super().split(x)  # three times (B, h, N, d)
        return self.rotary(self.q_norm(q)), self.rotary(self.k_norm(k)), v


def attention_kind(c, prefix: int) -> Callable[..., MultiHeadAttention]:
    """What makes the attention of each block of a `ViTConfig`; the blocks share one `Rotary`."""
    if c.positions != "rope" and not c.qk_norm:
        return MultiHeadAttention
    side = c.image_size // c.patch_size
    rotary = Rotary((side, side), c.dim // c.heads, prefix) if c.positions == "rope" else None
    return partial(PreparedAttention, qk_norm=c.qk_norm, rotary=rotary, eps=c.norm_eps)


def check_rotary(rows: int, columns: int, d: int) -> None:
    """Raise ValueError unless heads of width d can be turned by the places of the grid."""
    check_grid((rows, columns))
    if not is_count(d) or d % 4:
        raise ValueError(f"rotary positions turn pairs of columns, half by row and half by column: a head's width must "
                         f"be a multiple of 4, got {d!r}; choose dim = heads · {max(4, int(d) // 4 * 4 + 4)}")
