"""Images in one form, whatever they come from; how they are split and normalised."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class ImageSet:
    """Labelled images in memory.

    Nothing is converted on the way in: raises ValueError, which names the fix, where a part has another type or shape,
    or the parts do not fit together.
    """

    images: Tensor  # (N, C, H, W) uint8
    labels: Tensor  # (N,) int64
    classes: tuple[str, ...]  # K names, no two the same
    masks: Tensor | None = None  # (N, H, W) bool, where the object is
    name: str = "images"

    def __post_init__(self) -> None:
        check_tensor("images", self.images, torch.uint8, "N, C, H, W", "(255 * images).round().to(torch.uint8)")
        N, _, H, W = self.images.shape
        check_tensor("labels", self.labels, torch.int64, "N", "labels.long()")
        if len(self.labels) != N:
            raise ValueError(f"{N} images need as many labels, got shape {tuple(self.labels.shape)}")
        if self.masks is not None:
            check_tensor("masks", self.masks, torch.bool, "N, H, W", "masks > 0")
            if self.masks.shape != (N, H, W):
                raise ValueError(f"masks must be as many and as large as the images, {(N, H, W)}, "
                                 f"got {tuple(self.masks.shape)}")
        check_names(self.classes)
        if N and not 0 <= self.labels.min() <= self.labels.max() < len(self.classes):
            raise ValueError(f"labels run from {self.labels.min()} to {self.labels.max()}, but {len(self.classes)} "
                             f"classes have the labels 0 to {len(self.classes) - 1}")

    def __len__(self) -> int:
        return len(self.images)

    def subset(self, indices: Tensor) -> "ImageSet":
        masks = None if self.masks is None else self.masks[indices]
        return replace(self, images=self.images[indices], labels=self.labels[indices], masks=masks)


def check_tensor(name: str, value: object, dtype: torch.dtype, axes: str, fix: str) -> None:
    """Raise ValueError unless a part of an ImageSet is a tensor of this type and as many axes."""
    expected = f"{name} must be a tensor, {str(dtype).removeprefix('torch.')} ({axes})"
    if not isinstance(value, Tensor):
        raise ValueError(f"{expected}, got {type(value).__name__}; torch.as_tensor({name}) makes a tensor of it")
    got = f"got {value.dtype} {tuple(value.shape)}"
    if value.ndim != axes.count(",") + 1:
        raise ValueError(f"{expected}, {got}")
    if value.dtype != dtype:
        raise ValueError(f"{expected}, {got}; {fix} is the usual way there")


def check_names(classes: object) -> None:
    """Raise ValueError unless the classes are a tuple of different names."""
    if not isinstance(classes, tuple) or not all(isinstance(name, str) for name in classes):
        raise ValueError(f"classes must be a tuple of names, such as ('cat', 'dog'), got {classes!r}")
    twice = sorted({name for name in classes if classes.count(name) > 1})
    if twice:
        raise ValueError(f"each class needs a name of its own, but {', '.join(twice)} stands more than once")


def normalise(images: Tensor, mean: float | Sequence[float] = 0.5, std: float | Sequence[float] = 0.25) -> Tensor:
    """Turn uint8 in 0…255, or floats in 0…1, into floats around 0 with standard deviation near 1.

    (…, C, H, W) -> as many. `mean` and `std` are one number each, or C numbers: published weights want their own.
    Raises ValueError for other dtypes, for another number of channels and, where it is cheap, that is on a CPU, for
    floats far outside 0…1. Built in chapter 1.
    """
    check_pixels(images)
    x = images.float() / 255 if images.dtype == torch.uint8 else images
    return (x - for_channels(mean, x)) / for_channels(std, x)


def check_pixels(images: Tensor) -> None:
    """Raise ValueError unless the images are uint8, or floats that can be in 0…1.

    Of floats on another device than the CPU only the dtype is checked: a GPU would have to be waited for.
    """
    if not isinstance(images, Tensor):
        raise ValueError(f"normalise reads a tensor, got {type(images).__name__}; torch.from_numpy makes one")
    if images.dtype == torch.uint8:
        return
    if not images.is_floating_point():
        raise ValueError(f"pixels are uint8 in 0…255 or floats in 0…1, got {images.dtype}; "
                         "where they lie in 0…255, call images.to(torch.uint8)")
    if images.device.type == "cpu" and images.numel() and not torch.compiler.is_compiling():
        low, high = images.aminmax()
        if low < -0.5 or high > 1.5:
            raise ValueError(f"floats must lie in 0…1, got {low:.4g} to {high:.4g}; divide pixels in 0…255 by 255, "
                             "and normalise only once")


def for_channels(values: float | Sequence[float], x: Tensor) -> float | Tensor:
    """One number as it is; C numbers as (C, 1, 1), to be spread over images (…, C, H, W)."""
    if isinstance(values, int | float):
        return values
    values = torch.as_tensor(values, dtype=x.dtype, device=x.device)
    if values.ndim and (values.ndim > 1 or x.ndim < 3 or len(values) != x.shape[-3]):
        raise ValueError(f"mean and std are one number, or one for each channel of images (…, C, H, W): got "
                         f"{tuple(values.shape)} for images {tuple(x.shape)}")
    return values[:, None, None] if values.ndim else values


def stratified_split(data: ImageSet, fraction: float, seed: int = 0) -> tuple[ImageSet, ImageSet]:
    """Set `fraction` of every class aside: (the rest, the part set aside), each in its old order, the same for a seed.

    Raises ValueError when the fraction is not in (0, 1) or a class would be left empty on one side.
    Built in chapter 1.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"fraction is a share between 0 and 1, got {fraction}")
    g = torch.Generator().manual_seed(seed)
    kept, aside = [], []
    for k, name in enumerate(data.classes):
        indices = (data.labels == k).nonzero()[:, 0]  # the images of class k
        indices = indices[torch.randperm(len(indices), generator=g)]
        cut = round(fraction * len(indices))
        if not 0 < cut < len(indices):
            raise ValueError(f"class {name!r} has {len(indices)} images: too few to set {fraction:.0%} aside")
        aside.append(indices[:cut])
        kept.append(indices[cut:])
    return data.subset(torch.cat(kept).sort().values), data.subset(torch.cat(aside).sort().values)


def on_device(data: ImageSet, device: torch.device) -> ImageSet:
    """The same images, in the memory of `device`; what is there already is not copied."""
    return ImageSet(data.images.to(device), data.labels.to(device), data.classes, name=data.name)
