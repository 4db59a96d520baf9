"""The encoder block: attention mixes the tokens, an MLP works on each, skip connections carry them past both."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from .attention import MultiHeadAttention


class MLP(nn.Module):
    """Two linear layers with GELU between them, for each token by itself: (B, N, D) -> (B, N, D).

    Source: Dosovitskiy et al. 2021, section 3.1. Built in chapter 6.
    """

    def __init__(self, dim: int, hidden: int, dropout: float = 0.0):
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(hidden, dim)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = self.drop(self.act(self.fc1(x)))  # (B, N, M)
        return self.drop(self.fc2(x))  # (B, N, D)


class DropPath(nn.Module):
    """Stochastic depth: in training, leave a whole residual branch out for some images of the batch.

    What stays is divided by the probability of staying, so that its mean is unchanged.
    Raises ValueError when the rate is not in [0, 1). Source: Huang et al. 2016. Built in chapter 6.
    """

    def __init__(self, rate: float = 0.0):
        super().__init__()
        if not 0 <= rate < 1:
            raise ValueError(f"a drop-path rate is a probability in [0, 1), got {rate}")
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0:
            return x
        keep = torch.rand(x.shape[0], 1, 1, device=x.device) >= self.rate  # one draw for each image
        return x * keep / (1 - self.rate)


class LayerScale(nn.Module):
    """A gain for each column of a residual branch, learned from a small start: (B, N, D) -> (B, N, D).

    Source: Touvron et al. 2021, "Going deeper with Image Transformers", equation 4. Built in chapter 6.
    """

    def __init__(self, dim: int, start: float):
        super().__init__()
        self.gamma = nn.Parameter(torch.full((dim,), start))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


class EncoderBlock(nn.Module):
    """Pre-norm transformer block: x + Attention(Norm(x)), then x + MLP(Norm(x)): (B, N, D) -> (B, N, D).

    With `need_weights=True` also returns the attention weights (B, h, N, N). With `queries=n` only the first n
    tokens go on, (B, n, D), having read all N: enough for a last block of which only the class token is used.
    `layer_scale` is where the gains of LayerScale start; at 0 there are none. `attention` makes another kind of it.
    Source: Dosovitskiy et al. 2021, equations 2 and 3. Built in chapter 6.
    """

    def __init__(self, dim: int, heads: int, hidden: int, qkv_bias: bool = True, dropout: float = 0.0,
                 drop_path: float = 0.0, layer_scale: float = 0.0, eps: float = 1e-6,
                 attention: Callable[..., MultiHeadAttention] = MultiHeadAttention):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps)
        self.attn = attention(dim, heads, qkv_bias, dropout)
        self.ls1 = LayerScale(dim, layer_scale) if layer_scale else nn.Identity()
        self.norm2 = nn.LayerNorm(dim, eps)
        self.mlp = MLP(dim, hidden, dropout)
        self.ls2 = LayerScale(dim, layer_scale) if layer_scale else nn.Identity()
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor, need_weights: bool = False,
                queries: int | None = None) -> Tensor | tuple[Tensor, Tensor]:
        y = self.attn(self.norm1(x), need_weights, queries)
        y, weights = y if need_weights else (y, None)
        x = x[:, :queries] + self.drop_path(self.ls1(y))
        x = x + self.drop_path(self.ls2(self.mlp(self.norm2(x))))
        return (x, weights) if need_weights else x
