"""What a whole training step of three recipes costs, and how much of it the optimisers take.

    python book/studies steps           # two minutes on two quiet cores; --dry for a trial

A step is all that the loop does: draw and change a batch, forward and backward pass, clipping, the optimisers. Muon is
vitlib's, PyTorch's own (which works in bfloat16 on every device), or left out for AdamW alone. The three take turns.
All of it is measured twice, in processes of their own: as the machine is, and with PyTorch and oneDNN held to AVX2,
the instructions of most laptops. (Intel's MKL, which multiplies float32 matrices, keeps to what the machine has.)
"""

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from vitlib.checkpoint import ZOO, environment, save_record
from vitlib.data import ImageSet
from vitlib.devices import keep_memory, layout_for
from vitlib.optim import make_optimizers
from vitlib.recipes import RECIPES, Recipe
from vitlib.train import batches
from vitlib.vit import ViT

NAMES = ("shapes-quick", "cifar10-tiny", "cpu-20")
PARTS = ("batch", "forward and backward", "clipping", "optimisers")
WARM_UP = 3
KINDS = {"as it is": {}, "AVX2": {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}}


class PytorchsMuon(torch.optim.Muon):
    """PyTorch's Muon takes matrices only; a filter (m, C, k, k) is shown to it as the matrix (m, C·k·k)."""

    def __init__(self, parameters: list[nn.Parameter], **settings):
        self.whole = parameters
        super().__init__([nn.Parameter(p.detach().flatten(1)) if p.ndim == 4 else p for p in parameters], **settings)

    def step(self) -> None:
        for whole, flat in zip(self.whole, self.param_groups[0]["params"], strict=True):  # they share their memory
            flat.grad = whole.grad.flatten(1)
        super().step()


def contender(recipe: Recipe, kind: str) -> tuple[nn.Module, list]:
    """A model of the recipe and its optimisers: "vitlib", "PyTorch" (its Muon), or "AdamW" (alone)."""
    torch.manual_seed(0)
    model, t = ViT(recipe.model).train(), recipe.train
    optimizer = "adamw" if kind == "AdamW" else t.optimizer
    optimizers = make_optimizers(model, optimizer, t.lr, t.weight_decay, t.betas, t.muon_lr, t.muon_decay)
    if kind == "PyTorch":
        ours = optimizers.pop()
        optimizers.append(PytorchsMuon(ours.param_groups[0]["params"], lr=t.muon_lr, weight_decay=t.muon_decay))
    return model, optimizers


def one_step(model: nn.Module, optimizers: list, data: ImageSet, recipe: Recipe, g: torch.Generator) -> list[float]:
    """Seconds of the parts of one step, in the order of PARTS."""
    marks = [time.perf_counter()]
    images, targets = next(batches(data, recipe.train, 0, g, layout_for(model)))
    marks.append(time.perf_counter())
    model.zero_grad()
    F.cross_entropy(model(images), targets, label_smoothing=recipe.train.label_smoothing).backward()
    marks.append(time.perf_counter())
    nn.utils.clip_grad_norm_(model.parameters(), recipe.train.clip)
    marks.append(time.perf_counter())
    for optimizer in optimizers:
        optimizer.step()
    marks.append(time.perf_counter())
    return np.diff(marks).tolist()


def measure(name: str, rounds: int) -> dict:
    """Milliseconds of every part for every contender, medians of steps that take turns; shares and ratios."""
    recipe, g = RECIPES[name], torch.Generator().manual_seed(0)
    size = recipe.train.batch_size
    images = torch.randint(0, 256, (size, 3, 32, 32), dtype=torch.uint8, generator=g)
    data = ImageSet(images, torch.arange(size) % 10, tuple("abcdefghij"))
    kinds = {kind: contender(recipe, kind) for kind in ("vitlib", "PyTorch", "AdamW")}
    times = {kind: [] for kind in kinds}
    for _ in range(WARM_UP + rounds):
        for kind, (model, optimizers) in kinds.items():
            times[kind].append(one_step(model, optimizers, data, recipe, g))
    found = {}
    for kind, rows in times.items():
        seconds = np.array(rows[WARM_UP:])  # (rounds, parts)
        share = seconds[:, 3] / seconds.sum(1)
        found[kind] = {"ms": {part: round(1000 * float(np.median(seconds[:, i])), 2) for i, part in enumerate(PARTS)},
                       "ms a step": round(1000 * float(np.median(seconds.sum(1))), 2),
                       "share of the optimisers": round(float(np.median(share)), 4),
                       "its quartiles": [round(float(q), 4) for q in np.percentile(share, (25, 75))]}
    return {"batch": size, "train": asdict(recipe.train), "model": asdict(recipe.model), "contenders": found}


def in_a_process(kind: str, arguments: list[str]) -> dict:
    """Measure everything in a new process: which instructions are used is decided when PyTorch is loaded."""
    command = [sys.executable, str(Path(__file__).parent), "steps", "--here", *arguments]
    done = subprocess.run(command, env=os.environ | KINDS[kind], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=25, help="steps of every contender that count")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path, default=ZOO / "steps.json", help="the record")
    parser.add_argument("--dry", action="store_true", help="two rounds, nothing written: a trial")
    parser.add_argument("--here", action="store_true", help="measure in this process, and print JSON")
    args = parser.parse_args()
    rounds = 2 if args.dry else args.rounds
    if args.here:
        torch.set_num_threads(args.threads)
        keep_memory()
        print(json.dumps({"instructions": torch.backends.cpu.get_cpu_capability(),
                          "recipes": {name: measure(name, rounds) for name in NAMES}}))
        return
    torch.set_num_threads(args.threads)  # for the record
    record = {"about": "python book/studies steps", **environment(), "threads": args.threads, "rounds": rounds,
              "warm_up_rounds": WARM_UP, "kinds": {}}
    for kind in KINDS:
        record["kinds"][kind] = in_a_process(kind, ["--rounds", str(rounds), "--threads", str(args.threads)])
        for name, found in record["kinds"][kind]["recipes"].items():
            for who, row in found["contenders"].items():
                print(f"{kind:9} {name:13} {who:8} {row['ms a step']:8.1f} ms a step, "
                      f"optimisers {row['share of the optimisers']:5.1%}", flush=True)
    if not args.dry:
        save_record(args.out, record)
