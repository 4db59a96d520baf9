"""The Vision Transformer, assembled from patches, positions and encoder blocks."""

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .encoder import EncoderBlock
from .inputs import check_config, check_images, check_shapes
from .pooling import POOLS
from .positions import sincos_2d
from .rotary import attention_kind
from .stems import STEMS


@dataclass(frozen=True)
class ViTConfig:
    """What a ViT looks like. Frozen: change a copy with `dataclasses.replace`.

    Raises ValueError for a value that no ViT can have. Built in chapter 7.
    """

    image_size: int = 32  # H = W, pixels
    patch_size: int = 4  # P, pixels
    channels: int = 3  # C
    classes: int = 10  # K; 0: no head, so the model gives what it would read, (B, D)
    dim: int = 64  # D, width of a token
    depth: int = 4  # L, number of blocks
    heads: int = 4  # h
    mlp_ratio: float = 4.0  # M = mlp_ratio · D
    pool: str = "cls"  # what the head reads: "cls", the class token; "mean" of the patches; "sequence", "distilled"
    stem: str = "patch"  # "patch": one cut; "conv": small convolutions; "residual": more of them; "pooled": as in CCT
    positions: str = "learned"  # "learned", "sincos" (fixed, 2-D), "rope" (turns queries and keys, 2-D) or "none"
    qkv_bias: bool = True
    dropout: float = 0.0
    drop_path: float = 0.0  # rate in the last block; grows linearly from 0
    patch_drop: float = 0.0  # share of the patches that a training step leaves out
    registers: int = 0  # R, spare tokens that nobody reads at the end
    # What some published models have and the book's own do not:
    layer_scale: float = 0.0  # where the gains of the residual branches start; 0 is none
    fc_norm: bool = False  # the last norm acts on the mean, not on each token
    keep_cls: bool = False  # with pool "mean": there is a class token, but nobody reads it at the end
    prefix_positions: bool = True  # False: the tokens before the patches get no position code
    norm_eps: float = 1e-6  # what a LayerNorm adds to the variance
    qk_norm: bool = False  # queries and keys are normalised, head by head

    def __post_init__(self) -> None:
        check_config(self)


class PatchDrop(nn.Module):
    """In training, keep a random share 1 - rate of the patches, drawn for each image; the prefix always stays.

    (B, T, D) -> (B, prefix+n, D), where T = prefix + N. Fewer tokens make a training step cheaper.
    Source: Liu et al. 2022, "PatchDropout". Built in chapter 7.
    """

    def __init__(self, rate: float, prefix: int):
        super().__init__()
        self.rate, self.prefix = rate, prefix

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0:
            return x
        B, N, D = x.shape[0], x.shape[1] - self.prefix, x.shape[2]
        kept = max(1, round(N * (1 - self.rate)))
        order = torch.rand(B, N, device=x.device).argsort(dim=1)[:, :kept] + self.prefix  # (B, n)
        patches = x.gather(1, order[:, :, None].expand(-1, -1, D))  # (B, n, D)
        return torch.cat([x[:, :self.prefix], patches], dim=1)


