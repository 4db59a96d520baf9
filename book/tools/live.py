"""Writes what the live page needs beside its own code: the weights of a zoo's model and a dozen held-out images.

    python book/tools/live.py FOLDER

Each file is a classic script that hands its data to the page, because a page opened from file:// may fetch nothing.
"""

import argparse
import base64
import dataclasses
import json
from pathlib import Path

import numpy as np

from vitlib.checkpoint import load_weights, load_zoo
from vitlib.files import write_atomically
from vitlib.shapes import shapes
from vitlib.vit import ViT

MODEL = "shapes-tiny"
SNAPSHOTS = sorted((Path(__file__).parents[1] / "_live").glob(f"{MODEL}-epoch-*.safetensors"))
HELD_OUT = 20_000  # a seed that no recipe trains on
BEFORE = "window.PATCHWORK = window.PATCHWORK || {};\nwindow.PATCHWORK"


def as_text(numbers: np.ndarray) -> str:
    """Base64 of the numbers' bytes, little end first."""
    return base64.b64encode(np.ascontiguousarray(numbers.astype(numbers.dtype.newbyteorder("<"))).tobytes()).decode()


def weights(model: ViT) -> dict:
    """Configuration, names, shapes and the weights themselves, rounded to 16 bits."""
    state = model.state_dict()
    data = np.concatenate([value.numpy().astype(np.float16).ravel() for value in state.values()])
    return {"config": dataclasses.asdict(model.config), "data": as_text(data),
            "shapes": [[name, list(value.shape)] for name, value in state.items()]}


def images(count: int = 12) -> dict:
    """`count` images (C, H, W) of Shapes with their classes and masks, one class after another."""
    data = shapes(count * 8, seed=HELD_OUT)
    names = list(data.classes)
    chosen = [int((data.labels == i % len(names)).nonzero()[i // len(names)]) for i in range(count)]
    return {"classes": names, "labels": data.labels[chosen].tolist(), "size": data.images.shape[-1],
            "pixels": as_text(data.images[chosen].numpy()),
            "masks": as_text(data.masks[chosen].numpy().astype(np.uint8))}


def write(folder: Path) -> list[Path]:
    """Write weights.js, images.js, and weights-N.js for the weights after N epochs; each whole or not at all."""
    model, record = load_zoo(MODEL)
    epochs = sorted(int(path.stem.split("-")[-1]) for path in SNAPSHOTS)
    about = {"epochs": record["train"]["epochs"], "snapshots": epochs}
    made = {"weights.js": ("weights", weights(model) | about), "images.js": ("images", images())}
    for path in SNAPSHOTS:
        epoch = path.stem.split("-")[-1]
        made[f"weights-{epoch}.js"] = (f"weights_{epoch}", weights(load_weights(path)))
    for name, (key, content) in made.items():
        write_atomically(folder / name, f"{BEFORE}.{key} = {json.dumps(content)};\n".encode())
    return [folder / name for name in made]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    for path in write(parser.parse_args().folder):
        print(f"{path}: {path.stat().st_size / 1e3:.0f} kB")
