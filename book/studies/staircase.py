"""Climb from a tutorial's training to the book's, step by step, with several seeds for every step.

    python book/studies staircase        # --dry for a trial of a minute

A rung keeps all changes of the rungs below it. The rungs of a seed share order and augmentation
where their batches are alike, and gains are paired.
The score is the accuracy on a stratified tenth of the training images; the test set stays shut.
"""

from dataclasses import asdict, replace

import torch
from bench import training_flops
from clinic import METHOD, cost
from study import SEEDS, collect, data, one_thread, train_and_score

from vitlib.recipes import RECIPES
from vitlib.train import TrainConfig
from vitlib.vit import ViT, ViTConfig

START = RECIPES["tintn"].model, replace(RECIPES["tintn"].train, epochs=4)
RUNGS: dict[str, tuple[str, dict, dict]] = {  # title: what changes in words, in the model, in the training
    "a tutorial's recipe": ("tintn 2023: width 48, batches of 256, AdamW at 0.01 from first to last", {}, {}),
    "a rate that falls": ("5 % warm-up to 0.002, then a straight line to 0; gradients clipped", {},
                          {"lr": 2e-3, "warmup": 0.05, "schedule": "linear", "clip": 1.0, "weight_decay": 0.05,
                           "betas": (0.9, 0.98)}),
    "smaller batches": ("64 images a step, not 256: four times as many steps", {}, {"batch_size": 64}),
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


def run(title: str, seed: int, dry: bool) -> dict:
    """Train one rung with one seed."""
    one_thread()
    model_config, config = configurations()[title]
    train, validation = data(dry)
    torch.manual_seed(seed)
    model = ViT(model_config)
    return train_and_score(model, train, validation, replace(config, seed=seed))


def summarise(runs: dict) -> dict:
    """Accuracies by seed, the gain over the rung below with its interval, and what a run costs."""
    rungs, below = [], None
    images = len(data(False)[0])
    for title, (model, training) in configurations().items():
        of_rung = [runs[f"{title}, seed {seed}"] for seed in SEEDS]
        accuracy = [run["validation_accuracy"] for run in of_rung]
        flops = training_flops(ViT, model) * images * training.epochs
        rungs.append({"rung": title, "change": RUNGS[title][0], "model": asdict(model),
                      "train": asdict(training) | {"seed": "one for each run"}, "accuracy": accuracy,
                      "gain": cost(accuracy, below) if below else None, "petaflop": round(flops / 1e15, 4),
                      "train_accuracy": [run["train_accuracy"] for run in of_rung],
                      "seconds": [run["seconds"] for run in of_rung]})
        below = accuracy
    return {"rungs": rungs}


def main() -> None:
    collect("staircase", run, {f"{title}, seed {seed}": (title, seed) for seed in SEEDS for title in RUNGS},
            {"interval": METHOD.replace("healthy minus patient", "a rung minus the rung below")}, summarise)
