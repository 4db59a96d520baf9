"""Attention inside windows, every second time shifted: the block of the Swin Transformer."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .encoder import MLP, DropPath
from .patches import is_count
from .vit import ViT, init_weights


def to_windows(x: Tensor, window: int) -> Tensor:
    """Cut a grid of tokens into square windows: (B, rows, columns, D) -> (B·windows, w², D). Built in chapter 18."""
    B, rows, columns, D = x.shape
    x = x.reshape(B, rows // window, window, columns // window, window, D).transpose(2, 3)
    return x.reshape(-1, window * window, D)


def from_windows(x: Tensor, window: int, grid: tuple[int, int]) -> Tensor:
    """Put windows back: (B·windows, w², D) -> (B, rows, columns, D). Built in chapter 18."""
    (rows, columns), D = grid, x.shape[-1]
    x = x.reshape(-1, rows // window, columns // window, window, window, D).transpose(2, 3)
    return x.reshape(-1, rows, columns, D)


def relative_places(window: int) -> Tensor:
    """For each two tokens of a window, the number of their offset: (w², w²), in 0 … (2w - 1)² - 1.

    Pairs that lie alike to each other have the same number, so they share what is learned. Built in chapter 18.
    """
    y, x = torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")
    y, x = y.flatten(), x.flatten()
    down, right = y[:, None] - y, x[:, None] - x  # (w², w²), each in -(w - 1) … w - 1
    return (down + window - 1) * (2 * window - 1) + right + window - 1


def shift_mask(grid: tuple[int, int], window: int, shift: int) -> Tensor:
    """Which tokens of a window were neighbours before the grid was rolled: (windows, 1, w², w²) bool.

    Rolling brings the two edges of the image together in one window; they must not read each other.
    Built in chapter 18.
    """
    rows, columns = (torch.arange(side) for side in grid)
    parts = [(i >= len(i) - window).long() + (i >= len(i) - shift).long() for i in (rows, columns)]
    region = 3 * parts[0][:, None] + parts[1]  # (rows, columns): nine regions
    region = to_windows(region[None, :, :, None], window)[..., 0]  # (windows, w²)
    return (region[:, :, None] == region[:, None])[:, None]


class WindowAttention(nn.Module):
    """Multi-head attention inside each window, with a learned number for each offset: (B·windows, w², D), same.

    Parameters carry timm's names. Source: Liu et al. 2021, "Swin Transformer", equation 4. Built in chapter 18.
    """

    def __init__(self, dim: int, heads: int, window: int):
        super().__init__()
        self.heads = heads
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        self.register_buffer("places", relative_places(window), persistent=False)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        Bw, N, D = x.shape  # windows of all images; tokens of one
        qkv = self.qkv(x).reshape(Bw, N, 3, self.heads, D // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # three times (B·windows, h, w², d)
        bias = self.relative_position_bias_table[self.places].permute(2, 0, 1)[None]  # (1, h, w², w²)
        if mask is not None:
            bias = bias.masked_fill(~mask, -torch.inf).repeat(Bw // len(mask), 1, 1, 1)  # (B·windows, h, w², w²)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype))
        return self.proj(y.transpose(1, 2).flatten(2))


class WindowBlock(nn.Module):
    """A pre-norm block whose attention stays inside windows of w×w tokens: (B, N, D) -> (B, N, D).

    With `shift` the grid is rolled by so many rows and columns first, so that the windows cross the borders of those
    before. Raises ValueError where windows do not fill the grid, or the shift is not in 0 … w - 1. `queries` is
    there for the ViT around it: all tokens are given back. Source: Liu et al. 2021, section 3.2. Built in chapter 18.
    """

    def __init__(self, dim: int, heads: int, hidden: int, grid: tuple[int, int], window: int, shift: int = 0,
                 drop_path: float = 0.0, eps: float = 1e-6):
        super().__init__()
        check_windows(grid, window, shift)
        self.grid, self.window, self.shift = grid, window, shift
        self.norm1 = nn.LayerNorm(dim, eps)
        self.attn = WindowAttention(dim, heads, window)
        self.norm2 = nn.LayerNorm(dim, eps)
        self.mlp = MLP(dim, hidden)
        self.drop_path = DropPath(drop_path)
        self.register_buffer("mask", shift_mask(grid, window, shift) if shift else None, persistent=False)

    def forward(self, x: Tensor, queries: int | None = None) -> Tensor:
        y = self.norm1(x).unflatten(1, self.grid)  # (B, rows, columns, D)
        y = y.roll((-self.shift, -self.shift), dims=(1, 2))
        y = from_windows(self.attn(to_windows(y, self.window), self.mask), self.window, self.grid)
        y = y.roll((self.shift, self.shift), dims=(1, 2)).flatten(1, 2)  # (B, N, D)
        x = x + self.drop_path(y)
        return x + self.drop_path(self.mlp(self.norm2(x)))


def windowed(model: ViT, window: int) -> ViT:
    """Give a ViT without prefix tokens window blocks in place of its own, new and untrained; every second is shifted.

    Changes the model in place. It then has no attention maps over the whole image, and no file of `export_weights`
    describes it. Raises ValueError for a model with a class token or registers, which stand in no window, or with
    what a window block has not. Built in chapter 18.
    """
    check_windowed(model)
    c, side = model.config, model.config.image_size // model.config.patch_size
    rates = [block.drop_path.rate for block in model.blocks]
    model.blocks = nn.ModuleList(WindowBlock(c.dim, c.heads, int(c.dim * c.mlp_ratio), (side, side), window,
                                             window // 2 * (i % 2), rates[i], c.norm_eps) for i in range(c.depth))
    model.blocks.apply(init_weights)
    return model


def check_windowed(model: ViT) -> None:
    """Raise ValueError for a model that windows cannot cover, or whose settings their blocks would forget."""
    c = model.config
    if model.prefix:
        raise ValueError(f"windows cover patches, and this model has {model.prefix} tokens before them; "
                         "use pool='mean' or 'sequence' and registers=0")
    if c.patch_drop:
        raise ValueError(f"windows need every patch, and patch_drop={c.patch_drop} leaves some out; use patch_drop=0")
    plain = {"positions": c.positions if c.positions != "rope" else "learned", "qkv_bias": True, "dropout": 0.0,
             "layer_scale": 0.0, "qk_norm": False}
    if lost := [name for name, value in plain.items() if getattr(c, name) != value]:
        raise ValueError(f"a window block has no {', '.join(f'{name}={getattr(c, name)!r}' for name in lost)}; "
                         f"use {', '.join(f'{name}={plain[name]!r}' for name in lost)}")


def check_windows(grid: tuple[int, int], window: int, shift: int) -> None:
    """Raise ValueError unless windows of this size fill the grid and the shift stays inside one."""
    if not is_count(window) or any(side % window for side in grid):
        raise ValueError(f"windows of {window!r} tokens a side do not fill a grid of {grid[0]}×{grid[1]}; "
                         "choose a divisor of both")
    if not isinstance(shift, int) or not 0 <= shift < window:
        raise ValueError(f"the shift must lie in 0…{window - 1} for windows of {window}, got {shift!r}")
