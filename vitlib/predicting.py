"""What a fine-tuned model says of image files, printed and as a table."""

import csv
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import StringIO
from pathlib import Path

import torch
from torch import Tensor

from .checkpoint import ZOO, class_names, load_record, load_weights, zoo
from .decoding import SUFFIXES, decode_image, listening, printable
from .files import write_atomically
from .finetune import is_ours, weights_file
from .folders import LITTER, suffix_of
from .train import predict
from .vit import ViT


def read_model(source: str) -> tuple[ViT, tuple[str, ...]]:
    """A model and the names of its classes: from a file of `export_weights`, a folder that holds one, or the zoo.

    Raises FileNotFoundError, or ValueError for other weights and for a model without classes.
    """
    in_zoo = source in zoo()
    path = ZOO / f"{source}.safetensors" if in_zoo else weights_file(source)
    if path.is_dir():
        raise FileNotFoundError(f"{path} holds no weights.safetensors; name a folder that `finetune` wrote, or a file")
    if path.is_file() and not is_ours(path):
        raise ValueError(f"{path} was not written by vitlib. Published weights do not know your classes; fine-tune "
                         f"them first: python -m vitlib finetune FOLDER --from {path}")
    model = load_weights(path)
    if not model.config.classes:
        raise ValueError(f"{path} holds a model without a head; fine-tune it first")
    return model, tuple(load_record(source)["classes"]) if in_zoo else class_names(path)


def image_files(places: list[str]) -> list[str]:
    """Files as they are named; of a folder all images in it, however deep, in order; no links to folders."""
    found = []
    for place in places:
        if not os.path.isdir(place):
            found.append(place)
            continue
        for here, folders, names in os.walk(place):
            folders[:] = sorted(name for name in folders if not name.startswith(".") and name.lower() not in LITTER)
            found += [os.path.join(here, name) for name in sorted(names)
                      if not name.startswith(".") and suffix_of(name) in SUFFIXES]
    return found


def probabilities(model: ViT, files: list[str], batch_size: int = 32) -> Iterator[tuple[str, Tensor | None, str]]:
    """For each file its probabilities (K,) and what is odd about it; None for one that cannot be read, and why."""
    size = model.config.image_size
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(files), batch_size):
            part = files[start : start + batch_size]
            with listening():
                read = list(pool.map(lambda path: decode_image(path, size), part))
            images = [image for image, _ in read if image is not None]
            rows = iter(predict(model, torch.stack(images)).softmax(1).cpu()) if images else iter(())
            for path, (image, why) in zip(part, read):
                yield path, None if image is None else next(rows), why


def predict_files(model: ViT, names: tuple[str, ...], places: list[str], top: int = 3,
                  table: str | Path | None = None) -> int:
    """Print the likeliest classes of every image, and write all probabilities to a CSV file; returns how many failed.

    The table has the columns file, "top 1" to "top K", and p(CLASS) for each class. What cannot be read is named on the
    error output, and is no row. Raises ValueError for no images, FileExistsError for a table that is there already.
    """
    if top < 1:
        raise ValueError(f"--top is the number of classes to show, 1 or more, got {top}")
    if table is not None and Path(table).exists():
        raise FileExistsError(f"{table} is already there; choose another --csv, or delete it")
    if not (files := image_files(places)):
        raise ValueError(f"there are no images in {', '.join(map(printable, places))}; they end in .jpg, .png or such")
    top, failed = min(top, len(names)), 0
    writer = csv.writer(text := StringIO(), lineterminator="\n")
    writer.writerow(["file", *(f"top {i + 1}" for i in range(top)), *(f"p({name})" for name in names)])
    for path, row, why in probabilities(model, files):
        if row is None:
            failed += 1
            print(f"{printable(path)}: left out, {why}", file=sys.stderr, flush=True)
            continue
        best = row.topk(top)
        chosen = [names[k] for k in best.indices.tolist()]
        print(f"{printable(path)}  " + "  ".join(f"{name} {p:.1%}" for name, p in zip(chosen, best.values.tolist()))
              + (f"  (odd: {why})" if why else ""), flush=True)
        writer.writerow([printable(path), *chosen, *(f"{p:.6f}" for p in row.tolist())])
    if table is not None:
        write_atomically(table, text.getvalue().encode())
    return failed
