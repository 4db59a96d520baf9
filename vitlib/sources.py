"""Where images come from: drawn shapes, CIFAR-10, or a folder of your own."""

from dataclasses import replace
from pathlib import Path

import torch
from torchvision.datasets import CIFAR10

from .data import ImageSet
from .files import data_home
from .folders import SUFFIXES, load_folder
from .shapes import shapes


def load_data(source: str, image_size: int) -> tuple[ImageSet, ImageSet]:
    """Training and test images of "shapes", "shapes-scattered", "cifar10", or a folder with train/ and test/."""
    if source in ("shapes", "shapes-scattered"):
        options = {"size": image_size, "scattered": source == "shapes-scattered"}
        return shapes(10_000, seed=1, **options), shapes(2_000, seed=2, **options)
    if source == "cifar10":
        return load_cifar10(download=True)
    return load_folder(Path(source) / "train", image_size), load_folder(Path(source) / "test", image_size)


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
