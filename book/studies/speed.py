"""What does each knob of training change? Two small ViTs, each knob against the same run without it.

    python book/studies speed         # four to five minutes on two quiet cores; --dry for a trial

The candidates of a comparison take turns in random order, so that they share the machine's slow moments; steps before
the clock starts do not count. A ratio is that of the medians; its 95 % interval comes from drawing whole rounds again.
Memory is kept between steps, as `python -m vitlib train` does; whether that pays is measured in processes of their own.
"""

import argparse
import functools
import multiprocessing
import os
import random
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from vitlib.checkpoint import ZOO, environment, save_record
from vitlib.devices import keep_memory
from vitlib.vit import ViT, ViTConfig

SIZES = {"d96": ViTConfig(dim=96, depth=4, heads=3), "d192": ViTConfig(dim=192, depth=6, heads=6)}
BATCH = {"d96": 128, "d192": 64}
BATCHES = (16, 32, 64, 128, 256, 512)
WARM_UP = 1  # rounds that do not count
METHOD = "time without / time with; medians of alternating rounds; 95 % bootstrap interval drawing whole rounds"
Step = Callable[[], None]


def make_step(c: ViTConfig, batch: int, precision: str = "fp32", compiled: bool = False, threads: int = 0) -> Step:
    """A function that trains a new model by one step on one fixed batch."""
    torch.manual_seed(0)
    images, labels = torch.randn(batch, c.channels, c.image_size, c.image_size), torch.randint(c.classes, (batch,))
    model: nn.Module = ViT(c).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05, fused=True)
    model = torch.compile(model) if compiled else model
    usual = torch.get_num_threads()

    def step() -> None:
        torch.set_num_threads(threads or usual)
        torch.set_float32_matmul_precision("medium" if precision == "medium" else "highest")
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            loss = F.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        torch.set_num_threads(usual)
    return step


def seconds(step: Step) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def in_turns(steps: dict[str, Step], rounds: int) -> dict[str, list[float]]:
    """Seconds of every step, one row a round, in another order each time."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(WARM_UP + rounds):
        order = list(steps)
        random.Random(turn).shuffle(order)
        for name in order:
            times[name].append(seconds(steps[name]))
    return {name: series[WARM_UP:] for name, series in times.items()}


def row(batch: int, own: list[float], base: list[float]) -> dict:
    """Images a second, and how many times faster than the base, with its interval."""
    drawn = np.random.default_rng(0).integers(0, len(own), (4000, len(own)))
    ratios = np.median(np.array(base)[drawn], axis=1) / np.median(np.array(own)[drawn], axis=1)
    low, high = np.percentile(ratios, (2.5, 97.5))
    return {"images_per_second": round(batch / float(np.median(own)), 1),
            "times_faster": round(float(np.median(base) / np.median(own)), 3),
            "interval_95": [round(float(low), 3), round(float(high), 3)]}


def compared(steps: dict[str, Step], batch: int, rounds: int) -> dict[str, dict]:
    """Each candidate against the first."""
    times = in_turns(steps, rounds)
    base = next(iter(times.values()))
    return {name: row(batch, own, base) for name, own in times.items()}


def work(pipe, c: ViTConfig, batch: int, keep: bool, threads: int) -> None:
    """A process of its own: trains one step whenever it is asked, and answers how long that took."""
    torch.set_num_threads(threads)
    if keep:
        keep_memory()
    step = make_step(c, batch)
    with suppress(EOFError):
        while pipe.recv():
            pipe.send(seconds(step))


def kept_memory(c: ViTConfig, batch: int, rounds: int) -> dict[str, dict]:
    """malloc's usual ways against kept memory: two processes, of which one works and one waits."""
    context, pipes, started = multiprocessing.get_context("spawn"), {}, []
    for name, keep in (("given back", False), ("kept", True)):
        pipes[name], theirs = context.Pipe()
        started.append(context.Process(target=work, args=(theirs, c, batch, keep, torch.get_num_threads())))
        started[-1].start()
        theirs.close()

    def ask(name: str) -> float:
        pipes[name].send(True)
        return pipes[name].recv()
    times: dict[str, list[float]] = {name: [] for name in pipes}
    for turn in range(WARM_UP + rounds):
        for name in random.Random(turn).sample(list(pipes), 2):
            times[name].append(ask(name))
    for name, process in zip(pipes, started):
        pipes[name].send(False)
        process.join()
    times = {name: series[WARM_UP:] for name, series in times.items()}
    return {name: row(batch, own, times["given back"]) for name, own in times.items()}


def study(name: str, batch: int, rounds: int, compile_too: bool, batches: tuple[int, ...]) -> dict:
    """All knobs of one size, printed as they are measured."""
    c, cores = SIZES[name], torch.get_num_threads()
    make = functools.partial(make_step, c, batch)
    result: dict = {"config": asdict(c), "batch": batch, "kept memory": kept_memory(c, batch, rounds)}
    steps = {"fp32": make(), "bf16": make("bf16"), "fp32, matrix products 'medium'": make("medium")}
    result["first_call_seconds"] = {}
    if compile_too:
        steps |= {"compiled": make(compiled=True), "compiled, bf16": make("bf16", compiled=True)}
        for label in ("compiled", "compiled, bf16"):
            result["first_call_seconds"][label] = round(seconds(steps[label]), 1)
            print(f"{name}, {label}: first call {result['first_call_seconds'][label]} s", flush=True)
    result["precision and compilation"] = compared(steps, batch, rounds)
    result["threads"] = compared({str(n): make(threads=n) for n in sorted({1, cores})}, batch, rounds)
    drops = {str(rate): make_step(replace(c, patch_drop=rate), batch) for rate in (0.0, 0.25, 0.5)}
    result["patch_drop"] = compared(drops, batch, rounds)
    dice = {str(rate): make_step(replace(c, dropout=rate), batch) for rate in (0.0, 0.1)}
    result["dropout"] = compared(dice, batch, rounds)
    times = in_turns({str(size): make_step(c, size) for size in batches}, max(3, rounds // 2))
    result["batch size"] = {size: {"images_per_second": round(int(size) / float(np.median(own)), 1)}
                            for size, own in times.items()}
    for knob in ("kept memory", "precision and compilation", "threads", "patch_drop", "dropout", "batch size"):
        for label, found in result[knob].items():
            ratio = f"  {found['times_faster']:.2f} {found['interval_95']}" if "times_faster" in found else ""
            print(f"{name}, {knob}: {label:32} {found['images_per_second']:8.1f} images/s{ratio}", flush=True)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7, help="rounds of every comparison that count")
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path, help=f"the record; {ZOO / 'speed.json'} unless --dry")
    parser.add_argument("--dry", action="store_true", help="one size, 4 images, nothing compiled or written: a trial")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    keep_memory()
    about = {"about": "python book/studies speed", **environment(), "threads": args.threads, "cores": os.cpu_count(),
             "instructions": torch.backends.cpu.get_cpu_capability(), "rounds": 2 if args.dry else args.rounds,
             "warm_up_rounds": WARM_UP, "method": METHOD, "optimizer": "AdamW(fused=True)"}
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as empty:  # what was compiled in an earlier run would hide what it costs
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = empty
        if args.dry:
            sizes = {"d96": study("d96", 4, 2, False, (2, 4))}
        else:
            sizes = {name: study(name, BATCH[name], args.rounds, True, BATCHES) for name in args.sizes}
    record = about | {"seconds": round(time.perf_counter() - start, 1), "sizes": sizes}
    if args.out or not args.dry:
        save_record(args.out or ZOO / "speed.json", record)
