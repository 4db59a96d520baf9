"""Where images come from: drawn shapes, CIFAR-10, or a folder of your own."""

import os
from dataclasses import replace
from pathlib import Path

import torch
from torch.nn import functional as F
from torchvision.datasets import CIFAR10, FashionMNIST

from .data import ImageSet
from .decoding import LOSSLESS, SUFFIXES, printable
from .files import data_home
from .folders import TEST_PARTS, find_images, listed, load_folder
from .shapes import shapes


def load_data(source: str, image_size: int) -> tuple[ImageSet, ImageSet]:
    """Training and test images of "shapes", "shapes-scattered", "cifar10", "fashion-mnist", or a folder with train/ and
    test/.

    Where a folder has no test/, its val/, valid/ or validation/ is read in its place, and a line says so.
    Raises FileNotFoundError, naming what is there, where a part is missing.
    """
    if source in ("shapes", "shapes-scattered"):
        options = {"size": image_size, "scattered": source == "shapes-scattered"}
        return shapes(10_000, seed=1, **options), shapes(2_000, seed=2, **options)
    if source == "cifar10":
        return load_cifar10(download=True)
    if source == "fashion-mnist":
        return load_fashion_mnist(download=True)
    train, test = train_and_test(Path(os.path.expanduser(source)))
    return load_folder(train, image_size), load_folder(test, image_size)


def train_and_test(folder: Path) -> tuple[Path, Path]:
    """The folders of both parts. Raises FileNotFoundError naming what is there in their place."""
    train = folder / "train"
    test = next((folder / name for name in TEST_PARTS if (folder / name).is_dir()), folder / "test")
    missing = [part for part in (train, test) if not part.is_dir()]
    if missing:
        raise FileNotFoundError(
            f"there is no folder {printable(missing[0])}: {what_lies_in(folder)}. Expected train/<class>/<image> and "
            f"test/<class>/<image> in it; {', '.join(TEST_PARTS[1:])} will do for test. Rename a folder, or move "
            "the classes' folders into train/ and some images of each class into test/<class>/")
    if test.name != "test":
        print(f"{printable(folder)} has no test/: the images of {test.name}/ are the ones to test on", flush=True)
    return train, test


def what_lies_in(folder: Path) -> str:
    """For an error: what a reader finds in place of what was expected."""
    if folder.is_file():
        return f"{printable(folder)} is a file, not a folder"
    if not folder.is_dir():
        return f"{printable(folder)} is not there, nor is it one of shapes, shapes-scattered, cifar10, fashion-mnist"
    names = sorted(name for name in os.listdir(folder) if os.path.isdir(folder / name) and not name.startswith("."))
    return f"{printable(folder)} holds " + (f"the folders {listed(names, ', ')}" if names else "no folders")


def load_cifar10(root: str | Path | None = None, download: bool = False) -> tuple[ImageSet, ImageSet]:
    """CIFAR-10, 50,000 training and 10,000 test images, from `root` (default: `data_home()`).

    Reads root/cifar10/{train,test}/<class>/ where that exists, else torchvision's copy, which it fetches
    when asked to. The name says where images had been stored in a format that may lose something, such as
    "CIFAR-10 (JPEG)". Raises FileNotFoundError, naming the ways to get the data, when there is none.
    Source: Krizhevsky 2009.
    """
    root = Path(os.path.expanduser(root)) if root else data_home()
    folder = root / "cifar10"
    if (folder / "train").is_dir():
        parts = [load_folder(folder / part) for part in ("train", "test")]
        stored = {SUFFIXES[file.suffix] for part in ("train", "test") for file in find_images(folder / part).files}
        lossy = ", ".join(sorted(stored - LOSSLESS))  # such as JPEG: no longer the images that were published
        return tuple(replace(part, name=f"CIFAR-10 ({lossy})" if lossy else "CIFAR-10") for part in parts)
    try:
        parts = [CIFAR10(root, train=train, download=download) for train in (True, False)]
    except (RuntimeError, OSError) as error:  # torchvision's words for: not there, or no network
        raise FileNotFoundError(
            f"CIFAR-10 is not in {root} ({str(error).splitlines()[0]}); with a network, call "
            "load_cifar10(download=True), or set VITLIB_DATA to a folder that has cifar10/train/<class>/ and "
            "cifar10/test/<class>/") from error
    return tuple(ImageSet(torch.from_numpy(p.data).permute(0, 3, 1, 2).contiguous(), torch.tensor(p.targets),
                          tuple(p.classes), name="CIFAR-10") for p in parts)


def load_fashion_mnist(root: str | Path | None = None, download: bool = False) -> tuple[ImageSet, ImageSet]:
    """Fashion-MNIST, 60,000 training and 10,000 test images of clothes, from `root` (default: `data_home()`).

    The grey images of 28×28 pixels get a black rim, to 32×32, and three equal channels, as what was trained on
    colours expects. Raises FileNotFoundError, naming the ways to get the data, when there is none.
    Source: Xiao et al. 2017.
    """
    root = Path(os.path.expanduser(root)) if root else data_home()
    try:
        parts = [FashionMNIST(root, train=train, download=download) for train in (True, False)]
    except (RuntimeError, OSError) as error:
        raise FileNotFoundError(
            f"Fashion-MNIST is not in {root} ({str(error).splitlines()[0]}); with a network, call "
            "load_fashion_mnist(download=True), or unpack its four files into FashionMNIST/raw/ there") from error
    return tuple(ImageSet(F.pad(p.data, (2, 2, 2, 2))[:, None].repeat(1, 3, 1, 1), p.targets, tuple(p.classes),
                          name="Fashion-MNIST") for p in parts)
