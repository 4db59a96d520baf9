"""Augmentation of whole batches, with its own random draw for every image.

Every function takes a batch (B, C, H, W) and a generator on the batch's device; crop, flip and erase work
on any dtype, mixing on any floats, the others on floats in 0…1.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

TRIED = ("cpu", "cuda")  # other devices, such as Apple's, lack an operator or two in some version of PyTorch


def uniform(B: int, low: float, high: float, g: torch.Generator) -> Tensor:
    """One number an image in [low, high): (B,). Built in chapter 1."""
    return low + (high - low) * torch.rand(B, generator=g, device=g.device)


def random_flip(images: Tensor, g: torch.Generator) -> Tensor:
    """Mirror each image left to right with probability one half. Built in chapter 1."""
    flip = uniform(len(images), 0, 1, g) < 0.5  # (B,)
    return torch.where(flip[:, None, None, None], images.flip(-1), images)


def random_crop(images: Tensor, padding: int, g: torch.Generator) -> Tensor:
    """Shift each image by up to `padding` pixels each way, mirroring what lies beyond its border.

    Raises ValueError when the padding does not fit in the image. Built in chapter 1.
    """
    B, _, H, W = images.shape
    if not 0 <= padding < min(H, W):
        raise ValueError(f"padding {padding} must lie in 0…{min(H, W) - 1} for images of {H}×{W}")
    shift = torch.randint(-padding, padding + 1, (2, B, 1), generator=g, device=g.device)
    rows = mirror(torch.arange(H, device=g.device) + shift[0], H)  # (B, H)
    columns = mirror(torch.arange(W, device=g.device) + shift[1], W)  # (B, W)
    batch = torch.arange(B, device=g.device)[:, None, None]
    shifted = images.permute(0, 2, 3, 1)[batch, rows[:, :, None], columns[:, None, :]]  # (B, H, W, C)
    return shifted.permute(0, 3, 1, 2).contiguous()  # (B, C, H, W), in memory too


def mirror(index: Tensor, size: int) -> Tensor:
    """Fold indices that lie outside 0…size-1 back inside. Built in chapter 1."""
    index = index.abs()
    return torch.where(index >= size, 2 * (size - 1) - index, index)


def random_box(B: int, H: int, W: int, share: Tensor, g: torch.Generator) -> Tensor:
    """A random box over `share` (B,) of each image, cut where it leaves it: (B, 1, H, W) bool."""
    half = share.sqrt() / 2
    y, x = (uniform(B, 0, 1, g)[:, None] for _ in range(2))  # the centres
    rows = (torch.arange(H, device=g.device) + 0.5) / H
    columns = (torch.arange(W, device=g.device) + 0.5) / W
    inside_y = (rows - y).abs() < half[:, None]  # (B, H)
    inside_x = (columns - x).abs() < half[:, None]  # (B, W)
    return (inside_y[:, :, None] & inside_x[:, None, :])[:, None]


def random_erase(images: Tensor, probability: float, g: torch.Generator) -> Tensor:
    """Blank a box of 2 to 25 %, less where it leaves the image, in each image's own mean. Source: Zhong et al. 2020."""
    B, _, H, W = images.shape
    box = random_box(B, H, W, uniform(B, 0.02, 0.25, g), g)
    box = box & (uniform(B, 0, 1, g) < probability)[:, None, None, None]
    return torch.where(box, images.float().mean(dim=(2, 3), keepdim=True).to(images.dtype), images)


def random_affine(images: Tensor, strength: float, g: torch.Generator) -> Tensor:
    """Turn (±30°), shear (±0.3), scale (±30 %) and shift (±30 %) each image, all times `strength` in 0…1."""
    B = len(images)
    turn, shear = uniform(B, -strength, strength, g) * math.pi / 6, uniform(B, -0.3, 0.3, g) * strength
    scale = (1 + uniform(B, -0.3, 0.3, g) * strength)
    dx, dy = (uniform(B, -0.3, 0.3, g) * strength for _ in range(2))
    cos, sin = turn.cos() * scale, turn.sin() * scale
    matrix = torch.stack([torch.stack([cos, shear - sin, dx], -1), torch.stack([sin, cos, dy], -1)], -2)  # (B, 2, 3)
    grid = F.affine_grid(matrix, list(images.shape), align_corners=False)  # (B, H, W, 2)
    if images.device.type in TRIED:
        return F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    return F.grid_sample(images, reflected(grid, images), padding_mode="zeros", align_corners=False)


