"""What each fault of a masked autoencoder costs on Shapes: the same pre-training, healthy and ill, seed by seed.

    python book/studies mae_faults        # --dry for a trial of a minute

All of a seed start from the same weights and see the same batches and noise, so differences are paired. The score is
the accuracy of a linear probe on the last block's frozen features, fitted to the labels of the images of the
pre-training and scored on new ones. Each run is kept in runs/mae_faults.json when it ends.
"""

import argparse
import json
import time
from dataclasses import asdict, replace
from pathlib import Path
from statistics import mean

import torch
from clinic import cost

from vitlib.checkpoint import ZOO, environment, save_record
from vitlib.devices import keep_memory
from vitlib.mae import MAEConfig, MaskedAutoencoder
from vitlib.mae_clinic import FAULTS, infect
from vitlib.pretrain import layer_features, pretrain
from vitlib.shapes import shapes
from vitlib.train import TrainConfig
from vitlib.transfer import linear_probe
from vitlib.vit import ViT, ViTConfig

VIT = ViTConfig(dim=48, depth=4, heads=4, pool="mean", positions="sincos")
MAE = MAEConfig(normalised=False)  # on these pictures; see the case with normalised targets
TRAINING = TrainConfig(epochs=8, batch_size=50, optimizer="muon", muon_lr=0.02, lr=3e-3, crop=3)
SEEDS = range(3)
PENALTY = 1e-3
CASES = ("healthy", *FAULTS, "normalised targets", "untrained")
INTERVAL = "95 % t interval of the paired differences, healthy minus faulty at the same seed, in points of accuracy"


def run(case: str, seed: int, dry: bool) -> dict:
    """One pre-training and the accuracy of a probe on each block's features."""
    train, test = shapes(200 if dry else 4000, seed=16), shapes(200 if dry else 4000, seed=61)
    torch.manual_seed(seed)
    model = MaskedAutoencoder(ViT(VIT), replace(MAE, normalised=case == "normalised targets"))
    model = infect(model, case) if case in FAULTS else model
    history = [] if case == "untrained" else pretrain(model, train, replace(TRAINING, seed=seed))
    with torch.no_grad():
        if case == "pixels from 0 to 255":  # the probe's images are normalised: let the first layer undo it
            proj = model.encoder.patch_embed.proj
            proj.bias += 127.5 * proj.weight.sum(dim=(1, 2, 3))
            proj.weight *= 63.75
        features, held = (layer_features(model.encoder, part.images) for part in (train, test))
    probes = [linear_probe(x, train.labels, 10, PENALTY) for x in features]
    right = [(probe(x).argmax(dim=1) == test.labels).float().mean().item() for probe, x in zip(probes, held)]
    return {"loss": [round(row["loss"], 4) for row in history], "blocks": [round(a, 4) for a in right]}


def summarise(runs: dict) -> dict:
    """Accuracies by seed, what each fault costs, and what the other blocks of a healthy model cost."""
    blocks = {case: [runs[f"{case}, seed {seed}"]["blocks"] for seed in SEEDS] for case in CASES}
    last = {case: [row[-1] for row in rows] for case, rows in blocks.items()}
    return {"accuracy": last, "costs": {case: cost(last["healthy"], last[case]) for case in CASES if case != "healthy"},
            "blocks of the healthy": [[row[i] for row in blocks["healthy"]] for i in range(VIT.depth)],
            "cost of each block": [cost(last["healthy"], [row[i] for row in blocks["healthy"]])
                                   for i in range(VIT.depth - 1)],
            "last loss": {case: round(mean(runs[f"{case}, seed {seed}"]["loss"][-1] for seed in SEEDS), 4)
                          for case in CASES if case != "untrained"}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=Path("runs/mae_faults.json"), help="where runs are kept")
    parser.add_argument("--out", type=Path, default=ZOO / "mae_faults.json", help="the finished record")
    parser.add_argument("--dry", action="store_true", help="200 images, nothing written to --out")
    args = parser.parse_args()
    path = args.work.with_stem(args.work.stem + "-dry") if args.dry else args.work
    torch.set_num_threads(1)
    keep_memory()
    begun = {"about": "python book/studies mae_faults", **environment(), "model": asdict(VIT),
             "autoencoder": asdict(MAE), "pre-training": asdict(TRAINING) | {"seed": "one for each run"},
             "training images": 4000, "test images": 4000, "seeds": list(SEEDS), "interval": INTERVAL, "seconds": 0.0,
             "runs": {}}
    record = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else begun
    for name in ("commit", "torch"):
        if (old := record[name]) != begun[name]:
            raise ValueError(f"{path} was begun with {name} {old}, this is {begun[name]}; go back to that to go on, "
                             "or delete the file to start again")
    for title, job in {f"{case}, seed {seed}": (case, seed) for seed in SEEDS for case in CASES}.items():
        if title not in record["runs"]:
            start = time.process_time()
            record["runs"][title] = run(*job, args.dry)
            record["seconds"] = round(record["seconds"] + time.process_time() - start, 1)
            save_record(path, record)
            print(title, record["runs"][title], flush=True)
    record |= summarise(record.pop("runs"))
    print(json.dumps(record["costs"], indent=1))
    if not args.dry:
        save_record(args.out, record)
