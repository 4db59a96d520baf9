"""How fast does vitlib train, beside three tutorials and four libraries? One table, all in the same minutes.

    pip install -e '.[bench]'
    python book/studies bench            # --dry for a trial, --memory for each model's peak memory too

A step is forward, cross-entropy, backward and fused AdamW on one fixed batch: data loading is nobody's merit.
Weights are random, nothing is downloaded. Libraries run without dropout; a tutorial runs with its own rate and
is compared with vitlib at that rate, and with vitlib as this book trains it: without dropout, a quarter of the
patches left out.
"""

import argparse
import multiprocessing
import os
import random
import re
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from importlib import metadata
from pathlib import Path

import numpy as np
import torch
from bench_models import Transformers, part2, shaik, timm, tintn, torchvision, vit_pytorch
from torch import nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from vitlib.checkpoint import ZOO, environment, save_record
from vitlib.vit import ViT, ViTConfig

Builder = Callable[[ViTConfig], nn.Module]

LIBRARIES: dict[str, Builder] = {"timm": timm, "torchvision": torchvision, "vit-pytorch": vit_pytorch,
                                 "transformers": Transformers}
CONFIGS: dict[str, tuple[ViTConfig, str, Builder | None, float]] = {  # with the tutorial of that size and its dropout
    "d48": (ViTConfig(dim=48, depth=4, heads=4, mlp_ratio=4), "tintn 2023", tintn, 0.0),
    "d128": (ViTConfig(dim=128, depth=4, heads=8, mlp_ratio=2), "ViT tutorial part 2", part2, 0.1),
    "d256": (ViTConfig(dim=256, depth=6, heads=8, mlp_ratio=2), "Shaik 2023", shaik, 0.2),
    "d192": (ViTConfig(dim=192, depth=6, heads=3, mlp_ratio=4), "", None, 0.0),
}
BOOK = "vitlib, patch drop 0.25"
WARM_UP = 2  # rounds that do not count: allocation, thread pools, the choice of kernels
MATMUL = 2048  # side of the product that stands for the machine's peak
COLUMNS = "{:6}{:26}{:>10}{:>9}{:>8}{:>10}{:>9}  {:18}{:>6}"


def candidates(name: str) -> dict[str, tuple[Builder, ViTConfig, str]]:
    """Everything measured at a configuration: label -> builder, its configuration, the label it is compared with."""
    c, tutorial, build, rate = CONFIGS[name]
    found = {"vitlib": (ViT, c, "vitlib")} | {label: (build, c, "vitlib") for label, build in LIBRARIES.items()}
    own = f"vitlib, dropout {rate}" if rate else "vitlib"
    if rate:
        found[own] = (ViT, replace(c, dropout=rate), own)
    if build:
        found[BOOK] = (ViT, replace(c, patch_drop=0.25), "vitlib")
        found[tutorial] = (build, replace(c, dropout=rate), own)
    return found


def make_step(build: Builder, c: ViTConfig, batch: int) -> tuple[nn.Module, Callable[[], None]]:
    """A model and the function that trains it by one step; the same batch and optimiser for every model."""
    torch.manual_seed(0)
    images, labels = torch.randn(batch, c.channels, c.image_size, c.image_size), torch.randint(c.classes, (batch,))
    model = build(c).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05, fused=True)

    def step() -> None:
        optimizer.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        optimizer.step()
    return model, step