def reflected(grid: Tensor, images: Tensor) -> Tensor:
    """Places of `grid_sample` (B, H, W, 2), -1…1 across the image, mirrored at its borders until they lie inside.

    What `padding_mode="reflection"` does itself where it exists.
    """
    size = torch.tensor(images.shape[:1:-1], device=grid.device)  # (W, H): the grid holds x before y
    x = ((grid + 1) * size / 2).remainder(2 * size)  # in pixels from the edge; after two sides it repeats
    x = torch.minimum(x, 2 * size - x)
    x = torch.minimum(x.clamp(min=0.5), size - 0.5)  # beyond the outermost pixels' centres lies nothing to blend with
    return 2 * x / size - 1


def random_colour(images: Tensor, strength: float, g: torch.Generator) -> Tensor:
    """Change brightness, contrast and saturation of each image by up to ±80 % times `strength`."""
    brightness, contrast, saturation = (
        (1 + uniform(len(images), -0.8, 0.8, g) * strength)[:, None, None, None] for _ in range(3))
    x = images * brightness
    mean = x.mean(dim=(1, 2, 3), keepdim=True)
    x = mean + (x - mean) * contrast
    grey = x.mean(dim=1, keepdim=True)
    return (grey + (x - grey) * saturation).clamp(0, 1)


def random_augment(images: Tensor, strength: float, g: torch.Generator) -> Tensor:
    """One geometric and one colour change an image, each with probability one half.

    In the spirit of RandAugment (Cubuk et al. 2020), for a whole batch at once.
    """
    for change in (random_affine, random_colour):
        chosen = uniform(len(images), 0, 1, g) < 0.5
        images = torch.where(chosen[:, None, None, None], change(images, strength, g), images)
    return images


def mixup(images: Tensor, targets: Tensor, alpha: float, g: torch.Generator) -> tuple[Tensor, Tensor]:
    """Blend each image and its target (B, K) with a partner's, in shares drawn for each image.

    Shares follow Beta(alpha, alpha). Source: Zhang et al. 2018. Built in chapter 9.
    """
    partner = torch.randperm(len(images), generator=g, device=g.device)
    share = beta(len(images), alpha, g)
    wide = share[:, None, None, None]
    return (images * wide + images[partner] * (1 - wide),
            targets * share[:, None] + targets[partner] * (1 - share[:, None]))


def cutmix(images: Tensor, targets: Tensor, alpha: float, g: torch.Generator) -> tuple[Tensor, Tensor]:
    """Paste a box of a partner into each image; the targets (B, K) are mixed by area.

    Source: Yun et al. 2019. Built in chapter 9.
    """
    B, _, H, W = images.shape
    partner = torch.randperm(B, generator=g, device=g.device)
    box = random_box(B, H, W, 1 - beta(B, alpha, g), g)
    share = 1 - box.float().mean(dim=(1, 2, 3))[:, None]  # what is left of the image itself
    return torch.where(box, images[partner], images), targets * share + targets[partner] * (1 - share)


def beta(B: int, alpha: float, g: torch.Generator) -> Tensor:
    """B draws from Beta(alpha, alpha), from `g`: (B,). Uniform where alpha is 1."""
    if alpha <= 0:
        raise ValueError(f"the Beta distribution needs alpha > 0, got {alpha}")
    if g.device.type not in TRIED:  # drawn on the CPU, from a generator that this one seeds
        seed = int(torch.randint(2**31, (1,), generator=g, device=g.device))
        return beta(B, alpha, torch.Generator().manual_seed(seed)).to(g.device)
    a, b = (torch._standard_gamma(torch.full((B,), float(alpha), device=g.device), generator=g) for _ in range(2))
    return a / (a + b)
