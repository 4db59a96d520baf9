"""Token merging: in every block the tokens that are most alike become one, so that the blocks after it have less to do.

A trained model needs no further training for it. Every patch stays in the sum, and a map says which token holds it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .attention import MultiHeadAttention
from .encoder import EncoderBlock
from .patches import is_count
from .vit import ViT


class Matching(NamedTuple):
    """Which tokens merge, for each image of a batch; n tokens of set A, of which r go into tokens of set B.

    Built in chapter 19.
    """

    kept: Tensor  # (B, n-r) int64, those of A that stay, in their order
    moved: Tensor  # (B, r) int64, those of A that go
    target: Tensor  # (B, r) int64, into which of B each of them goes


def two_sets(x: Tensor, prefix: int) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens (B, prefix+N, D) as the prefix, and the patches alternately in A and B; A has the even places of all.

    Source: Bolya et al. 2023, section 3. Built in chapter 19.
    """
    odd = prefix % 2
    return x[:, :prefix], x[:, prefix + odd::2], x[:, prefix + 1 - odd::2]


def bipartite_matching(keys: Tensor, r: int, prefix: int = 0) -> Matching:
    """The r best pairs of a token of A and the token of B that is most like it: keys (B, prefix+N, d).

    Alike is a large cosine. The prefix takes no part, and r is at most half of the patches.
    Source: Bolya et al. 2023, section 3 and appendix D. Built in chapter 19.
    """
    check_matching(keys, r, prefix)
    _, a, b = two_sets(F.normalize(keys, dim=-1), prefix)  # (B, n, d), (B, m, d)
    r = min(r, (keys.shape[1] - prefix) // 2)
    likeness, nearest = (a @ b.transpose(1, 2)).max(dim=2)  # (B, n), each of A and its best in B
    order = likeness.argsort(dim=1, descending=True)  # (B, n)
    moved, kept = order[:, :r], order[:, r:].sort(dim=1).values
    return Matching(kept, moved, nearest.gather(1, moved))


def picked(x: Tensor, index: Tensor) -> Tensor:
    """Tokens by their number, for each image: (B, n, D), (B, k) -> (B, k, D). Built in chapter 19."""
    return x.gather(1, index[:, :, None].expand(-1, -1, x.shape[2]))


def summed_up(x: Tensor, matching: Matching, prefix: int = 0) -> Tensor:
    """Add every token that goes to its target: (B, prefix+N, D) -> (B, prefix+N-r, D), prefix, rest of A, B.

    Built in chapter 19.
    """
    before, a, b = two_sets(x, prefix)
    numbers = torch.arange(b.shape[1], device=x.device)
    goes = (numbers[:, None] == matching.target[:, None]).to(x.dtype)  # (B, m, r), 1 where a token of A goes
    return torch.cat([before, picked(a, matching.kept), b + goes @ picked(a, matching.moved)], dim=1)


def merge_tokens(x: Tensor, size: Tensor | None, matching: Matching, prefix: int = 0) -> tuple[Tensor, Tensor]:
    """The mean of each group of tokens, and how many patches it holds: (B, N, D), (B, N, 1) -> one for each group.

    A token that stands for more patches weighs more. `size=None` says that each stands for one. Built in chapter 19.
    """
    size = torch.ones_like(x[:, :, :1]) if size is None else size
    merged = summed_up(size, matching, prefix)  # (B, N-r, 1)
    return summed_up(x * size, matching, prefix) / merged, merged


def followed(source: Tensor, matching: Matching, prefix: int = 0) -> Tensor:
    """Where each patch is after a merge: (B, N) numbers of tokens behind the prefix, before and after.

    Built in chapter 19.
    """
    kept, r = matching.kept.shape[1], matching.moved.shape[1]
    place = torch.empty_like(torch.cat([matching.kept, matching.moved], dim=1))  # (B, n), where each of A comes to lie
    place = place.scatter(1, matching.kept, torch.arange(kept, device=place.device).expand_as(matching.kept))
    place = place.scatter(1, matching.moved, kept + matching.target)
    half = source // 2  # its number in A or in B
    in_a = (source + prefix) % 2 == 0
    return torch.where(in_a, place.gather(1, half.clamp(max=kept + r - 1)), kept + half)


def unmerge_tokens(x: Tensor, source: Tensor, prefix: int = 0) -> Tensor:
    """Give each patch the token that holds it: (B, prefix+n, D), (B, N) -> (B, prefix+N, D). Built in chapter 19."""
    return torch.cat([x[:, :prefix], picked(x[:, prefix:], source)], dim=1)


def proportional_attention(attn: MultiHeadAttention, x: Tensor, size: Tensor | None = None,
                           queries: int | None = None) -> tuple[Tensor, Tensor]:
    """What `attn` gives when a token counts as often as it holds patches, and the mean key of its heads.

    (B, N, D), (B, N, 1) -> (B, N, D), (B, N, d): softmax(q kᵀ / √d + log size). Without sizes it is `attn` itself.
    Source: Bolya et al. 2023, equation 1. Built in chapter 19.
    """
    q, k, v = attn.split(x)  # three times (B, h, N, d)
    more = None if size is None else size.log().to(q.dtype)[:, None].transpose(2, 3)  # (B, 1, 1, N)
    y = F.scaled_dot_product_attention(q[:, :, :queries], k, v, more)  # (B, h, N, d)
    return attn.drop(attn.proj(y.transpose(1, 2).flatten(2))), k.mean(dim=1)


def merged_block(block: EncoderBlock, x: Tensor, size: Tensor | None, r: int, prefix: int,
                 queries: int | None = None) -> tuple[Tensor, Tensor | None, Matching | None]:
    """An encoder block that merges r pairs between attention and MLP: (B, N, D) -> (B, N-r, D), sizes, the matching.

    Where only the first tokens go on (`queries`), nothing is merged. Source: Bolya et al. 2023, figure 1.
    Built in chapter 19.
    """
    y, keys = proportional_attention(block.attn, block.norm1(x), size, queries)
    x, matching = x[:, :queries] + block.drop_path(block.ls1(y)), None
    if queries is None and r and x.shape[1] > prefix + 1:
        matching = bipartite_matching(keys, r, prefix)
        x, size = merge_tokens(x, size, matching, prefix)
    return x + block.drop_path(block.ls2(block.mlp(block.norm2(x)))), size, matching


class MergedViT(nn.Module):
    """A ViT that merges r[i] pairs of tokens in block i: images (B, C, H, W) -> logits (B, K).

    `vit` is the model itself, not a copy: what trains one trains the other. `features` gives the tokens after the
    last norm, their sizes, and the map from patches to tokens; `sources` that map after each block.
    Where the model averages patches, a token counts as often as it holds some.
    Source: Bolya et al. 2023, "Token Merging: Your ViT But Faster". Built in chapter 19.
    """

    def __init__(self, vit: ViT, r: tuple[int, ...]):
        super().__init__()
        self.vit, self.r = vit, r
        self.train(vit.training)

    def encode(self, x: Tensor, queries: int | None = None, sources: list[Tensor] | None = None
               ) -> tuple[Tensor, Tensor | None]:
        prefix, last, size = self.vit.prefix, len(self.r) - 1, None
        source = torch.arange(x.shape[1] - prefix, device=x.device).expand(x.shape[0], -1)  # (B, N)
        for i, (block, r) in enumerate(zip(self.vit.blocks, self.r)):
            x, size, matching = merged_block(block, x, size, r, prefix, queries if i == last else None)
            if sources is not None:
                source = source if matching is None else followed(source, matching, prefix)
                sources.append(source)
        return self.vit.norm(x), size

    def forward(self, images: Tensor) -> Tensor:
        prefix, pool = self.vit.prefix, self.vit.config.pool
        x, size = self.encode(self.vit.embed(images), {"cls": 1, "distilled": 2}.get(pool))
        if pool == "mean" and size is not None:  # so that the mean over tokens is one over patches
            x = x * size / size[:, prefix:].mean(dim=1, keepdim=True)
        return self.vit.classify(x)

    def features(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, size = self.encode(self.vit.embed(images), sources=(sources := []))
        return x, torch.ones_like(x[:, :, :1]) if size is None else size, sources[-1]

    def sources(self, images: Tensor) -> Tensor:
        self.encode(self.vit.embed(images), sources=(sources := []))
        return torch.stack(sources)  # (L, B, N)


def merged(model: ViT, r: int | Sequence[int]) -> MergedViT:
    """The model with r pairs of tokens merged in every block, or r[i] in block i; r=0 is the model as it is.

    Raises ValueError for an r that is none, or too few or too many of them. Built in chapter 19.
    """
    check_mergeable(model, r)
    return MergedViT(model, tuple(r) if isinstance(r, Sequence) else (r,) * len(model.blocks))


def check_matching(keys: Tensor, r: int, prefix: int) -> None:
    """Raise ValueError unless there are keys (B, N, d) with two patches or more, and an r that counts pairs."""
    if keys.ndim != 3 or keys.shape[1] < prefix + 2:
        raise ValueError(f"matching reads keys (B, N, d) of two patches or more behind a prefix of {prefix}, got "
                         f"{tuple(keys.shape)}")
    if not is_count(r):
        raise ValueError(f"r counts the pairs to merge, 1 or more, got {r!r}")


def check_mergeable(model: ViT, r: int | Sequence[int]) -> None:
    """Raise ValueError unless the model is a ViT and r counts pairs, one number for all blocks or one for each."""
    if not isinstance(model, ViT):
        raise ValueError(f"merged reads a ViT of vitlib, got {type(model).__name__}")
    for name, value, why in (("positions", "rope", "a token of several patches has no single place to be turned by"),
                             ("pool", "sequence", "it weighs tokens, and would have to weigh patches")):
        if getattr(model.config, name) == value:
            raise ValueError(f"a model with {name}={value!r} cannot be merged: {why}")
    all_r, depth = list(r) if isinstance(r, Sequence) else [r] * len(model.blocks), len(model.blocks)
    if len(all_r) != depth:
        raise ValueError(f"the model has {depth} blocks, and r has {len(all_r)} numbers; give one for each block, or a "
                         "single number for all")
    if wrong := [value for value in all_r if value != 0 and not is_count(value)]:
        raise ValueError(f"r counts the pairs that a block merges, 0 or more, got {wrong[0]!r}")
