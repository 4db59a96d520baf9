"""Your own folder of images, read into the form of `ImageSet`."""

import hashlib
import json
import os
import stat
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import PIL
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from .data import ImageSet
from .decoding import SUFFIXES, VERSION, decode_image, listening, printable
from .files import cache_homes, write_atomically

TEST_PARTS = ("test", "val", "valid", "validation")  # names of a data set's part to test on, the first choice first

# What systems and archives leave behind, in small letters. Names that begin with a dot are passed over as well.
LITTER = {"__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "@eadir", "$recycle.bin", "system volume information",
          "lost+found"}


class ImageFile(NamedTuple):
    """One image, before it is read."""

    place: tuple[str, ...]  # the names below the folder: its class, perhaps more folders, its own
    bytes: int
    changed: int  # nanoseconds

    @property
    def suffix(self) -> str:
        return suffix_of(self.place[-1])


@dataclass
class Found:
    """What lies in a folder of classes."""

    folder: Path
    classes: list[str] = field(default_factory=list)
    files: list[ImageFile] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)  # left out, each with the reason
    others: Counter = field(default_factory=Counter)  # how many files of each suffix are no images

    def path(self, file: ImageFile) -> str:
        return os.path.join(self.folder, *file.place)


def load_folder(folder: str | Path, image_size: int = 32) -> ImageSet:
    """Read folder/<class>/…/<image>, any size: shrunk to cover, then cropped to, image_size × image_size.

    Each folder in it is a class, with all images below it, however deep; links are followed. An image is what has a
    suffix of `decoding.SUFFIXES`: upright by its EXIF, laid on white where it is transparent, of an animation the first
    frame. No classes and no images: hidden files and folders, `__MACOSX` and other litter of systems, without a word.

    What cannot be read is named in a warning and left out; files of other kinds are counted in it. The decoded images
    are kept in the first of `files.cache_homes()` that can be written, and read back while no file has changed.

    Raises FileNotFoundError for a missing folder, ValueError for fewer than two classes, or one without an image.
    """
    return load_files(folder, image_size)[0]


def load_files(folder: str | Path, image_size: int = 32) -> tuple[ImageSet, list[str]]:
    """The images of `load_folder`, and the file of each: class/…/name."""
    if type(image_size) is not int or image_size < 1:
        raise ValueError(f"image_size is a number of pixels, 1 or more, got {image_size!r}")
    folder = Path(os.path.abspath(os.path.expanduser(folder)))
    if not folder.is_dir():
        here = printable(folder)
        what = f"{here} is a file, not a folder" if folder.exists() else f"there is no folder {here}"
        raise FileNotFoundError(f"{what}; expected {here}/<class>/<image>")
    found = find_images(folder)
    check_classes(found)
    cache, stamp = cache_files(folder, image_size), stamp_of(found, image_size)
    images, labels, notes = read_cache(cache, stamp) or decode(found, image_size, cache, stamp)
    if left := left_out(found):
        warnings.warn(left, stacklevel=3)
    if notes:
        warnings.warn(f"read, but odd: {listed(notes)}", stacklevel=3)
    whole = folder.parent if folder.name in ("train", *TEST_PARTS) else folder
    data = ImageSet(images, labels, tuple(map(printable, found.classes)), name=printable(whole.name))
    return data, [printable("/".join(file.place)) for file in found.files]


def find_images(folder: Path) -> Found:
    """Everything in a folder of classes, in the same order on every machine."""
    found = Found(folder)
    pending = [((), frozenset())]  # folders to look into: the place of each, and which folders it lies in
    while pending:
        place, above = pending.pop()
        here = folder.joinpath(*place)
        try:
            info = os.stat(here)
            this = (info.st_dev, info.st_ino)
            names = [] if this in above else os.listdir(here)  # a link can lead upwards
        except OSError as error:
            if not place:
                raise
            found.bad.append(f"{printable(here)} ({error.strerror})")
            continue
        for name in names:
            if name.startswith(".") or name.lower() in LITTER:
                continue
            if look_at(found, (*place, name)):
                pending.append(((*place, name), above | {this}))
    for part in (found.classes, found.files, found.bad):
        part.sort()
    return found


def look_at(found: Found, place: tuple[str, ...]) -> bool:
    """Enter what lies at a place in `found`; True for a folder, which is to be looked into."""
    path, suffix = os.path.join(found.folder, *place), suffix_of(place[-1])
    try:
        info, trouble = os.stat(path), ""
    except FileNotFoundError:
        info, trouble = None, "a link that leads nowhere"
    except OSError as error:
        info, trouble = None, error.strerror
    is_folder = info is not None and stat.S_ISDIR(info.st_mode)
    if len(place) == 1 and (is_folder or (trouble and suffix not in SUFFIXES)):  # a class, perhaps on a lost disk
        found.classes.append(place[0])
    if is_folder:
        return True
    if suffix not in SUFFIXES and not trouble:
        found.others[printable(suffix) or "without suffix"] += 1
        return False
    if not trouble and not stat.S_ISREG(info.st_mode):
        trouble = "no regular file"  # a pipe would never end
    if not trouble and len(place) == 1:
        trouble = "beside the folders of the classes, so in no class"
    if trouble:
        found.bad.append(f"{printable(path)} ({trouble})")
    else:
        found.files.append(ImageFile(place, info.st_size, info.st_mtime_ns))
    return False


