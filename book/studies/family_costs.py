"""What a training step of each relative of the ViT costs on a CPU, and an answer: the shares of `family`'s equal time.

    python book/studies family_costs        # two minutes on two quiet cores; --dry for a trial

A step is all that the loop does: draw and change a batch, forward and backward pass, clipping, the optimisers; for a
distilled model also its teacher's answers. All take turns, and the ratio to the plain ViT is taken within each round.
"""

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from bench import seconds, training_flops
from family import CONTENDERS, TEACHER
from torch import nn

from vitlib.checkpoint import ZOO, environment, save_record
from vitlib.data import ImageSet
from vitlib.devices import keep_memory, layout_for
from vitlib.distil import Teaching
from vitlib.optim import make_optimizers
from vitlib.recipes import PLAIN
from vitlib.train import batches, label_loss, predict

BATCH = 128  # as the CPU recipes have it


def make_step(name: str, images: ImageSet) -> tuple[nn.Module, Callable[[], None]]:
    """A contender, and one whole step of its training."""
    torch.manual_seed(0)
    one = CONTENDERS[name]
    model, c, g = one.build().train(), one.train, torch.Generator().manual_seed(0)
    optimizers = make_optimizers(model, c.optimizer, c.lr, c.weight_decay, c.betas, c.muon_lr, c.muon_decay)
    objective = Teaching(CONTENDERS[TEACHER].build(), one.kind) if one.kind else label_loss

    def step() -> None:
        batch, targets = next(batches(images, c, 0, g, layout_for(model)))
        _, loss = objective(model, batch, targets, c)
        model.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), c.clip)
        for optimizer in optimizers:
            optimizer.step()

    return model, step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=11, help="steps of every contender that count")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path, default=ZOO / "family_costs.json", help="the record")
    parser.add_argument("--dry", action="store_true", help="one round, nothing written: a trial")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    keep_memory()
    g = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (BATCH, 3, 32, 32), dtype=torch.uint8, generator=g)
    images = ImageSet(pixels, torch.arange(len(pixels)) % 10, tuple("abcdefghij"))
    made = {name: make_step(name, images) for name in CONTENDERS}
    times = {name: {"training": [], "inference": []} for name in made}
    for turn in range(1 + (1 if args.dry else args.rounds)):
        for name, (model, step) in made.items():
            spent = {"training": seconds(step), "inference": seconds(lambda model=model: predict(model, pixels))}
            if turn:  # the first round warms up
                for what, value in spent.items():
                    times[name][what].append(value)
        print(f"round {turn}", flush=True)
    plain, rows = times["plain ViT"], {}
    for name, (model, _) in made.items():
        ratio, inference = (median(a / b for a, b in zip(times[name][what], plain[what], strict=True))
                            for what in ("training", "inference"))
        rows[name] = {"parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
                      "ratio": round(ratio, 3), "inference ratio": round(inference, 3),
                      "ms an image": round(1000 * median(times[name]["training"]) / len(pixels), 4),
                      "flops of an image's step": training_flops(lambda _, name=name: CONTENDERS[name].build(), PLAIN)}
        print(f"{name:36} {ratio:6.2f} of the plain ViT's step, {inference:6.2f} of its answer", flush=True)
    if not args.dry:
        save_record(args.out, {"about": "python book/studies family_costs", **environment(), "threads": args.threads,
                               "instructions": torch.backends.cpu.get_cpu_capability(), "batch": len(pixels),
                               "rounds": args.rounds, "contenders": rows})
