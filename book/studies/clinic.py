"""Measure what each fault of the bug clinic costs: train the healthy model and every patient, seed by seed.

    python book/studies clinic        # --dry for a trial of a minute

Model and training are those of the recipe shapes-quick, chapter 8's live run, with eight passes. Two patients bring
AdamW and settings of their own; they are compared with a healthy model that AdamW trained. Patients and healthy model
share a seed's initial weights, batches and test images, so differences are paired. Each run is kept when it ends in
runs/clinic.json; the same command goes on from there. When all are done, the record is written to
vitlib/zoo/clinic.json. With --partial it is written from the seeds that are complete, and names what is missing.
"""

import argparse
import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from statistics import mean, stdev

import torch

from vitlib.checkpoint import ZOO, environment, save_record
from vitlib.clinic import PATIENTS, plant
from vitlib.data import ImageSet
from vitlib.recipes import RECIPES
from vitlib.scores import STUDENT
from vitlib.shapes import shapes
from vitlib.train import TrainConfig, evaluate, fit
from vitlib.vit import ViT, ViTConfig

T95 = dict(enumerate(STUDENT, 2))  # by the number of values, n - 1 degrees
METHOD = "95 % t interval of the paired differences, healthy minus patient at the same seed, in points of accuracy"
POOLED = ("; the scatter of a run is what seed and patient do not explain, estimated together from all patients within "
          "10 points of the healthy model; the others have intervals of their own")
NEAR = 10.0  # points: who ends further from the healthy model than this scatters in another way


@dataclass(frozen=True)
class Part:
    """One healthy model, its images and training, and the patients that are compared with it."""

    data: Callable[[], tuple[ImageSet, ImageSet]]
    train: TrainConfig
    seeds: int
    patients: tuple[str, ...] = tuple(PATIENTS)


@cache
def shapes_data() -> tuple[ImageSet, ImageSet]:
    return shapes(9000, seed=14), shapes(5000, seed=41)


def run(name: str, seed: int, model: ViTConfig, config: TrainConfig, train: ImageSet,
        test: ImageSet) -> dict[str, dict]:
    """Train one patient; or the healthy model, which is scored in the ways of the other patients too."""
    torch.manual_seed(seed)
    model = ViT(model)
    if name != "healthy":
        model, config = plant(name, model, config)
    try:
        history = fit(model, train, config)
    except FloatingPointError as error:  # the loss became no number: what is left guesses
        return {name: {"accuracy": 1 / len(train.classes), "train_loss": [], "stopped": str(error)}}
    losses = [round(row["train_loss"], 4) for row in history]
    torch.manual_seed(seed)
    scores = {name: PATIENTS[name].score if name in PATIENTS else evaluate}
    if name == "healthy":
        scores |= {n: PATIENTS[n].score for n in PATIENTS if not is_trained(n)}
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


