"""The Vision Transformer, assembled from patches, positions and encoder blocks."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .encoder import EncoderBlock
from .positions import sincos_2d
from .settings import check_types
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
        check_config(self)


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
    The parameters carry timm's names. So the weights of its plain ViTs load with `strict=True`, and give its logits:
    those with a class token and learned positions that count it, and the last norm before the pooling
    (`vit_base_patch16_224`, `vit_small_patch32_384`, `deit_tiny_patch16_224` and their like; not the distilled ones).
    Others have parts that are not here, and so keys: LayerScale (`ls1`, in DeiT III and DINOv2), a norm after the mean
    (`fc_norm`), one before the blocks (`norm_pre`, in CLIP), normalised queries (`q_norm`), `dist_token`, `attn_pool`;
    or positions for the patches alone. Some "gap" models of SigLIP load and yet differ: their GELU is approximate.
    Tokens stand in the order class token, registers, patches; the first two are `prefix` tokens in all.
    Raises ValueError for images of another rank, dtype, device, channel count or size, and for weights of other shapes.
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
        check_images(images, next(self.patch_embed.parameters()))
        x = self.patch_embed(images)  # (B, N, D)
        B = x.shape[0]  # len(x) would write the number into an exported model
        before = [token.expand(B, -1, -1) for token in (self.cls_token, self.reg_token) if token is not None]
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
        with evaluating(self):  # all patches, whatever the mode
            x, maps = self.embed(images), []
            for block in self.blocks:
                x, weights = block(x, need_weights=True)
                maps.append(weights)
        return torch.stack(maps)  # (L, B, h, N, N), N with the prefix

    def load_state_dict(self, state_dict: Mapping[str, Tensor], strict: bool = True, assign: bool = False):
        check_shapes(self, state_dict, strict)
        return super().load_state_dict(state_dict, strict, assign)


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


def check_config(c: ViTConfig) -> None:
    """Raise ValueError for a value that no ViT can have."""
    check_types(c)
    for name, known in (("stem", STEMS), ("pool", ("cls", "mean")), ("positions", ("learned", "sincos", "none"))):
        if getattr(c, name) not in known:
            raise ValueError(f"{name}={getattr(c, name)!r} is not one of {', '.join(known)}")
    for name in ("image_size", "patch_size", "channels", "classes", "dim", "depth", "heads", "mlp_ratio"):
        if getattr(c, name) <= 0:
            raise ValueError(f"{name} must be positive, got {getattr(c, name)}")
    if c.dim * c.mlp_ratio < 1:
        raise ValueError(f"mlp_ratio {c.mlp_ratio} leaves no width to an MLP of dim {c.dim}; use 1 / dim or more")
    if c.registers < 0:
        raise ValueError(f"registers counts tokens, 0 or more, got {c.registers}")
    for name in ("dropout", "drop_path", "patch_drop"):
        if not 0 <= getattr(c, name) < 1:
            raise ValueError(f"{name} is a probability in [0, 1), got {getattr(c, name)}")


def check_images(images: Tensor, weight: Tensor) -> None:
    """Raise ValueError unless the images are a float batch of rank 4, of the weight's dtype and on its device."""
    if not isinstance(images, Tensor):
        raise ValueError(f"a ViT reads a tensor, got {type(images).__name__}; torch.from_numpy makes one of an array")
    if images.ndim != 4:
        raise ValueError(f"a ViT reads images of shape (B, C, H, W), got {tuple(images.shape)}; "
                         "add the batch axis of a single image with images[None]")
    if not images.is_floating_point():
        raise ValueError(f"a ViT reads normalised floats, got {images.dtype}; call vitlib.data.normalise(images) first")
    if images.device != weight.device:
        raise ValueError(f"the images are on {images.device}, the model is on {weight.device}; "
                         f"call images.to({str(weight.device)!r})")
    if images.dtype != weight.dtype and not torch.is_autocast_enabled(images.device.type):
        raise ValueError(f"the images are {images.dtype}, the weights {weight.dtype}; "
                         f"call images.to({weight.dtype})")


def check_shapes(model: nn.Module, state: Mapping[str, Tensor], strict: bool) -> None:
    """Raise ValueError for the first tensor of `state` that has another shape than the model's.

    Where a strict load fails for its names, they are the cause: PyTorch names them, and the shapes as well.
    """
    own = model.state_dict()
    if strict and own.keys() != state.keys():
        return
    fixes = {"pos_embed": "image size, patch size or the tokens before the patches differ: build the model for them, "
                          "or stretch the codes with vitlib.positions.interpolate_positions",
             "head": "the number of classes differs: build the model with that of the weights, or train a new head: "
                     "leave head.weight and head.bias out and load with strict=False"}
    for name, here in own.items():
        if name in state and state[name].shape != here.shape:
            fix = fixes.get(name.split(".")[0], "the configurations differ: build the model with that of the weights")
            raise ValueError(f"{name} is {tuple(state[name].shape)} in the weights and {tuple(here.shape)} in the "
                             f"model; {fix}")
