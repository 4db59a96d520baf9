"""Measure what each fault of the bug clinic costs: train the healthy model and every patient, seed by seed.

    python book/studies clinic        # --dry for a trial of a minute

Patients and healthy model share a seed's initial weights, batches and test images, so differences are paired.
Each run is kept when it ends in runs/clinic.json; the same command goes on from there. When all are done, the
record is written to vitlib/zoo/clinic.json. CIFAR-10 is left out, with a line that says so, where there is none.
"""

import argparse
import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from statistics import mean, stdev

import torch

from vitlib.checkpoint import ZOO, environment, save_record
from vitlib.clinic import PATIENTS, plant
from vitlib.data import ImageSet, stratified_split
from vitlib.shapes import shapes
from vitlib.sources import load_cifar10
from vitlib.train import TrainConfig, evaluate, fit
from vitlib.vit import ViT, ViTConfig

MODEL = ViTConfig(patch_size=8, dim=48, depth=4, heads=4)
T95 = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 8: 2.365, 10: 2.262}  # 97.5 % of Student, n - 1 degrees
METHOD = "95 % t interval of the paired differences, healthy minus patient at the same seed, in points of accuracy"


def shapes_data() -> tuple[ImageSet, ImageSet]:
    return shapes(4000, seed=14), shapes(5000, seed=41)


def cifar_data() -> tuple[ImageSet, ImageSet]:
    train, test = load_cifar10()
    return stratified_split(train, 0.2)[1], test  # 1,000 training images a class


STUDIES: dict[str, tuple[Callable, TrainConfig, int]] = {  # data, healthy training, number of seeds
    "Shapes": (shapes_data, TrainConfig(epochs=10, batch_size=100, lr=3e-3, warmup=0.1), 5),
    "CIFAR-10": (cifar_data, TrainConfig(epochs=4, batch_size=100, lr=3e-3, warmup=0.1), 3),
}


def healthy(config: ViTConfig, seed: int) -> ViT:
    torch.manual_seed(seed)
    return ViT(config)


def run(name: str, seed: int, config: TrainConfig, train: ImageSet, test: ImageSet) -> dict[str, dict]:
    """Train one patient, or the healthy model and score it by every patient's way of scoring."""
    model = healthy(MODEL, seed)
    if name != "healthy":
        model, config = plant(name, model, config)
    try:
        history = fit(model, train, config)
    except FloatingPointError as error:  # the loss became no number: what is left guesses
        return {name: {"accuracy": 1 / len(train.classes), "train_loss": [], "stopped": str(error)}}
    losses = [round(row["train_loss"], 4) for row in history]
    torch.manual_seed(seed)
    if name != "healthy":
        return {name: {"accuracy": PATIENTS[name].score(model, test)["accuracy"], "train_loss": losses}}
    scores = {"healthy": evaluate} | {n: PATIENTS[n].score for n in PATIENTS if not is_trained(n)}
    return {n: {"accuracy": score(model, test)["accuracy"], "train_loss": losses} for n, score in scores.items()}


def is_trained(name: str) -> bool:
    """Whether the fault is in the training; if not, it is in the scoring of a healthy model."""
    return PATIENTS[name].score is evaluate


def cost(well: list[float], ill: list[float]) -> dict:
    """Mean and interval of the paired differences, in points."""
    differences = [100 * (a - b) for a, b in zip(well, ill, strict=True)]
    half = T95[len(differences)] * stdev(differences) / math.sqrt(len(differences))
    middle = mean(differences)
    return {"mean": round(middle, 3), "interval_95": [round(middle - half, 3), round(middle + half, 3)]}


def study(label: str, record: dict, path: Path, seeds: int, dry: bool) -> None:
    """All runs of one data set that the record does not hold yet."""
    make, config, _ = STUDIES[label]
    try:
        train, test = make()
    except FileNotFoundError as error:
        return print(f"{label} is left out: {error}")
    if dry:
        train, test = (part.subset(torch.arange(0, len(part), len(part) // 200)) for part in (train, test))
    part = record["data"].setdefault(train.name, {
        "train_images": len(train), "test_images": len(test), "train": asdict(config) | {"seed": "one for each run"},
        "seeds": list(range(seeds)), "runs": {}})
    for seed in part["seeds"]:
        for name in ["healthy", *filter(is_trained, PATIENTS)]:
            runs = part["runs"].setdefault(name, {})
            if str(seed) in runs:
                continue
            start = time.perf_counter()
            for scored, result in run(name, seed, TrainConfig(**asdict(config) | {"seed": seed}), train, test).items():
                part["runs"].setdefault(scored, {})[str(seed)] = result
            record["seconds"] = round(record["seconds"] + time.perf_counter() - start, 1)
            save_record(path, record)
            print(f"{label}, seed {seed}: {name} {runs[str(seed)]['accuracy']:.1%}", flush=True)


def summarise(part: dict) -> dict:
    """A part of the record as it is published: accuracies by seed, costs, and the loss curve of the first seed."""
    runs, first = part["runs"], str(part["seeds"][0])
    accuracy = {name: [runs[name][str(seed)]["accuracy"] for seed in part["seeds"]] for name in runs}
    costs = {name: cost(accuracy["healthy"], accuracy[name]) for name in runs if name != "healthy"}
    stopped = {name: [s for s, result in runs[name].items() if "stopped" in result] for name in runs}
    return part | {"runs": {name: [round(a, 4) for a in values] for name, values in accuracy.items()}, "costs": costs,
                   "train_loss_of_first_seed": {name: runs[name][first]["train_loss"] for name in runs},
                   "stopped_without_a_number": {name: seeds for name, seeds in stopped.items() if seeds}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=Path("runs/clinic.json"), help="where runs are kept as they end")
    parser.add_argument("--out", type=Path, default=ZOO / "clinic.json", help="the finished record")
    parser.add_argument("--dry", action="store_true", help="two seeds, 200 images, nothing written to --out")
    args = parser.parse_args()
    path = args.work.with_stem(args.work.stem + "-dry") if args.dry else args.work
    begun = {"about": "python book/studies clinic", **environment(), "model": asdict(MODEL), "interval": METHOD,
             "t_97.5": {}, "seconds": 0.0, "data": {}}
    record = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else begun
    for name in ("commit", "torch"):
        if (old := record[name]) != begun[name]:
            raise ValueError(f"{path} was begun with {name} {old}, this is {begun[name]}; go back to that to go on, "
                             "or delete the file to start again")
    for label, (_, _, seeds) in STUDIES.items():
        study(label, record, path, 2 if args.dry else seeds, args.dry)
    record["data"] = {name: summarise(part) for name, part in record["data"].items()}
    record["t_97.5"] = {str(n): T95[n] for n in sorted({len(part["seeds"]) for part in record["data"].values()})}
    print(*(f"{data}: {name} {c['mean']:+.1f} {c['interval_95']}" for data, part in record["data"].items()
            for name, c in part["costs"].items()), sep="\n")
    if len(record["data"]) < len(STUDIES):
        print(f"not written to {args.out}, because a part is missing")
    elif not args.dry:
        save_record(args.out, record)
