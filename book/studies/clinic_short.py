"""The bug clinic with a training that stops far too early: what does a weak healthy model hide?

    python book/studies clinic_short  # --dry for a trial of a minute

Four blocks trained by AdamW, ten passes over 4,000 shapes and four over 10,000 photographs. No claim of chapter 14
about a fault rests on these runs; they show how wide intervals are when the healthy model is at 40 %. CIFAR-10 is left
out, with a line that says so, where there is none. Everything else is as in the study clinic.
"""

from functools import cache

from clinic import Part, collect

from vitlib.data import ImageSet, stratified_split
from vitlib.shapes import shapes
from vitlib.sources import load_cifar10
from vitlib.train import TrainConfig
from vitlib.vit import ViTConfig


@cache
def shapes_data() -> tuple[ImageSet, ImageSet]:
    return shapes(4000, seed=14), shapes(5000, seed=41)


@cache
def cifar_data() -> tuple[ImageSet, ImageSet]:
    train, test = load_cifar10()
    return stratified_split(train, 0.2)[1], test  # 1,000 training images a class


def main() -> None:
    collect("clinic_short", ViTConfig(patch_size=8, dim=48, depth=4, heads=4), {
        "Shapes": Part(shapes_data, TrainConfig(epochs=10, batch_size=100, lr=3e-3, warmup=0.1), 5),
        "CIFAR-10 (JPEG)": Part(cifar_data, TrainConfig(epochs=4, batch_size=100, lr=3e-3, warmup=0.1), 3)})