def suffix_of(name: str) -> str:
    """The end of a file's name that says its kind, in small letters."""
    return os.path.splitext(name)[1].lower()


def check_classes(found: Found) -> None:
    """Raise ValueError where there are fewer than two classes, or one without an image to learn from."""
    folder, names = printable(found.folder), listed(found.classes, ", ")
    parts = {name.lower() for name in found.classes}
    if "train" in parts and parts & set(TEST_PARTS):
        raise ValueError(f"{folder} holds the parts of a data set ({names}), not classes; load them one by one, "
                         f"such as {folder}/train")
    filled = {file.place[0] for file in found.files}
    empty = [name for name in found.classes if name not in filled]
    if empty or len(filled) < 2:
        note = f" ({listed(empty, ', ')} without one)" if empty else ""
        left = left_out(found)
        raise ValueError(f"{folder} has {len(filled)} classes with images{note}; expected two or more folders "
                         f"{folder}/<class>/, each with images such as .jpg or .png: fill an empty one, or delete it"
                         + (f"; {left}" if left else ""))


def left_out(found: Found) -> str:
    """Names what looks like an image and was not read, and counts the files of other kinds; "" where all is well."""
    parts = []
    if found.bad:
        parts.append(f"left out {len(found.bad)} of {len(found.files) + len(found.bad)} images; mend, move or delete: "
                     + listed(sorted(found.bad)))
    if found.others:
        counts = listed([f"{count} {suffix}" for suffix, count in sorted(found.others.items())], ", ")
        parts.append(f"left out {found.others.total()} files in {printable(found.folder)} that are no images by their "
                     f"suffix: {counts}")
    return ". Also ".join(parts)


def listed(texts: list[str], between: str = "; ") -> str:
    """Texts in one line, printable, and not more than twenty of them."""
    more = [f"and {len(texts) - 20} more"] if len(texts) > 20 else []
    return printable(between.join(texts[:20] + more))


def decode(found: Found, size: int, cache: list[Path], stamp: str) -> tuple[Tensor, Tensor, list[str]]:
    """All images (N, 3, size, size), their labels (N,), and what is odd about some; `found` loses what cannot be read.

    The result is kept where nothing was lost; else the next load is to try again.
    """
    paths = [found.path(file) for file in found.files]
    with listening(), ThreadPoolExecutor() as pool:
        results = list(pool.map(lambda path: decode_image(path, size), paths))
    found.bad += [f"{printable(path)} ({why})" for path, (image, why) in zip(paths, results) if image is None]
    found.files = [file for file, (image, _) in zip(found.files, results) if image is not None]
    check_classes(found)
    images = torch.stack([image for image, _ in results if image is not None])  # (N, 3, H, W)
    label = {name: k for k, name in enumerate(found.classes)}
    labels = torch.tensor([label[file.place[0]] for file in found.files])
    notes = [f"{printable(path)} ({why})" for path, (image, why) in zip(paths, results) if image is not None and why]
    if len(images) == len(paths):
        write_cache(cache, stamp, images, labels, notes)
    return images, labels, notes


def cache_files(folder: Path, size: int) -> list[Path]:
    """Where its decoded images may lie: the name is of folder and size alone, so that a later state replaces it."""
    key = hashlib.sha256(os.fsencode(folder.resolve()) + f" {size}".encode()).hexdigest()[:16]
    return [home / f"folder-{key}.safetensors" for home in cache_homes()]


def stamp_of(found: Found, size: int) -> str:
    """Another text after any change to the files, or to what decodes them."""
    stamp = hashlib.sha256(f"{VERSION} {PIL.__version__} {size}".encode())
    for file in found.files:
        stamp.update(os.fsencode("/".join(file.place)) + f"\0{file.bytes} {file.changed}\0".encode())
    return stamp.hexdigest()


def read_cache(cache: list[Path], stamp: str) -> tuple[Tensor, Tensor, list[str]] | None:
    """What `decode` gave when the stamp was the same, or None where there is none that can be read."""
    for path in cache:
        try:
            with safe_open(path, "pt") as kept:
                about = kept.metadata() or {}
                if about.get("stamp") == stamp:
                    return kept.get_tensor("images"), kept.get_tensor("labels"), json.loads(about["notes"])
        except (SafetensorError, OSError):
            continue
    return None


def write_cache(cache: list[Path], stamp: str, images: Tensor, labels: Tensor, notes: list[str]) -> None:
    """Keep what `decode` gives in the first place that takes it, or warn that there is none."""
    content = save({"images": images, "labels": labels}, {"stamp": stamp, "notes": json.dumps(notes)})
    trouble = "there is no home folder; set VITLIB_DATA to a whole path"
    for path in cache:
        try:
            return write_atomically(path, content)
        except OSError as error:
            trouble = error.strerror
    warnings.warn(f"cannot keep the decoded images ({trouble}); they will be read anew each time", stacklevel=5)
