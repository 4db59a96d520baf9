"""Masked autoencoding: hide most patches of an image and learn, without labels, to fill them in."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .encoder import EncoderBlock
from .inputs import check_images
from .patches import patchify, unpatchify
from .positions import sincos_2d
from .settings import check_types
from .vit import ViT, evaluating, init_weights


@dataclass(frozen=True)
class MAEConfig:
    """How patches are hidden and filled in. Frozen: change a copy with `dataclasses.replace`.

    Raises ValueError for a value that no masked autoencoder can have.
    """

    mask: float = 0.75  # share of the patches that is hidden
    dim: int = 48  # d, width of the decoder, which is thrown away in the end
    depth: int = 1  # its blocks
    heads: int = 3
    mlp_ratio: float = 2.0
    normalised: bool = True  # targets: each patch minus its own mean, over its own standard deviation

    def __post_init__(self) -> None:
        check_mae(self)


def take(x: Tensor, indices: Tensor) -> Tensor:
    """Of each image, the tokens at its own indices: (B, N, D), (B, n) -> (B, n, D). Built in chapter 16."""
    return x.gather(1, indices[:, :, None].expand(-1, -1, x.shape[-1]))


def split_patches(noise: Tensor, mask: float) -> tuple[Tensor, Tensor]:
    """Which patches stay and which are hidden, drawn for each image: noise (B, N) -> (B, n), (B, N-n) indices.

    The patches with the smallest noise stay. Sorting hides the same number in every image, as a batch needs.
    Raises ValueError where a share of `mask` would hide no patch, or all. Source: He et al. 2022. Built in chapter 16.
    """
    check_noise(noise, mask)
    order = noise.argsort(dim=1)  # (B, N)
    return order.tensor_split([noise.shape[1] - round(noise.shape[1] * mask)], dim=1)


def patch_targets(images: Tensor, patch_size: int, normalised: bool = True) -> Tensor:
    """What is to be rebuilt: the pixels of every patch, (B, C, H, W) -> (B, N, C·P·P).

    Normalised, each patch has mean 0 and std 1: what is left is its structure. Source: He et al. 2022, section 3.
    Built in chapter 16.
    """
    pixels = patchify(images, patch_size)
    if not normalised:
        return pixels
    variance, mean = torch.var_mean(pixels, dim=-1, keepdim=True)  # (B, N, 1)
    return (pixels - mean) / (variance + 1e-6).sqrt()  # a patch of one colour has no standard deviation


class Decoder(nn.Module):
    """From the tokens of the seen patches, the pixels of the hidden ones: (B, prefix+n, D) -> (B, N-n, C·P·P).

    A hidden patch enters as the same learned vector everywhere; its position alone says which one it is.
    Source: He et al. 2022, section 3. Built in chapter 16.
    """

    def __init__(self, vit: ViT, config: MAEConfig):
        super().__init__()
        c, side, d = vit.config, vit.config.image_size // vit.config.patch_size, config.dim
        self.prefix = vit.prefix
        self.embed = nn.Linear(c.dim, d)
        self.mask_token = nn.Parameter(torch.zeros(d))
        self.pos_embed = nn.Parameter(sincos_2d(side, side, d)[None], requires_grad=False)  # (1, N, d), never trained
        hidden = int(d * config.mlp_ratio)
        self.blocks = nn.ModuleList(EncoderBlock(d, config.heads, hidden) for _ in range(config.depth))
        self.norm = nn.LayerNorm(d, eps=1e-6)
        self.pixels = nn.Linear(d, c.channels * c.patch_size**2)
        self.apply(init_weights)
        nn.init.normal_(self.mask_token, std=0.02)

    def forward(self, seen: Tensor, kept: Tensor, hidden: Tensor) -> Tensor:
        B, wanted = hidden.shape
        codes = self.pos_embed.expand(B, -1, -1)  # (B, N, d)
        before, seen = self.embed(seen).tensor_split([self.prefix], dim=1)
        unseen = self.mask_token + take(codes, hidden)  # (B, N-n, d)
        x = torch.cat([unseen, before, seen + take(codes, kept)], dim=1)  # (B, prefix+N, d)
        for block in self.blocks[:-1]:
            x = block(x)
        x = self.blocks[-1](x, queries=wanted)  # the hidden ones stand first, and no others are asked for
        return self.pixels(self.norm(x))  # (B, N-n, C·P·P)


class MaskedAutoencoder(nn.Module):
    """A ViT that sees a few patches of each image, and a small decoder that fills in the rest.

    Normalised images (B, C, H, W) and noise (B, N) -> the loss: the mean squared error on the hidden patches alone.
    `encoder` is the ViT that was given: trained with the autoencoder, then used by itself.
    Raises ValueError for a ViT that cannot be trained so, and for images or noise that do not fit.
    Source: He et al. 2022, "Masked autoencoders are scalable vision learners". Built in chapter 16.
    """

    def __init__(self, encoder: ViT, config: MAEConfig):
        super().__init__()
        check_encoder(encoder, config)
        self.encoder, self.config = encoder, config
        self.decoder = Decoder(encoder, config)

    def encode(self, images: Tensor, kept: Tensor) -> Tensor:
        before, patches = self.encoder.embed(images).tensor_split([self.encoder.prefix], dim=1)  # with their positions
        return self.encoder.encode(torch.cat([before, take(patches, kept)], dim=1))  # (B, prefix+n, D)

    def predict(self, images: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        check_pair(images, noise, self.encoder)
        kept, hidden = split_patches(noise, self.config.mask)
        return self.decoder(self.encode(images, kept), kept, hidden), hidden

    def forward(self, images: Tensor, noise: Tensor) -> Tensor:
        predicted, hidden = self.predict(images, noise)  # (B, N-n, C·P·P), (B, N-n)
        targets = patch_targets(images, self.encoder.config.patch_size, self.config.normalised)
        return F.mse_loss(predicted, take(targets, hidden))


@torch.no_grad()
def rebuild(model: MaskedAutoencoder, images: Tensor, noise: Tensor) -> Tensor:
    """Images with their hidden patches filled in, (B, C, H, W) like the images, in evaluation mode.

    A model of normalised targets knows neither a patch's mean nor its std: they are borrowed from the image.
    Built in chapter 16.
    """
    with evaluating(model):
        predicted, hidden = model.predict(images, noise)
    c = model.encoder.config
    pixels = patchify(images, c.patch_size)  # (B, N, C·P·P)
    if model.config.normalised:
        variance, mean = torch.var_mean(take(pixels, hidden), dim=-1, keepdim=True)
        predicted = predicted * (variance + 1e-6).sqrt() + mean
    pixels = pixels.scatter(1, hidden[:, :, None].expand_as(predicted), predicted)
    return unpatchify(pixels, c.patch_size, (c.image_size // c.patch_size,) * 2)


def check_mae(config: MAEConfig) -> None:
    """Raise ValueError for a value that no masked autoencoder can have; width and heads are checked by their layers."""
    check_types(config)
    if not 0 < config.mask < 1:
        raise ValueError(f"mask is the share of patches that is hidden, above 0 and below 1, got {config.mask}; "
                         "0.75 is He et al.'s")
    for name in ("depth", "mlp_ratio"):
        if getattr(config, name) <= 0:
            raise ValueError(f"{name} of the decoder must be positive, got {getattr(config, name)}")


def check_encoder(vit: ViT, config: MAEConfig) -> None:
    """Raise ValueError for a model that cannot be the encoder of a masked autoencoder."""
    if not isinstance(vit, ViT):
        raise ValueError(f"the encoder must be a ViT of vitlib, got {type(vit).__name__}; build ViT(ViTConfig(…))")
    c = vit.config
    if c.stem != "patch":
        raise ValueError(f"stem={c.stem!r} reads beyond a patch's border, so seen tokens would hold hidden pixels; "
                         "pre-train a ViT with stem='patch'")
    if c.positions == "none":
        raise ValueError("without positions nobody can tell where a patch is missing; build the ViT with "
                         "positions='sincos' or 'learned'")
    if c.patch_drop:
        raise ValueError(f"patch_drop={c.patch_drop} leaves patches out, which is the mask's work here; build the ViT "
                         "with patch_drop=0, and fine-tune its weights in one that has it")
    check_noise(torch.empty(1, vit.patch_embed.num_patches), config.mask)


def check_noise(noise: Tensor, mask: float) -> None:
    """Raise ValueError unless the noise can split patches into some that stay and some that are hidden."""
    if noise.ndim != 2 or not noise.is_floating_point():
        raise ValueError(f"noise is one float for each patch, (B, N), got {noise.dtype} {tuple(noise.shape)}; "
                         "draw it by torch.rand(B, N)")
    N = noise.shape[1]
    if not 0 < round(N * mask) < N:
        raise ValueError(f"a share of {mask} hides {round(N * mask)} of {N} patches; at least one must be hidden and "
                         f"one seen: choose a share from {1 / N:.3g} to {1 - 1 / N:.3g}, or smaller patches")


def check_pair(images: Tensor, noise: Tensor, vit: ViT) -> None:
    """Raise ValueError unless the images fit the model, and the noise both."""
    check_images(images, vit.patch_embed.proj.weight)
    if noise.shape != (shape := (len(images), vit.patch_embed.num_patches)):
        raise ValueError(f"{shape[0]} images of {shape[1]} patches need noise of shape {shape}, got "
                         f"{tuple(noise.shape)}; draw it by torch.rand{shape}")
