"""Climb from a tutorial's training to the book's, one change at a time, with several seeds for every step.

    python book/tools/staircase.py        # --dry for a trial of a minute

A rung keeps all changes of the rungs below it. All rungs of a seed share order and augmentation, so gains are paired.
The score is the accuracy on a stratified tenth of the training images; the test set stays shut. Each run is kept when
it ends in runs/staircase.json, and the same command goes on from there; when all are done, the record is written to
vitlib/zoo/staircase.json. Two runs go side by side, one thread each: that is quicker than one after the other.
"""

import argparse
import json
import os
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, replace
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import torch
from bench import training_flops
from clinic import METHOD, cost

from vitlib.checkpoint import ZOO, environment, save_record
from vitlib.cli import keep_memory
from vitlib.data import ImageSet, load_cifar10, stratified_split
from vitlib.recipes import RECIPES
from vitlib.train import TrainConfig, fit
from vitlib.vit import ViT, ViTConfig

SEEDS = (0, 1, 2)
START = RECIPES["tintn"].model, replace(RECIPES["tintn"].train, epochs=3)
RUNGS: dict[str, tuple[str, dict, dict]] = {  # title: what changes in words, in the model, in the training
    "a tutorial's recipe": ("tintn 2023: width 48, batches of 256, AdamW at 0.01 from first to last", {}, {}),
    "a rate that falls": ("5 % warm-up to 0.005, then a straight line to 0; gradients clipped", {},
                          {"lr": 5e-3, "warmup": 0.05, "schedule": "linear", "clip": 1.0, "weight_decay": 0.05,
                           "betas": (0.9, 0.98)}),
    "smaller batches": ("128 images a step, not 256: twice as many steps", {}, {"batch_size": 128}),
    "mean pooling": ("the mean of all patches, not a class token", {"pool": "mean"}, {}),
    "fixed positions": ("sines and cosines in 2-D, not learned codes", {"positions": "sincos"}, {}),
    "Muon": ("Muon for the blocks' matrices, at 0.01; AdamW at 0.003 for the rest", {},
             {"optimizer": "muon", "muon_lr": 0.01, "lr": 3e-3}),
    "convolutional stem": ("two small convolutions cut the image: a hybrid", {"stem": "conv"}, {}),
    "twice the width": ("width 96 and 3 heads", {"dim": 96, "heads": 3}, {}),
}


def configurations() -> dict[str, tuple[ViTConfig, TrainConfig]]:
    """Every rung with the changes of all rungs below it."""
    model, training = START
    found = {}
    for title, (_, model_changes, training_changes) in RUNGS.items():
        model, training = replace(model, **model_changes), replace(training, **training_changes)
        found[title] = model, training
    return found


@cache
def data(dry: bool) -> tuple[ImageSet, ImageSet]:
    """45,000 training and 5,000 validation images."""
    train, validation = stratified_split(load_cifar10()[0], 0.1, seed=0)
    if dry:
        train, validation = (part.subset(torch.arange(0, len(part), len(part) // 256)) for part in (train, validation))
    return train, validation


def run(title: str, seed: int, dry: bool) -> dict:
    """Train one rung with one seed, in a process of its own."""
    torch.set_num_threads(1)
    keep_memory()
    model_config, config = configurations()[title]
    train, validation = data(dry)
    torch.manual_seed(seed)
    model = ViT(model_config)
    history = fit(model, train, replace(config, seed=seed), validation)
    names = ("validation_accuracy", "train_loss", "train_accuracy")
    return {name: history[-1][name] for name in names} | {"seconds": round(sum(row["seconds"] for row in history), 1)}


def summarise(record: dict) -> dict:
    """Accuracies by seed, the gain over the rung below with its interval, and what a run costs."""
    rungs, below = [], None
    for title, (model, training) in configurations().items():
        runs = [record["runs"][f"{title}, seed {seed}"] for seed in record["seeds"]]
        accuracy = [run["validation_accuracy"] for run in runs]
        flops = training_flops(ViT, model) * record["training images"] * training.epochs
        rungs.append({"rung": title, "change": RUNGS[title][0], "model": asdict(model),
                      "train": asdict(training) | {"seed": "one for each run"}, "accuracy": accuracy,
                      "gain": cost(accuracy, below) if below else None, "petaflop": round(flops / 1e15, 4),
                      "train_accuracy": [run["train_accuracy"] for run in runs],
                      "seconds": [run["seconds"] for run in runs]})
        below = accuracy
    return {name: value for name, value in record.items() if name != "runs"} | {"rungs": rungs}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=Path("runs/staircase.json"),
                        help="where runs are kept as they end")
    parser.add_argument("--out", type=Path, default=ZOO / "staircase.json", help="the finished record")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="runs side by side, one thread each")
    parser.add_argument("--dry", action="store_true", help="256 images, nothing written to --out")
    args = parser.parse_args()
    path = args.work.with_stem(args.work.stem + "-dry") if args.dry else args.work
    train, validation = data(args.dry)
    torch.set_num_threads(1)
    begun = {"about": "python book/tools/staircase.py", **environment(), "data": train.name,
             "training images": len(train), "validation images": len(validation), "seeds": list(SEEDS),
             "interval": METHOD.replace("healthy minus patient", "a rung minus the rung below"), "runs": {}}
    record = json.loads(path.read_text()) if path.is_file() else begun
    if (old := record["commit"]) != begun["commit"]:
        raise ValueError(f"{path} was begun at commit {old}, this is {begun['commit']}; check that commit out to go "
                         "on, or delete the file to start again")
    wanted = [(title, seed) for seed in SEEDS for title in RUNGS if f"{title}, seed {seed}" not in record["runs"]]
    with ProcessPoolExecutor(args.workers, get_context("spawn")) as pool:
        jobs = {pool.submit(run, title, seed, args.dry): f"{title}, seed {seed}" for title, seed in wanted}
        for job in as_completed(jobs):
            record["runs"][jobs[job]] = job.result()
            save_record(path, record)
            print(f"{jobs[job]}: {job.result()['validation_accuracy']:.1%}", flush=True)
    record = summarise(record)
    for rung in record["rungs"]:
        print(rung["rung"], *(f"{a:.1%}" for a in rung["accuracy"]), rung["gain"], f"{rung['petaflop']} PFLOP")
    if not args.dry:
        save_record(args.out, record)


if __name__ == "__main__":
    main()