class ViT(nn.Module):
    """Vision Transformer: images (B, C, H, W), normalised floats -> logits (B, K).

    `features` gives the tokens after the last norm, `attention_maps` the weights of every layer and head.
    The parameters carry timm's names, so weights of its plain ViTs and DeiTs load with `strict=True` and give its
    logits; `published.load_published` reads them, and those of other libraries. Not here, and so refused: a norm
    before the blocks (`norm_pre`, in CLIP), pooling by attention (`attn_pool`, in SigLIP), gated MLPs.
    Some "gap" models of SigLIP load and yet differ: their GELU is approximate.
    Tokens stand in the order class token, distillation token, registers, patches: T = prefix + N of them.
    Raises ValueError for images of another rank, dtype, device, channel count or size, and for weights of other shapes.
    Source: Dosovitskiy et al. 2021, equations 1 to 4; registers: Darcet et al. 2024; two heads: Touvron et al. 2021,
    "Training data-efficient image transformers". Built in chapter 7.
    """

    def __init__(self, config: ViTConfig):
        super().__init__()
        c = self.config = config
        self.patch_embed = STEMS[c.stem](c.image_size, c.patch_size, c.channels, c.dim)
        self.cls_token = extra_tokens(int(c.pool in ("cls", "distilled") or c.keep_cls), c.dim)
        self.dist_token = extra_tokens(int(c.pool == "distilled"), c.dim)
        self.reg_token = extra_tokens(c.registers, c.dim)
        self.prefix = sum(token.shape[1] for token in self.tokens_before())  # how many stand before the patches
        self.pos_embed = self.make_positions()
        self.patch_drop = PatchDrop(c.patch_drop, self.prefix)
        self.drop = nn.Dropout(c.dropout)
        rates = torch.linspace(0, c.drop_path, c.depth, device="cpu").tolist()  # numbers, on whatever device
        hidden, attention = int(c.dim * c.mlp_ratio), attention_kind(c, self.prefix)
        self.blocks = nn.ModuleList(EncoderBlock(c.dim, c.heads, hidden, c.qkv_bias, c.dropout, rate, c.layer_scale,
                                                 c.norm_eps, attention) for rate in rates)
        self.norm = nn.Identity() if c.fc_norm else nn.LayerNorm(c.dim, c.norm_eps)
        self.fc_norm = nn.LayerNorm(c.dim, c.norm_eps) if c.fc_norm else nn.Identity()
        self.attn_pool = POOLS[c.pool](c.dim) if c.pool in POOLS else None
        self.head = nn.Linear(c.dim, c.classes) if c.classes else nn.Identity()
        self.head_dist = copy.deepcopy(self.head) if c.pool == "distilled" else None
        self.apply(init_weights)

    def tokens_before(self) -> list[nn.Parameter]:
        return [token for token in (self.cls_token, self.dist_token, self.reg_token) if token is not None]

    def make_positions(self) -> nn.Parameter | None:
        c, N = self.config, self.patch_embed.num_patches
        before = self.prefix if c.prefix_positions else 0
        if c.positions in ("none", "rope"):
            return None
        if c.positions == "learned":
            return nn.Parameter(nn.init.trunc_normal_(torch.empty(1, before + N, c.dim), std=0.02))
        side = c.image_size // c.patch_size
        codes = torch.cat([torch.zeros(before, c.dim), sincos_2d(side, side, c.dim)])
        return nn.Parameter(codes[None], requires_grad=False)  # kept with the weights, never trained

    def embed(self, images: Tensor) -> Tensor:
        check_images(images, next(self.patch_embed.parameters()))
        x = self.patch_embed(images)  # (B, N, D)
        if self.pos_embed is not None and not self.config.prefix_positions:
            x = x + self.pos_embed
        B = x.shape[0]  # len(x) would write the number into an exported model
        before = [token.expand(B, -1, -1) for token in self.tokens_before()]
        x = torch.cat([*before, x], dim=1) if before else x  # (B, T, D), T = prefix + N
        if self.pos_embed is not None and self.config.prefix_positions:
            x = x + self.pos_embed
        return self.drop(self.patch_drop(x))

    def encode(self, x: Tensor, queries: int | None = None) -> Tensor:
        for block in self.blocks[:-1]:
            x = block(x)
        return self.norm(self.blocks[-1](x, queries=queries))

    def features(self, images: Tensor) -> Tensor:
        return self.encode(self.embed(images))  # (B, T, D)

    def classify(self, x: Tensor) -> Tensor:
        if self.config.pool == "mean":
            return self.head(self.fc_norm(x[:, self.prefix:].mean(dim=1)))  # (B, K)
        if self.attn_pool is not None:
            return self.head(self.attn_pool(x[:, self.prefix:]))
        if self.config.pool == "distilled":
            return self.both_heads(x).mean(dim=1)
        return self.head(x[:, 0])

    def both_heads(self, x: Tensor) -> Tensor:
        return torch.stack([self.head(x[:, 0]), self.head_dist(x[:, 1])], dim=1)  # (B, 2, K)

    def forward(self, images: Tensor) -> Tensor:
        read = {"cls": 1, "distilled": 2}.get(self.config.pool)  # of the last block, only what is read
        return self.classify(self.encode(self.embed(images), queries=read))

    def attention_maps(self, images: Tensor) -> Tensor:
        with evaluating(self):  # all patches, whatever the mode
            x, maps = self.embed(images), []
            for block in self.blocks:
                x, weights = block(x, need_weights=True)
                maps.append(weights)
        return torch.stack(maps)  # (L, B, h, T, T)

    def load_state_dict(self, state_dict: Mapping[str, Tensor], strict: bool = True, assign: bool = False):
        check_shapes(self, state_dict, strict)
        return super().load_state_dict(state_dict, strict, assign)


def extra_tokens(count: int, dim: int) -> nn.Parameter | None:
    """Learned tokens that stand before the patches, (1, count, D), or None for none. Built in chapter 7."""
    return nn.Parameter(torch.zeros(1, count, dim)) if count else None


def init_weights(module: nn.Module) -> None:
    """Normal with standard deviation 0.02 for weights and extra tokens, zero for biases and for the head.

    (The bounds of `trunc_normal_` are -2 and 2, so at 0.02 it cuts nothing.) Source: timm, for its linear layers.
    Built in chapter 7.
    """
    if isinstance(module, nn.Linear | nn.Conv2d):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    if isinstance(module, ViT):
        for token in module.tokens_before():
            nn.init.trunc_normal_(token, std=0.02)
        for head in (module.head, module.head_dist):
            if isinstance(head, nn.Linear):
                nn.init.zeros_(head.weight)  # all classes equally likely at first: the loss starts at ln K


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside; afterwards, also after an error, every part has the mode that it had."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
