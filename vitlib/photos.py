"""Your own photographs for fine-tuning: the parts of a folder, and what is set aside for validation."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from .data import ImageSet
from .decoding import printable
from .folders import LITTER, TEST_PARTS, listed, load_files


@dataclass
class Part:
    """Images to learn from or to be scored on, and where each lies below the folder that was named."""

    data: ImageSet
    files: list[str]
    features: Tensor | None = None  # (N, D)

    def subset(self, indices: Tensor) -> "Part":
        return Part(self.data.subset(indices), [self.files[i] for i in indices.tolist()],
                    None if self.features is None else self.features[indices])


def read_parts(folder: str | Path, size: int) -> dict[str, Part]:
    """"train" and, where the folder has them, "validation" and "test". Without parts, all images are "train".

    A folder has parts where it holds train/<class>/ and nothing else, or one of `folders.TEST_PARTS` beside it.
    A test/ without folders of classes is left alone, and a line says so.
    Raises FileNotFoundError or ValueError where there is no such folder, or the parts have not the same classes.
    """
    folder = Path(os.path.abspath(os.path.expanduser(folder)))
    inside = {name.lower(): folder / name for name in folders_in(folder)}
    if "train" not in inside or not folders_in(inside["train"]) or not (
            len(inside) == 1 or inside.keys() & set(TEST_PARTS)):
        return {"train": Part(*load_files(folder, size))}
    parts = {"train": inside["train"]}
    if (name := next((name for name in TEST_PARTS[1:] if name in inside), None)) is not None:
        parts["validation"] = inside[name]
    if "test" in inside and folders_in(inside["test"]):
        parts["test"] = inside["test"]
    elif "test" in inside:
        print(f"{printable(inside['test'])} has no folders of classes, so it is left alone: `predict` reads it")
    found = {}
    for part, place in parts.items():
        data, files = load_files(place, size)
        found[part] = Part(data, [f"{printable(place.name)}/{file}" for file in files])
        if data.classes != (expected := found["train"].data.classes):
            other = listed(sorted(set(data.classes) ^ set(expected)), ", ")
            raise ValueError(f"{printable(parts['train'])} and {printable(place)} do not have the same classes: "
                             f"{other} in one of them only; rename or move folders, or delete one of the two parts")
    return found


def folders_in(folder: Path) -> list[str]:
    """The names of the folders in a folder that count, sorted; none where it cannot be read."""
    if not folder.is_dir():
        return []
    return sorted(name for name in os.listdir(folder)
                  if (folder / name).is_dir() and not name.startswith(".") and name.lower() not in LITTER)


def set_aside(data: ImageSet, share: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Indices to train on and to validate on: about `share` of every class, at least one image on either side.

    Copies of an image stay on one side: a copy of what was learned is no test. The same for a seed.
    Raises ValueError for a share outside (0, 1), and for a class without two different images.
    """
    if not 0 < share < 1:
        raise ValueError(f"the share of the images to validate on lies between 0 and 1, got {share}")
    g = torch.Generator().manual_seed(seed)
    groups = [{} for _ in data.classes]  # for each class: {digest: its images}
    for i, (digest, label) in enumerate(zip(digests(data.images), data.labels.tolist())):
        groups[label].setdefault(digest, []).append(i)
    aside = torch.zeros(len(data), dtype=torch.bool)
    for name, group in zip(data.classes, groups):
        copies, count = list(group.values()), sum(map(len, group.values()))
        if len(copies) < 2:
            raise ValueError(f"class {name!r} has {count} images{', all the same' if count > 1 else ''}: one to learn "
                             "from and another to validate on are needed; add images, or delete the folder")
        taken = []
        for i in torch.randperm(len(copies), generator=g).tolist()[1:]:  # one stays in any case
            if len(taken) < max(1, round(share * count)):
                taken += copies[i]
        aside[taken] = True
    return (~aside).nonzero()[:, 0], aside.nonzero()[:, 0]


def digests(images: Tensor) -> list[bytes]:
    """For each image (C, H, W) a short text that is another one for any other pixels."""
    return [hashlib.blake2b(image.contiguous().numpy(), digest_size=16).digest() for image in images]


def seen_before(train: Part, other: Part) -> list[str]:
    """Files of `other` whose pixels stand among the training images too."""
    known = set(digests(train.data.images))
    return [file for file, digest in zip(other.files, digests(other.data.images)) if digest in known]


def in_two_classes(part: Part) -> list[str]:
    """Files whose pixels stand in another class as well: one of the two labels is wrong."""
    found = {}  # digest: {label: a file}
    for digest, label, file in zip(digests(part.data.images), part.data.labels.tolist(), part.files):
        found.setdefault(digest, {})[label] = file
    return [" = ".join(files.values()) for files in found.values() if len(files) > 1]
