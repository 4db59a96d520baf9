"""Cut images into patches, and turn each patch into a token."""

from torch import Tensor, nn


def patchify(images: Tensor, patch_size: int) -> Tensor:
    """Cut images into non-overlapping square patches, row by row.

    (B, C, H, W) -> (B, N, C·P·P) with N = (H/P)·(W/P). Each patch is flattened channel first,
    the order in which `nn.Conv2d` stores its weights, so the two can be exchanged.
    Raises ValueError when the rank is not 4 or when P does not divide H and W.
    Source: Dosovitskiy et al. 2021, section 3.1. Built in chapter 2.
    """
    if images.ndim != 4:
        raise ValueError(f"patchify wants images of shape (B, C, H, W), got {tuple(images.shape)}; "
                         "add the batch axis of a single image with images[None]")
    B, C, H, W = images.shape
    P = patch_size
    if P < 1 or H % P or W % P:
        raise ValueError(f"patch size {P} does not divide the image of {H}×{W} pixels; "
                         "choose a divisor of both sides, or resize the images")
    x = images.reshape(B, C, H // P, P, W // P, P)  # (B, C, rows, P, columns, P)
    x = x.permute(0, 2, 4, 1, 3, 5)  # (B, rows, columns, C, P, P)
    return x.reshape(B, (H // P) * (W // P), C * P * P)  # (B, N, C·P·P)


def unpatchify(patches: Tensor, patch_size: int, grid: tuple[int, int]) -> Tensor:
    """Put patches back together: the exact inverse of `patchify`.

    (B, N, C·P·P) -> (B, C, H, W) for a grid of (rows, columns) patches.
    Raises ValueError when N is not rows·columns or the patch is not a multiple of P·P numbers long.
    Built in chapter 2.
    """
    rows, columns = grid
    P = patch_size
    if patches.ndim != 3 or patches.shape[1] != rows * columns or P < 1 or patches.shape[2] % (P * P):
        raise ValueError(f"unpatchify wants patches of shape (B, {rows * columns}, C·{P * P}) for a grid of "
                         f"{rows}×{columns}, got {tuple(patches.shape)}; check patch_size and grid")
    B, N, L = patches.shape
    x = patches.reshape(B, rows, columns, L // (P * P), P, P)  # (B, rows, columns, C, P, P)
    x = x.permute(0, 3, 1, 4, 2, 5)  # (B, C, rows, P, columns, P)
    return x.reshape(B, -1, rows * P, columns * P)  # (B, C, H, W)


class PatchEmbed(nn.Module):
    """Project each patch to D numbers: (B, C, H, W) -> (B, N, D).

    One linear map for all patches, written as a convolution whose stride equals its kernel.
    Raises ValueError when the images' channels or size do not fit.
    Source: Dosovitskiy et al. 2021, equation 1. Built in chapter 2.
    """

    def __init__(self, image_size: int, patch_size: int, channels: int, dim: int):
        super().__init__()
        if patch_size < 1 or image_size % patch_size:
            raise ValueError(f"patch_size {patch_size} does not divide image_size {image_size}; "
                             "choose a divisor, such as 4 or 8 for 32")
        self.image_size, self.channels = image_size, channels
        self.num_patches = (image_size // patch_size) ** 2
        self.proj = nn.Conv2d(channels, dim, kernel_size=patch_size, stride=patch_size)

    def forward(self, images: Tensor) -> Tensor:
        expected = (self.channels, self.image_size, self.image_size)
        if tuple(images.shape[1:]) != expected:
            raise ValueError(f"the model reads images of shape (B, {', '.join(map(str, expected))}), got "
                             f"{tuple(images.shape)}; resize them, or build the model for this size")
        return self.proj(images).flatten(2).transpose(1, 2)  # (B, D, rows, columns) -> (B, N, D)
