"""The Vision Transformer, assembled from patches, positions and encoder blocks."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .encoder import EncoderBlock
from .positions import sincos_2d
from .stems import STEMS


@dataclass(frozen=True)
class ViTConfig:
    """What a ViT looks like. Frozen: change a copy with `dataclasses.replace`.

    Raises ValueError for a value that no ViT can have. Built in chapter 7.
    """

    image_size: int = 32  # H = W, pixels
    patch_size: int = 4  # P, pixels
    channels: int = 3  # C
    classes: int = 10  # K
    dim: int = 64  # D, width of a token
    depth: int = 4  # L, number of blocks
    heads: int = 4  # h
    mlp_ratio: float = 4.0  # M = mlp_ratio · D
    pool: str = "cls"  # "cls" reads the class token, "mean" averages the patches
    stem: str = "patch"  # "patch": one cut; "conv": small convolutions; "residual": more of them
    positions: str = "learned"  # "learned", "sincos" (fixed, 2-D) or "none"
    qkv_bias: bool = True
    dropout: float = 0.0
    drop_path: float = 0.0  # rate in the last block; grows linearly from 0
    patch_drop: float = 0.0  # share of the patches that a training step leaves out
    registers: int = 0  # R, spare tokens that no one reads at the end

    def __post_init__(self) -> None:
        for name, known in (("stem", STEMS), ("pool", ("cls", "mean")), ("positions", ("learned", "sincos", "none"))):
            if getattr(self, name) not in known:
                raise ValueError(f"{name}={getattr(self, name)!r} is not one of {', '.join(known)}")
        for name in ("image_size", "patch_size", "channels", "classes", "dim", "depth", "heads", "mlp_ratio"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        if self.registers < 0:
            raise ValueError(f"registers counts tokens, 0 or more, got {self.registers}")
        for name in ("dropout", "drop_path", "patch_drop"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is a probability in [0, 1), got {getattr(self, name)}")


class PatchDrop(nn.Module):
    """In training, keep a random share 1 - rate of the patches, drawn for each image; the prefix always stays.

    (B, prefix+N, D) -> (B, prefix+n, D). Fewer tokens make a training step cheaper.
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
    The parameters carry timm's names, so published weights load with `strict=True`.
    Tokens stand in the order class token, registers, patches; the first two are `prefix` tokens in all.
    Raises ValueError for images of another rank, dtype, channel count or size.
    Source: Dosovitskiy et al. 2021, equations 1 to 4; registers: Darcet et al. 2024. Built in chapter 7.
    """

    def __init__(self, config: ViTConfig):
        super().__init__()
        c = self.config = config
        self.patch_embed = STEMS[c.stem](c.image_size, c.patch_size, c.channels, c.dim)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, c.dim)) if c.pool == "cls" else None
        self.reg_token = nn.Parameter(torch.zeros(1, c.registers, c.dim)) if c.registers else None
        self.prefix = int(c.pool == "cls") + c.registers  # tokens that stand before the patches
        self.pos_embed = self.make_positions()
        self.patch_drop = PatchDrop(c.patch_drop, self.prefix)
        self.drop = nn.Dropout(c.dropout)
        rates = torch.linspace(0, c.drop_path, c.depth).tolist()
        hidden = int(c.dim * c.mlp_ratio)
        self.blocks = nn.ModuleList(
            EncoderBlock(c.dim, c.heads, hidden, c.qkv_bias, c.dropout, rate) for rate in rates)
        self.norm = nn.LayerNorm(c.dim, eps=1e-6)
        self.head = nn.Linear(c.dim, c.classes)
        self.apply(init_weights)
        nn.init.zeros_(self.head.weight)  # all classes equally likely at first: the loss starts at ln K

    def make_positions(self) -> nn.Parameter | None:
        c, N = self.config, self.patch_embed.num_patches
        if c.positions == "none":
            return None
        if c.positions == "learned":
            return nn.Parameter(nn.init.trunc_normal_(torch.empty(1, self.prefix + N, c.dim), std=0.02))
        side = c.image_size // c.patch_size
        codes = torch.cat([torch.zeros(self.prefix, c.dim), sincos_2d(side, side, c.dim)])
        return nn.Parameter(codes[None], requires_grad=False)  # kept with the weights, never trained

    def embed(self, images: Tensor) -> Tensor:
        check_images(images)
        x = self.patch_embed(images)  # (B, N, D)
        before = [token.expand(len(x), -1, -1) for token in (self.cls_token, self.reg_token) if token is not None]
        x = torch.cat([*before, x], dim=1) if before else x  # (B, prefix+N, D)
        if self.pos_embed is not None:
            x = x + self.pos_embed
        return self.drop(self.patch_drop(x))

    def encode(self, x: Tensor, queries: int | None = None) -> Tensor:
        for block in self.blocks[:-1]:
            x = block(x)
        return self.norm(self.blocks[-1](x, queries=queries))

    def features(self, images: Tensor) -> Tensor:
        return self.encode(self.embed(images))  # (B, prefix+N, D)

    def classify(self, x: Tensor) -> Tensor:
        pooled = x[:, self.prefix:].mean(dim=1) if self.cls_token is None else x[:, 0]  # (B, D)
        return self.head(pooled)  # (B, K)

    def forward(self, images: Tensor) -> Tensor:
        read = None if self.cls_token is None else 1  # of the last block, only the tokens that are read
        return self.classify(self.encode(self.embed(images), queries=read))

    def attention_maps(self, images: Tensor) -> Tensor:
        x = self.embed(images)
        maps = []
        for block in self.blocks:
            x, weights = block(x, need_weights=True)
            maps.append(weights)
        return torch.stack(maps)  # (L, B, h, N, N), N with the prefix


def init_weights(module: nn.Module) -> None:
    """Normal with deviation 0.02 for weights and extra tokens, zero for biases.

    (The bounds of `trunc_normal_` are -2 and 2, so at 0.02 it cuts nothing.) Source: timm, for its linear layers.
    Built in chapter 7.
    """
    if isinstance(module, nn.Linear | nn.Conv2d):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    if isinstance(module, ViT):
        for token in (module.cls_token, module.reg_token):
            if token is not None:
                nn.init.trunc_normal_(token, std=0.02)


def check_images(images: Tensor) -> None:
    """Raise ValueError unless the images are a float batch of rank 4. Built in chapter 7."""
    if images.ndim != 4:
        raise ValueError(f"a ViT reads images of shape (B, C, H, W), got {tuple(images.shape)}; "
                         "add the batch axis of a single image with images[None]")
    if not images.is_floating_point():
        raise ValueError(f"a ViT reads normalised floats, got {images.dtype}; call vitlib.data.normalise(images) first")
