"""Cut images into patches, and turn each patch into a token."""

import math
from numbers import Integral

from torch import Tensor, nn


def patchify(images: Tensor, patch_size: int) -> Tensor:
    """Cut images into non-overlapping square patches, row by row.

    (B, C, H, W) -> (B, N, C·P·P) with N = (H/P)·(W/P). Each patch is flattened channel first,
    the order in which `nn.Conv2d` stores its weights, so the two can be exchanged.
    Raises ValueError when the rank is not 4 or when P does not divide H and W.
    Source: Dosovitskiy et al. 2021, section 3.1. Built in chapter 2.
    """
    check_cut(images, patch_size)
    B, C, H, W = images.shape
    P = patch_size
    x = images.reshape(B, C, H // P, P, W // P, P)  # (B, C, rows, P, columns, P)
    x = x.permute(0, 2, 4, 1, 3, 5)  # (B, rows, columns, C, P, P)
    return x.reshape(B, (H // P) * (W // P), C * P * P)  # (B, N, C·P·P)


def unpatchify(patches: Tensor, patch_size: int, grid: tuple[int, int]) -> Tensor:
    """Put patches back together: the exact inverse of `patchify`.

    (B, N, C·P·P) -> (B, C, H, W) for a grid of (rows, columns) patches.
    Raises ValueError when N is not rows·columns or the patch is not a multiple of P·P numbers long.
    Built in chapter 2.
    """
    check_patches(patches, patch_size, grid)
    (rows, columns), P = grid, patch_size
    B, N, L = patches.shape
    x = patches.reshape(B, rows, columns, L // (P * P), P, P)  # (B, rows, columns, C, P, P)
    x = x.permute(0, 3, 1, 4, 2, 5)  # (B, C, rows, P, columns, P)
    return x.reshape(B, L // (P * P), rows * P, columns * P)  # (B, C, H, W)


class PatchEmbed(nn.Module):
    """Project each patch to D numbers: (B, C, H, W) -> (B, N, D).

    One linear map for all patches, written as a convolution whose stride equals its kernel.
    Raises ValueError when the images' channels or size do not fit.
    Source: Dosovitskiy et al. 2021, equation 1. Built in chapter 2.
    """

    def __init__(self, image_size: int, patch_size: int, channels: int, dim: int):
        super().__init__()
        check_sizes(image_size, patch_size)
        self.image_size, self.channels = image_size, channels
        self.num_patches = (image_size // patch_size) ** 2
        self.proj = nn.Conv2d(channels, dim, kernel_size=patch_size, stride=patch_size)

    def forward(self, images: Tensor) -> Tensor:
        check_fit(images, self.channels, self.image_size)
        return self.proj(images).flatten(2).transpose(1, 2)  # (B, D, rows, columns) -> (B, N, D)


def check_cut(images: Tensor, patch_size: int) -> None:
    """Raise ValueError unless `patchify` can cut the images."""
    if images.ndim != 4:
        raise ValueError(f"patchify wants images of shape (B, C, H, W), got {tuple(images.shape)}; "
                         "add the batch axis of a single image with images[None]")
    H, W = images.shape[-2:]
    if not is_count(patch_size) or H % patch_size or W % patch_size:
        raise ValueError(f"patch size {patch_size!r} does not divide the image of {H}×{W} pixels; "
                         f"choose a divisor, one of {divisors(math.gcd(H, W))}, or resize the images")


def check_patches(patches: Tensor, patch_size: int, grid: tuple[int, int]) -> None:
    """Raise ValueError unless `unpatchify` can put the patches together."""
    check_grid(grid)
    if not is_count(patch_size):
        raise ValueError(f"patch size must be a whole number of pixels, 1 or more, got {patch_size!r}")
    (rows, columns), pixels = grid, patch_size**2
    if patches.ndim != 3 or patches.shape[1] != rows * columns or patches.shape[2] % pixels:
        raise ValueError(f"unpatchify wants patches of shape (B, {rows * columns}, C·{pixels}) for a grid of "
                         f"{rows}×{columns}, got {tuple(patches.shape)}; check patch_size and grid")


def check_sizes(image_size: int, patch_size: int) -> None:
    """Raise ValueError unless the patch size divides the image size."""
    if not is_count(image_size):
        raise ValueError(f"image_size must be a whole number of pixels, 1 or more, got {image_size!r}; "
                         "the model's images are square")
    if not is_count(patch_size) or image_size % patch_size:
        raise ValueError(f"patch_size {patch_size!r} does not divide image_size {image_size}; "
                         f"choose a divisor, one of {divisors(image_size)}")


def check_fit(images: Tensor, channels: int, image_size: int) -> None:
    """Raise ValueError unless the images have these channels and this size."""
    if tuple(images.shape[1:]) != (channels, image_size, image_size):
        raise ValueError(f"the model reads images of shape (B, {channels}, {image_size}, {image_size}), got "
                         f"{tuple(images.shape)}; resize them, or build the model for this size")


def check_grid(grid: tuple[int, int]) -> None:
    """Raise ValueError unless the grid is (rows, columns)."""
    if not isinstance(grid, tuple | list) or len(grid) != 2 or not all(map(is_count, grid)):
        raise ValueError(f"a grid is (rows, columns), two whole numbers of 1 or more, got {grid!r}")


def is_count(value: object) -> bool:
    """Whether it is a whole number of 1 or more. NumPy's count; a bool is no number."""
    return isinstance(value, Integral) and not isinstance(value, bool) and value >= 1


def divisors(number: int) -> str:
    """The numbers that divide it, as an error names them."""
    return ", ".join(str(n) for n in range(1, number + 1) if number % n == 0)