def student(degrees: int) -> float:
    """The 97.5 % point of Student's t, right to two digits from four degrees on (an expansion about the normal's)."""
    z = 1.959964
    terms = ((z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96, (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
             (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160)
    return T95.get(degrees + 1, z + sum(term / degrees**k for k, term in enumerate(terms, 1)))


def scatter(rows: list[list[float]]) -> tuple[float, int]:
    """Accuracies of k conditions at n seeds -> std of one run in points, and (k - 1)(n - 1) degrees of freedom.

    What neither the condition's mean nor the seed's explains is chance (a two-way analysis of variance).
    """
    table = 100 * torch.tensor(rows, dtype=torch.float64)  # (k, n)
    left = table - table.mean(0) - table.mean(1, keepdim=True) + table.mean()
    degrees = (len(rows) - 1) * (len(rows[0]) - 1)
    return (left.square().sum() / degrees).sqrt().item(), degrees


def costs(accuracy: dict[str, list[float]]) -> tuple[dict, dict]:
    """Every patient's cost, and how far runs scatter, with the patients that say so."""
    found = {name: cost(accuracy["healthy"], ill) for name, ill in accuracy.items() if name != "healthy"}
    near = [name for name in found if is_trained(name) and abs(found[name]["mean"]) <= NEAR]
    if not near:
        return found, {"patients": []}
    deviation, degrees = scatter([accuracy[name] for name in ("healthy", *near)])
    half = student(degrees) * deviation * math.sqrt(2 / len(accuracy["healthy"]))
    for name in near:
        middle = found[name]["mean"]
        found[name]["interval_95"] = [round(middle - half, 3), round(middle + half, 3)]
    return found, {"patients": near, "deviation": round(deviation, 4), "degrees": degrees,
                   "t": round(student(degrees), 3), "half_width": round(half, 3)}


def train_seed(seed: int, label: str, part: Part, record: dict, path: Path, dry: bool) -> None:
    """All runs of one seed that the record does not hold yet."""
    try:
        train, test = part.data()
    except FileNotFoundError as error:
        return print(f"{label} is left out: {error}")
    if dry:
        train, test = (images.subset(torch.arange(0, len(images), len(images) // 200)) for images in (train, test))
    kept = record["data"].setdefault(label, {
        "images": train.name, "train_images": len(train), "test_images": len(test),
        "train": asdict(part.train) | {"seed": "one for each run"},
        "seeds": list(range(2 if dry else part.seeds)), "runs": {}})
    if seed not in kept["seeds"]:
        return
    for name in ["healthy", *filter(is_trained, part.patients)]:
        runs = kept["runs"].setdefault(name, {})
        if str(seed) in runs:
            continue
        start = time.perf_counter()
        found = run(name, seed, ViTConfig(**record["model"]), replace(part.train, seed=seed), train, test)
        for scored, result in found.items():
            if scored in ("healthy", *part.patients):
                kept["runs"].setdefault(scored, {})[str(seed)] = result
        record["seconds"] = round(record["seconds"] + time.perf_counter() - start, 1)
        save_record(path, record)
        print(f"{label}, seed {seed}: {name} {runs[str(seed)]['accuracy']:.1%}", flush=True)


def has_pairs(part: dict) -> bool:
    """Whether two seeds are done: an interval needs them."""
    return all(str(seed) in runs for runs in part["runs"].values() for seed in part["seeds"][:2])


def summarise(part: dict) -> dict:
    """A part of the record as it is published: accuracies by seed, costs, and the loss curve of the first seed."""
    runs = part["runs"]
    seeds = [seed for seed in part["seeds"] if all(str(seed) in runs[name] for name in runs)]
    accuracy = {name: [round(runs[name][str(seed)]["accuracy"], 4) for seed in seeds] for name in runs}
    found, pool = costs(accuracy)
    stopped = {name: [s for s, result in runs[name].items() if "stopped" in result] for name in runs}
    missing = [seed for seed in part["seeds"] if seed not in seeds]
    return part | {"seeds": seeds, "runs": accuracy, "costs": found, "pool": pool,
                   "train_loss_of_first_seed": {name: runs[name][str(seeds[0])]["train_loss"] for name in runs},
                   "stopped_without_a_number": {name: s for name, s in stopped.items() if s}} | (
                       {"not done": missing} if missing else {})


def collect(name: str, model: ViTConfig, parts: dict[str, Part]) -> None:
    """Run what the command asks for, and write the record `name`."""
    parser = argparse.ArgumentParser(description=f"Run the study {name}: every patient beside the healthy model.")
    parser.add_argument("--work", type=Path, default=Path(f"runs/{name}.json"), help="where runs are kept as they end")
    parser.add_argument("--out", type=Path, default=ZOO / f"{name}.json", help="the finished record")
    parser.add_argument("--dry", action="store_true", help="two seeds, 200 images, nothing written to --out")
    parser.add_argument("--partial", action="store_true", help="train nothing: write the record of what is done")
    args = parser.parse_args()
    path = args.work.with_stem(args.work.stem + "-dry") if args.dry else args.work
    torch.set_num_threads(1)  # the models are so small that a second thread mostly waits
    begun = {"about": f"python book/studies {name}", **environment(), "model": asdict(model),
             "interval": METHOD + POOLED, "seconds": 0.0, "data": {}}
    record = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else begun
    for key in ("commit", "torch"):
        if (old := record[key]) != begun[key] and not args.partial:
            raise ValueError(f"{path} was begun with {key} {old}, this is {begun[key]}; go back to that to go on, "
                             "or delete the file to start again")
    if not args.partial:
        for seed in range(max(part.seeds for part in parts.values())):  # cut off, it has whole seeds of all parts
            for label, part in parts.items():
                train_seed(seed, label, part, record, path, args.dry)
    record["data"] = {name: summarise(part) for name, part in record["data"].items() if has_pairs(part)}
    print(*(f"{data}: {name} {c['mean']:+.1f} {c['interval_95']}" for data, part in record["data"].items()
            for name, c in part["costs"].items()), sep="\n")
    if missing := [label for label in parts if label not in record["data"]]:
        record["not done"] = missing
    if missing and not args.partial:
        print(f"not written to {args.out}, because a part is missing: {', '.join(missing)}")
    elif not args.dry:
        save_record(args.out, record)


def main() -> None:
    model, train = RECIPES["shapes-quick"].model, replace(RECIPES["shapes-quick"].train, epochs=8)
    slow = replace(train, optimizer="adamw", lr=3e-3, warmup=0.1, epochs=24)  # AdamW needs more steps than Muon
    own = tuple(name for name, patient in PATIENTS.items() if patient.training)  # they bring AdamW
    collect("clinic", model, {"Shapes": Part(shapes_data, train, 5, tuple(n for n in PATIENTS if n not in own)),
                              "Shapes, AdamW": Part(shapes_data, slow, 3, own)})
