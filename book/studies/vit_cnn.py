"""ViT, hybrid and convolutional network side by side: many images and few, for the same passes and the same time.

    python book/studies vit_cnn          # --dry for a trial of a minute

All runs of a seed share order and augmentation, so differences are paired. The score is the accuracy on a stratified
tenth of the training images; the test set stays shut. Fewer images are a stratified part of the other nine tenths.
"""

from collections.abc import Callable
from dataclasses import asdict, replace
from itertools import combinations

import torch
from bench import training_flops
from clinic import METHOD, cost
from study import SEEDS, collect, data, one_thread, train_and_score
from torch import nn

from vitlib.data import stratified_split
from vitlib.recipes import HYBRID, PLAIN, SHORT
from vitlib.resnet import resnet18
from vitlib.train import TrainConfig
from vitlib.vit import ViT

TRANSFORMER = replace(SHORT, batch_size=64, calm=0.34)  # the last third on whole images
CONVOLUTION = replace(TRANSFORMER, optimizer="adamw", lr=1e-3)  # of 0.001, 0.003 and 0.01 the best after one pass
CONTENDERS: dict[str, tuple[Callable[[], nn.Module], TrainConfig]] = {
    "ViT": (lambda: ViT(PLAIN), TRANSFORMER),
    "hybrid": (lambda: ViT(HYBRID), TRANSFORMER),
    "narrow ResNet-18": (lambda: resnet18(width=16), CONVOLUTION),
    "ResNet-18": (resnet18, CONVOLUTION),
}
SHARES = {0.01: 40, 0.1: 10, 1.0: 3}  # share of the training images -> passes over them
FULL = 1 / 4, 1  # the whole ResNet-18 sees a quarter of the images once in the time of the others' three passes


def wanted() -> dict[str, tuple]:
    """Every run: contender, share, passes, seed."""
    plan = [(name, share, passes) for share, passes in SHARES.items() for name in list(CONTENDERS)[:3]]
    plan += [("ResNet-18", *FULL)]
    return {f"{name}, {share:.0%}, seed {seed}": (name, share, passes, seed)
            for seed in SEEDS for name, share, passes in plan}


def run(name: str, share: float, passes: int, seed: int, dry: bool) -> dict:
    """Train one contender on a share of the images, the same share for all contenders of a seed."""
    one_thread()
    train, validation = data(dry)
    if share < 1 and not dry:
        train = stratified_split(train, share, seed=seed)[1]
    build, config = CONTENDERS[name]
    torch.manual_seed(seed)
    model = build()
    return train_and_score(model, train, validation, replace(config, seed=seed, epochs=passes)) | {"images": len(train)}


def summarise(runs: dict) -> dict:
    """By contender and share: accuracies by seed, and the differences of each two with intervals; what a step costs."""
    found, differences = [], []
    for title, (name, share, passes, _) in wanted().items():
        if not title.endswith(f"seed {SEEDS[0]}"):
            continue
        of_seeds = [runs[title.replace(f"seed {SEEDS[0]}", f"seed {seed}")] for seed in SEEDS]
        found.append({"contender": name, "share": share, "passes": passes, "images": of_seeds[0]["images"],
                      "accuracy": [run["validation_accuracy"] for run in of_seeds],
                      "train_accuracy": [run["train_accuracy"] for run in of_seeds],
                      "seconds": [run["seconds"] for run in of_seeds]})
    for one, other in combinations(found, 2):
        if one["share"] == other["share"]:
            differences.append({"of": other["contender"], "over": one["contender"], "share": one["share"],
                                **cost(other["accuracy"], one["accuracy"])})
    models = {}
    for name, (build, config) in CONTENDERS.items():
        models[name] = {"parameters": sum(p.numel() for p in build().parameters() if p.requires_grad),
                        "train": asdict(config),
                        "flops": training_flops(lambda _, build=build: build(), PLAIN)}  # one image's step
    return {"models": models, "runs": found, "differences": differences}


def main() -> None:
    collect("vit_cnn", run, wanted(),
            {"interval": METHOD.replace("healthy minus patient", "one contender minus another")}, summarise)
