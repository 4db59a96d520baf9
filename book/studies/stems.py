"""Two stems, each with AdamW and with Muon for its convolutions: does the worth of one depend on the other?

    python book/studies stems            # --dry for a trial of a minute

Everything else is the staircase's last rung, which is the first of the four. All four of a seed share order and
augmentation, so differences are paired. The score is the accuracy on a stratified tenth of the training images; the
test set stays shut.
"""

from dataclasses import asdict, replace

import torch
from bench import training_flops
from clinic import METHOD, cost
from staircase import configurations
from study import SEEDS, collect, data, one_thread, train_and_score

from vitlib.vit import ViT

*_, (MODEL, TRAINING) = configurations().values()
WAYS = {(stem, by): (replace(MODEL, stem=stem), replace(TRAINING, optimizer=optimizer))
        for stem in ("conv", "residual") for by, optimizer in (("AdamW", "muon"), ("Muon", "muon+stem"))}


def run(stem: str, by: str, seed: int, dry: bool) -> dict:
    """Train one of the four with one seed."""
    one_thread()
    model_config, config = WAYS[stem, by]
    train, validation = data(dry)
    torch.manual_seed(seed)
    model = ViT(model_config)
    return train_and_score(model, train, validation, replace(config, seed=seed))


def summarise(runs: dict) -> dict:
    """Accuracies by seed, what each change brings beside each choice of the other, and whether that is the same."""
    images, ways, accuracy = len(data(False)[0]), [], {}
    for (stem, by), (model, training) in WAYS.items():
        of_way = [runs[f"{stem}, {by}, seed {seed}"] for seed in SEEDS]
        accuracy[stem, by] = [run["validation_accuracy"] for run in of_way]
        flops = training_flops(ViT, model) * images * training.epochs
        ways.append({"stem": stem, "stem by": by, "model": asdict(model),
                     "train": asdict(training) | {"seed": "one for each run"}, "petaflop": round(flops / 1e15, 4),
                     "accuracy": accuracy[stem, by], "train_accuracy": [run["train_accuracy"] for run in of_way],
                     "seconds": [run["seconds"] for run in of_way]})
    gains = {f"Muon, {stem}": cost(accuracy[stem, "Muon"], accuracy[stem, "AdamW"]) for stem in ("conv", "residual")}
    gains |= {f"residual, {by}": cost(accuracy["residual", by], accuracy["conv", by]) for by in ("AdamW", "Muon")}
    together = [d - c - b + a for a, b, c, d in zip(*accuracy.values(), strict=True)]
    return {"ways": ways, "gains": gains | {"more together than apart": cost(together, [0.0] * len(SEEDS))}}


def main() -> None:
    collect("stems", run, {f"{stem}, {by}, seed {seed}": (stem, by, seed) for seed in SEEDS for stem, by in WAYS},
            {"interval": METHOD.replace("healthy minus patient", "one way minus another")}, summarise)
