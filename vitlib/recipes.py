"""Named recipes: which model, trained how. Each differs from the default for a reason that stands beside it."""

from dataclasses import dataclass

from .train import TrainConfig
from .vit import ViTConfig


@dataclass(frozen=True)
class Recipe:
    """A model, its training, the data it is meant for, and one line of what it is for."""

    model: ViTConfig
    train: TrainConfig
    data: str
    about: str


RECIPES = {
    "shapes-quick": Recipe(
        ViTConfig(patch_size=8, dim=64, depth=4, heads=4),
        TrainConfig(epochs=8, batch_size=100, optimizer="muon", crop=3),
        data="shapes", about="the book's live run: half a minute on two CPU cores"),
    "shapes-tiny": Recipe(
        ViTConfig(patch_size=4, dim=64, depth=4, heads=4),  # an 8×8 grid and a class token: maps worth looking at
        TrainConfig(epochs=12, batch_size=100, optimizer="muon", crop=3),
        data="shapes", about="the zoo's model of chapter 12: two and a half minutes on two CPU cores"),
    "shapes-scattered": Recipe(
        ViTConfig(patch_size=4, dim=64, depth=4, heads=4),
        TrainConfig(epochs=24, batch_size=100, optimizer="muon", crop=3),  # smaller objects anywhere: twice as long
        data="shapes-scattered", about="the zoo's model of chapter 13: five minutes on two CPU cores"),
    "cifar10-tiny": Recipe(
        # mean pooling: every patch gets a gradient; sincos: places are known from the first step;
        # patch_drop: cheaper steps, so more of them in the same time
        ViTConfig(dim=96, depth=4, heads=3, pool="mean", positions="sincos", patch_drop=0.25),
        # muon: fewer steps; its rate was chosen on a validation split
        TrainConfig(epochs=14, optimizer="muon", muon_lr=0.01, lr=3e-3, calm=0.28),  # calm: whole images at the end
        data="cifar10", about="20 minutes on two CPU cores"),
}
