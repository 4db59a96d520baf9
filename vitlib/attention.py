"""Attention: every token reads all tokens, and weighs each by how well its key fits the reader's query."""

from torch import Tensor, nn
from torch.nn import functional as F

from .patches import divisors, is_count


def attention_weights(q: Tensor, k: Tensor) -> Tensor:
    """How much each query reads from each key: softmax(q kᵀ / √d), rows summing to 1.

    (…, N, d), (…, S, d) -> (…, N, S). Source: Vaswani et al. 2017, equation 1. Built in chapter 4.
    """
    check_widths(q, k)
    scores = q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5  # (…, N, S)
    return scores.softmax(dim=-1)  # over the keys


def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Scaled dot-product attention: (…, N, d), (…, S, d), (…, S, d) -> (…, N, d).

    The same result as `torch.nn.functional.scaled_dot_product_attention`, with the weights computed explicitly.
    N differs from S in cross-attention, where queries come from another sequence than keys and values.
    Raises ValueError when widths or lengths do not match.
    Source: Vaswani et al. 2017, equation 1. Built in chapter 4.
    """
    check_lengths(k, v)
    return attention_weights(q, k) @ v


def check_widths(q: Tensor, k: Tensor) -> None:
    """Raise ValueError unless queries and keys are equally wide."""
    if q.shape[-1] != k.shape[-1]:
        raise ValueError(f"queries are {q.shape[-1]} wide and keys {k.shape[-1]}; their dot product needs one width d")


def check_lengths(k: Tensor, v: Tensor) -> None:
    """Raise ValueError unless there is a value for each key."""
    if k.shape[-2] != v.shape[-2]:
        raise ValueError(f"{k.shape[-2]} keys but {v.shape[-2]} values; each key needs its value")


class MultiHeadAttention(nn.Module):
    """h attentions side by side, each on d = D/h columns of q, k and v: (B, N, D) -> (B, N, D).

    With `need_weights=True` also returns the weights (B, h, N, N), and the output is made from them; the fast
    path forms the same numbers inside its fused kernel. With `queries=n` only the first n tokens have queries:
    (B, n, D), and weights (B, h, n, N).
    Dropout acts on the output. Raises ValueError when h does not divide D, the input is not (B, N, D), or n is not 1
    or more.
    Source: Vaswani et al. 2017, section 3.2.2. Built in chapter 5.
    """

    def __init__(self, dim: int, heads: int, qkv_bias: bool = True, dropout: float = 0.0):
        super().__init__()
        check_heads(dim, heads)
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias)
        self.proj = nn.Linear(dim, dim)
        self.drop = nn.Dropout(dropout)

    def split(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        qkv = self.qkv(x).unflatten(2, (3, self.heads, -1))  # (B, N, 3, h, d)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # three times (B, h, N, d)
        return q, k, v

    def forward(self, x: Tensor, need_weights: bool = False,
                queries: int | None = None) -> Tensor | tuple[Tensor, Tensor]:
        check_tokens(x, self.qkv.in_features, queries)
        q, k, v = self.split(x)
        q = q[:, :, :queries]  # None keeps all N
        weights = attention_weights(q, k) if need_weights else None  # (B, h, N, N); the fused kernel keeps none
        y = weights @ v if need_weights else F.scaled_dot_product_attention(q, k, v)  # (B, h, N, d)
        y = y.transpose(1, 2).flatten(2)  # heads concatenated: (B, N, h·d)
        y = self.drop(self.proj(y))
        return (y, weights) if need_weights else y


def check_heads(dim: int, heads: int) -> None:
    """Raise ValueError unless the heads divide the width."""
    if not is_count(dim) or not is_count(heads) or dim % heads:
        choice = f"heads that divide {dim}: {divisors(dim)}" if is_count(dim) else "whole numbers of 1 or more"
        raise ValueError(f"dim {dim!r} cannot be shared equally by {heads!r} heads; choose {choice}")


def check_tokens(x: Tensor, dim: int, queries: int | None) -> None:
    """Raise ValueError unless attention can read the tokens, and `queries` counts some of them."""
    if x.ndim != 3 or x.shape[-1] != dim:
        raise ValueError(f"attention reads tokens of shape (B, N, {dim}), got {tuple(x.shape)}")
    if queries is not None and not is_count(queries):
        raise ValueError(f"queries counts the first tokens, 1 or more, or is None for all, got {queries!r}")
