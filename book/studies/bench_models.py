"""What bench.py measures beside vitlib: the models of three tutorials and of four libraries.

The tutorials are "tintn 2023" (Implementing Vision Transformer from Scratch), "Shaik 2023" (Building Vision
Transformer from Scratch, part 1) and "ViT tutorial part 2" (Implementing ViT from Scratch in PyTorch). They share a
frame here; each brings the parts that it computes in its own way, in the published form, slips included.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vitlib.patches import patchify
from vitlib.vit import ViTConfig


class ListOfHeads(nn.Module):  # tintn 2023: each head a module of its own, one after the other
    def __init__(self, c: ViTConfig):
        super().__init__()
        d = c.dim // c.heads
        self.heads = nn.ModuleList(nn.ModuleList(nn.Linear(c.dim, d) for _ in "qkv") for _ in range(c.heads))
        self.out, self.drop = nn.Linear(c.dim, c.dim), nn.Dropout(c.dropout)

    def forward(self, x: Tensor) -> Tensor:
        outputs = []
        for head in self.heads:
            q, k, v = (linear(x) for linear in head)  # (B, N, d)
            scores = torch.matmul(q, k.transpose(-1, -2)) / math.sqrt(q.shape[-1])  # (B, N, N)
            outputs.append(torch.matmul(self.drop(scores.softmax(-1)), v))
        return self.drop(self.out(torch.cat(outputs, dim=-1)))


class TanhGELU(nn.Module):  # tintn 2023: GELU's approximation as a row of separate operations
    def forward(self, x: Tensor) -> Tensor:
        return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * torch.pow(x, 3.0))))


class ThreeLinears(nn.Module):  # Shaik 2023: explicit softmax; no bias and no dropout
    def __init__(self, c: ViTConfig):
        super().__init__()
        self.h = c.heads
        self.q, self.k, self.v, self.out = (nn.Linear(c.dim, c.dim, bias=False) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        B, N, D = x.shape
        q, k, v = (f(x).contiguous().view(B, N, self.h, D // self.h).transpose(1, 2) for f in (self.q, self.k, self.v))
        weights = F.softmax(torch.matmul(q, k.transpose(2, 3)) / math.sqrt(D // self.h), dim=-1)  # (B, h, N, N)
        return self.out(torch.matmul(weights, v).contiguous().view(B, N, D))  # as published: heads are not moved back


class SharedHeads(nn.Module):  # ViT tutorial part 2: all heads share three d×d matrices, so fewer parameters and FLOPs
    def __init__(self, c: ViTConfig):
        super().__init__()
        self.h, self.d = c.heads, c.dim // c.heads
        self.q, self.k, self.v = (nn.Linear(self.d, self.d, bias=False) for _ in range(3))
        self.out, self.norm, self.drop = nn.Linear(c.dim, c.dim), nn.LayerNorm(c.dim), nn.Dropout(c.dropout)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (f(x.reshape(*x.shape[:2], self.h, self.d)) for f in (self.q, self.k, self.v))  # (B, N, h, d)
        weights = torch.softmax(torch.einsum("nqhd,nkhd->nhqk", [q, k]) / x.shape[-1] ** 0.5, dim=3)
        y = torch.einsum("nhql,nlhd->nqhd", [weights, v]).reshape(x.shape)
        return self.drop(self.norm(self.out(y) + x))  # the first of two residuals around the same attention


class Block(nn.Module):
    """Attention and MLP with residuals; norms before them, or behind as in ViT tutorial part 2."""

    def __init__(self, c: ViTConfig, attn: nn.Module, act: nn.Module, post_norm: bool = False):
        super().__init__()
        self.attn, self.post_norm = attn, post_norm
        self.norm1, self.norm2 = nn.LayerNorm(c.dim), nn.LayerNorm(c.dim)
        M = int(c.dim * c.mlp_ratio)
        self.mlp = nn.Sequential(nn.Linear(c.dim, M), act, nn.Dropout(c.dropout), nn.Linear(M, c.dim),
                                 nn.Dropout(c.dropout))  # tintn 2023 has only the last one, at a rate of 0

    def forward(self, x: Tensor) -> Tensor:
        if self.post_norm:
            x = self.norm1(x + self.attn(x))
            return self.norm2(x + self.mlp(x))
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Tutorial(nn.Module):
    """The frame that the three share: class token, learned positions, blocks, a linear head on the class token."""

    def __init__(self, c: ViTConfig, embed: nn.Module, blocks: list[Block], norm: nn.Module):
        super().__init__()
        self.embed, self.blocks, self.norm, self.head = embed, nn.Sequential(*blocks), norm, nn.Linear(c.dim, c.classes)
        self.cls_token = nn.Parameter(torch.randn(1, 1, c.dim))
        self.positions = nn.Parameter(torch.randn(1, 1 + (c.image_size // c.patch_size) ** 2, c.dim))
        self.drop = nn.Dropout(c.dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), self.embed(x)], dim=1)  # (B, 1+N, D)
        x = self.blocks(self.drop(x + self.positions))
        return self.head(self.norm(x[:, 0]))  # (B, K)


class ConvEmbed(nn.Module):  # tintn 2023
    def __init__(self, c: ViTConfig):
        super().__init__()
        self.proj = nn.Conv2d(c.channels, c.dim, c.patch_size, c.patch_size)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x).flatten(2).transpose(1, 2)  # (B, N, D)


class CutAndProject(nn.Module):  # the other two cut the patches out, for a linear layer
    def __init__(self, c: ViTConfig, cut: Callable[[Tensor, int], Tensor]):
        super().__init__()
        self.cut, self.P, self.proj = cut, c.patch_size, nn.Linear(c.channels * c.patch_size**2, c.dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(self.cut(x, self.P))  # (B, N, D)


def unfolded(x: Tensor, P: int) -> Tensor:  # ViT tutorial part 2
    x = x.unfold(2, P, P).unfold(3, P, P).reshape(*x.shape[:2], -1, P, P)  # (B, C, N, P, P)
    return x.permute(0, 2, 3, 4, 1).reshape(len(x), x.shape[2], -1)


def tintn(c: ViTConfig) -> nn.Module:
    return Tutorial(c, ConvEmbed(c), [Block(c, ListOfHeads(c), TanhGELU()) for _ in range(c.depth)], nn.Identity())


def shaik(c: ViTConfig) -> nn.Module:
    blocks = [Block(c, ThreeLinears(c), nn.GELU()) for _ in range(c.depth)]
    return Tutorial(c, CutAndProject(c, patchify), blocks, nn.LayerNorm(c.dim))


def part2(c: ViTConfig) -> nn.Module:
    blocks = [Block(c, SharedHeads(c), nn.GELU(), post_norm=True) for _ in range(c.depth)]
    return Tutorial(c, CutAndProject(c, unfolded), blocks, nn.LayerNorm(c.dim))


# The libraries, imported when built: so a child process holds only the one that it measures.


def timm(c: ViTConfig) -> nn.Module:
    from timm.models.vision_transformer import VisionTransformer
    return VisionTransformer(img_size=c.image_size, patch_size=c.patch_size, num_classes=c.classes, embed_dim=c.dim,
                             depth=c.depth, num_heads=c.heads, mlp_ratio=c.mlp_ratio)


def torchvision(c: ViTConfig) -> nn.Module:
    from torchvision.models.vision_transformer import VisionTransformer
    return VisionTransformer(c.image_size, c.patch_size, c.depth, c.heads, c.dim, int(c.dim * c.mlp_ratio),
                             dropout=0.0, attention_dropout=0.0, num_classes=c.classes)


def vit_pytorch(c: ViTConfig) -> nn.Module:
    from vit_pytorch import ViT as Model  # its heads are 64 wide unless told otherwise
    return Model(image_size=c.image_size, patch_size=c.patch_size, num_classes=c.classes, dim=c.dim, depth=c.depth,
                 heads=c.heads, dim_head=c.dim // c.heads, mlp_dim=int(c.dim * c.mlp_ratio))


class Transformers(nn.Module):  # it answers with an object, the others with a tensor
    def __init__(self, c: ViTConfig):
        super().__init__()
        from transformers import ViTConfig as Config
        from transformers import ViTForImageClassification
        self.model = ViTForImageClassification(Config(
            image_size=c.image_size, patch_size=c.patch_size, num_labels=c.classes, hidden_size=c.dim,
            num_hidden_layers=c.depth, num_attention_heads=c.heads, intermediate_size=int(c.dim * c.mlp_ratio),
            hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, attn_implementation="sdpa"))

    def forward(self, x: Tensor) -> Tensor:
        return self.model(pixel_values=x).logits
