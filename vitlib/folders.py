"""Your own folder of images, read into the form of `ImageSet`."""

import hashlib
import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from PIL import Image, ImageOps
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor
from torchvision.transforms.functional import pil_to_tensor

from .data import ImageSet
from .files import write_atomically

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp"}


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