def seconds(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def training_flops(build: Builder, c: ViTConfig) -> int:
    """FLOPs of the matrix products of one image's step. Plain attention, as fused kernels compute some parts twice."""
    _, step = make_step(build, c, batch=1)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        step()
    return counter.get_total_flops()


def measure(name: str, batch: int, rounds: int) -> tuple[dict[str, list[float]], list[float]]:
    """Seconds of every candidate's steps, and of a large product, taken in turns so that all share slow moments."""
    steps = {label: make_step(build, c, batch)[1] for label, (build, c, _) in candidates(name).items()}
    a = torch.randn(MATMUL, MATMUL)
    steps[""] = lambda: a @ a
    times: dict[str, list[float]] = {label: [] for label in steps}
    for turn in range(WARM_UP + rounds):
        order = list(steps)
        random.Random(turn).shuffle(order)  # nobody always follows the same neighbour
        for label in order:
            times[label].append(seconds(steps[label]))
    kept = {label: series[WARM_UP:] for label, series in times.items()}
    return kept, kept.pop("")


def interval(ours: list[float], other: list[float]) -> tuple[float, float]:
    """95 % bootstrap interval of how many times faster we are, drawing whole rounds: their noise is common."""
    drawn = np.random.default_rng(0).integers(0, len(ours), (4000, len(ours)))
    ratios = np.median(np.array(other)[drawn], axis=1) / np.median(np.array(ours)[drawn], axis=1)
    low, high = np.percentile(ratios, (2.5, 97.5))
    return float(low), float(high)


def status(field: str) -> float:
    told = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(re.search(rf"{field}:\s+(\d+)", told)[1]) / 1024  # kB -> MB


def peak_memory(name: str, label: str, batch: int, threads: int) -> float:
    """MB that three steps need above the imported libraries. Called in a fresh process; Linux only."""
    torch.set_num_threads(threads)
    build, c, _ = candidates(name)[label]
    make_step(build, replace(c, dim=4 * c.heads, depth=1), 1)[1]()  # imports all that is imported on first use
    # The highest mark starts anew from here (getrusage's cannot).
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    before = status("VmRSS")
    _, step = make_step(build, c, batch)
    for _ in range(3):
        step()
    return status("VmHWM") - before


def bench(name: str, batch: int, rounds: int, memory: bool) -> dict:
    """Measure one configuration, print its rows, return them for the record."""
    times, products = measure(name, batch, rounds)
    peak = 2 * MATMUL**3 / min(products)  # FLOP/s
    result = {"config": asdict(CONFIGS[name][0]), "matmul_gflops": round(peak / 1e9, 1), "rows": []}
    for label, (build, c, reference) in candidates(name).items():
        middle, ours = float(np.median(times[label])), float(np.median(times[reference]))
        low, high = interval(times[reference], times[label])
        flops = training_flops(build, c)
        row = {"model": label, "dropout": c.dropout, "parameters": sum(p.numel() for p in build(c).parameters()),
               "mflop_per_image": round(flops / 1e6, 1), "images_per_second": round(batch / middle, 1),
               "share_of_matmul_peak": round(batch * flops / middle / peak, 3), "compared_with": reference,
               "vitlib_times_faster": round(middle / ours, 3), "interval_95": [round(low, 3), round(high, 3)]}
        if label == CONFIGS[name][1]:
            book_low, book_high = interval(times[BOOK], times[label])
            row |= {"book_times_faster": round(middle / float(np.median(times[BOOK])), 3),
                    "book_interval_95": [round(book_low, 3), round(book_high, 3)]}
        if memory:  # a process each: in one process the memory of one model hides another's
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                row["peak_memory_mb"] = round(pool.apply(peak_memory, (name, label, batch, torch.get_num_threads())))
        result["rows"].append(row)
        extra = row["parameters"] - result["rows"][0]["parameters"]
        ratio = "" if label == reference else f"{middle / ours:.2f} [{low:.2f}, {high:.2f}]"
        print(COLUMNS.format(name, label, f"{row['parameters']:,}", f"{extra:+,}" if extra else "=",
                             row["mflop_per_image"], row["images_per_second"], f"{row['share_of_matmul_peak']:.0%}",
                             ratio, row.get("peak_memory_mb", "")), flush=True)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--configs", nargs="+", choices=CONFIGS, default=list(CONFIGS))
    parser.add_argument("--rounds", type=int, default=12, help="steps of every model that count")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--memory", action="store_true", help="also the peak memory, in a process for each model")
    parser.add_argument("--out", type=Path, help=f"the record; {ZOO / 'bench.json'} unless --dry")
    parser.add_argument("--dry", action="store_true", help="one round of the first configuration, 8 images: a trial")
    args = parser.parse_args()
    configs, rounds, batch = (args.configs[:1], 1, 8) if args.dry else (args.configs, args.rounds, 128)
    torch.set_num_threads(args.threads)
    libraries = {name: metadata.version(name) for name in ("timm", "vit-pytorch", "transformers")}
    about = {**environment(), **libraries, "instructions": torch.backends.cpu.get_cpu_capability(),
             "threads": args.threads, "batch": batch, "rounds": rounds, "warm_up_rounds": WARM_UP,
             "optimizer": "AdamW(fused=True) for every model, also the tutorials that use Adam", "precision": "fp32"}
    print(*(f"{key}: {value}" for key, value in about.items()), sep="\n")
    print("\nimages/s: median. of peak: share of a large matrix product's speed. ratio: vitlib / this model and its\n"
          "95 % interval; for a tutorial, vitlib with its dropout. MB: peak memory of training.\n")
    print(COLUMNS.format("size", "model", "params", "differ", "MFLOP", "images/s", "of peak", "ratio", "MB"))
    results = {name: bench(name, batch, rounds, args.memory) for name in configs}
    if args.out or not args.dry:
        save_record(args.out or ZOO / "bench.json", about | {"results": results})
