"""Images in one form, whatever they come from: Shapes, CIFAR-10 or your own folder."""

import hashlib
import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from PIL import Image, ImageOps
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor
from torchvision.datasets import CIFAR10
from torchvision.transforms.functional import pil_to_tensor

from .checkpoint import write_atomically

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp"}


@dataclass(frozen=True)
class ImageSet:
    """Labelled images in memory. Raises ValueError when the parts do not fit together."""

    images: Tensor  # (N, C, H, W) uint8
    labels: Tensor  # (N,) int64
    classes: tuple[str, ...]  # K names
    masks: Tensor | None = None  # (N, H, W) bool, where the object is
    name: str = "images"

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or self.images.dtype != torch.uint8:
            raise ValueError(f"images must be uint8 (N, C, H, W), got {self.images.dtype} {tuple(self.images.shape)}")
        if self.labels.shape != (len(self.images),):
            raise ValueError(f"{len(self.images)} images need as many labels, got shape {tuple(self.labels.shape)}")
        if len(self.labels) and not 0 <= self.labels.min() <= self.labels.max() < len(self.classes):
            raise ValueError(f"labels run from {self.labels.min()} to {self.labels.max()}, but {len(self.classes)} "
                             f"classes have the labels 0 to {len(self.classes) - 1}")

    def __len__(self) -> int:
        return len(self.images)

    def subset(self, indices: Tensor) -> "ImageSet":
        masks = None if self.masks is None else self.masks[indices]
        return replace(self, images=self.images[indices], labels=self.labels[indices], masks=masks)


def normalise(images: Tensor, mean: float = 0.5, std: float = 0.25) -> Tensor:
    """Turn uint8 in 0…255, or floats in 0…1, into floats around 0 with deviation near 1. Built in chapter 1."""
    x = images.float() / 255 if images.dtype == torch.uint8 else images
    return (x - mean) / std


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


def data_home() -> Path:
    """Where data sets lie: $VITLIB_DATA, or ~/.cache/vitlib."""
    return Path(os.environ.get("VITLIB_DATA") or Path.home() / ".cache" / "vitlib").expanduser()


def load_cifar10(root: str | Path | None = None, download: bool = False) -> tuple[ImageSet, ImageSet]:
    """CIFAR-10, 50,000 training and 10,000 test images, from `root` (default: `data_home()`).

    Reads root/cifar10/{train,test}/<class>/ where that exists, else torchvision's copy, which it fetches
    when asked to. Raises FileNotFoundError, naming the ways to get the data, when there is none.
    Source: Krizhevsky 2009.
    """
    root = Path(root) if root else data_home()
    folder = root / "cifar10"
    if (folder / "train").is_dir():
        lossy = any(path.suffix.lower() in SUFFIXES - {".png", ".bmp"} for path in (folder / "train").rglob("*"))
        name = "CIFAR-10 (JPEG)" if lossy else "CIFAR-10"
        return tuple(replace(load_folder(folder / part), name=name) for part in ("train", "test"))
    try:
        parts = [CIFAR10(root, train=train, download=download) for train in (True, False)]
    except (RuntimeError, OSError) as error:  # torchvision's words for: not there, or no network
        raise FileNotFoundError(
            f"CIFAR-10 is not in {root} ({str(error).splitlines()[0]}); with a network, call "
            "load_cifar10(download=True), or set VITLIB_DATA to a folder that has cifar10/train/<class>/ and "
            "cifar10/test/<class>/") from error
    return tuple(ImageSet(torch.from_numpy(p.data).permute(0, 3, 1, 2).contiguous(), torch.tensor(p.targets),
                          tuple(p.classes), name="CIFAR-10") for p in parts)


def load_folder(folder: str | Path, image_size: int = 32) -> ImageSet:
    """Read folder/<class>/<image>, any size: shrunk to cover, then cropped to, image_size × image_size.

    The decoded images are kept in ~/.cache/vitlib and read back while no file has changed. Unreadable files
    are named in a warning and left out. Raises FileNotFoundError for a missing folder, ValueError for one
    without images or with fewer than two classes.
    """
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}; expected {folder}/<class>/<image>")
    classes = tuple(sorted(entry.name for entry in os.scandir(folder)
                           if entry.is_dir() and not entry.name.startswith(".")))  # no .ipynb_checkpoints
    entries = sorted((entry for name in classes for entry in os.scandir(folder / name)
                      if Path(entry.name).suffix.lower() in SUFFIXES), key=lambda entry: entry.path)
    found = {Path(entry.path).parent.name for entry in entries}
    if len(found) < 2 or len(found) < len(classes):
        empty = sorted(set(classes) - found)
        note = f" ({', '.join(empty)} empty)" if empty else ""
        raise ValueError(f"{folder} has {len(found)} classes with images{note}; "
                         f"expected two or more folders {folder}/<class>/ holding {', '.join(sorted(SUFFIXES))}")
    stamp = hashlib.sha256(f"{image_size} {folder.resolve()}".encode())
    for entry in entries:
        stat = entry.stat()
        stamp.update(f"{entry.path} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    cache = Path.home() / ".cache" / "vitlib" / f"folder-{stamp.hexdigest()[:16]}.safetensors"
    images, labels = read_cache(cache) or decode([Path(e.path) for e in entries], classes, image_size, cache)
    whole = folder.parent if folder.name in ("train", "test") else folder
    return ImageSet(images, labels, classes, name=whole.name)


def read_cache(cache: Path) -> tuple[Tensor, Tensor] | None:
    """The images and labels of an earlier decode, or None where there is none that can be read."""
    try:
        with safe_open(cache, "pt") as tensors:
            return tensors.get_tensor("images"), tensors.get_tensor("labels")
    except (SafetensorError, OSError):
        return None


def decode(paths: list[Path], classes: tuple[str, ...], size: int, cache: Path) -> tuple[Tensor, Tensor]:
    """Read all images, name those that cannot be read, and keep the result where it was complete."""
    with ThreadPoolExecutor() as pool:
        results = list(pool.map(lambda path: decode_image(path, size), paths))
    good = [i for i, result in enumerate(results) if isinstance(result, Tensor)]
    bad = [f"{paths[i]} ({result})" for i, result in enumerate(results) if not isinstance(result, Tensor)]
    if bad:
        warnings.warn(f"left out {len(bad)} of {len(paths)} images that cannot be read; replace or delete: "
                      + "; ".join(bad[:5]) + (" …" if len(bad) > 5 else ""), stacklevel=3)
    if not good:
        raise ValueError(f"none of the {len(paths)} images in {paths[0].parent.parent} can be read")
    images = torch.stack([results[i] for i in good])  # (N, 3, H, W)
    labels = torch.tensor([classes.index(paths[i].parent.name) for i in good])
    if not bad:
        try:
            write_atomically(cache, save({"images": images, "labels": labels}))
        except OSError as error:
            warnings.warn(f"cannot keep the decoded images in {cache} ({error}); they will be read anew each time",
                          stacklevel=3)
    return images, labels


def decode_image(path: Path, size: int) -> Tensor | str:
    """One image as uint8 (3, size, size), or why it cannot be read."""
    try:
        with Image.open(path) as image:
            if image.mode[0] in "IF":  # Pillow would clip them
                return f"its {image.mode} pixels do not fit into 8 bits; convert it first"
            image = ImageOps.exif_transpose(image).convert("RGB")  # as the camera was held
            return pil_to_tensor(image if image.size == (size, size) else ImageOps.fit(image, (size, size)))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        return str(error) or type(error).__name__
