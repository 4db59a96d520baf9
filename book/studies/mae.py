"""Pre-training without labels against from scratch, with 1, 10 and 100 % of the labels of CIFAR-10.

    python book/studies/mae              # --dry for a trial of a minute
    python book/studies/mae --partial    # trains nothing: the record of what is done so far

One process, one thread, one run after the other, the most important first. Each run is kept in runs/mae.json when it
ends, and its weights beside it; the same command goes on from there. Masking share, decoder, targets, rates and numbers
of passes are chosen on 5,000 validation images, by rules that stand here; the test set is opened at the end of each
run that is compared.

Compute is counted in seconds of this process's processor time, on one thread. "Equal compute" gives the rival that
starts from scratch as many passes as the pre-trained run of the same seed had time for, pre-training included. With 1 %
of the labels there is a rival between the two as well; which of them is the best one, the validation images say.

A run names the commit that made it. A later commit may change which runs there are and in what order, and nothing else.
"""

import argparse
import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import cache, partial
from pathlib import Path
from statistics import mean

import torch
from clinic import cost
from study import SEEDS, data
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from vitlib.checkpoint import ZOO, environment, load_checkpoint, save_checkpoint, save_record
from vitlib.data import ImageSet, stratified_split
from vitlib.devices import keep_memory
from vitlib.mae import MAEConfig, MaskedAutoencoder
from vitlib.pretrain import layer_features, pretrain
from vitlib.sources import load_cifar10
from vitlib.train import TrainConfig, evaluate, fit
from vitlib.transfer import linear_probe
from vitlib.vit import ViT, ViTConfig

VIT = ViTConfig(dim=64, depth=4, heads=4, pool="mean", positions="sincos")
PRETRAINING = TrainConfig(epochs=8, batch_size=128, optimizer="muon", muon_lr=0.01, lr=3e-3, crop=4)
# Tried on 15,000 images, with as many passes as fit into about the same time; the best probe on the validation images
# is chosen.
SETTINGS = {"75 % hidden": (MAEConfig(), 6), "50 % hidden": (MAEConfig(mask=0.5), 4),
            "90 % hidden": (MAEConfig(mask=0.9), 8), "plain pixels": (MAEConfig(normalised=False), 6),
            "two blocks": (MAEConfig(depth=2), 5)}
# Half of the patches a step makes passes cheaper, and is a strong augmentation; both ways of starting get it.
TUNING = TrainConfig(batch_size=64, optimizer="muon", lr=1e-3, crop=4, calm=0.2)
SHARES = {"1 %": 0.01, "10 %": 0.1, "100 %": 1.0}
PASSES = {"10 %": 20, "100 %": 6}  # over the labelled images; for 1 % the validation images choose
MORE = 100  # passes of the rival between equal epochs and equal compute, with 1 % of the labels
GRID = [("pre-trained", 30, 0.01), ("pre-trained", 30, 0.02), ("pre-trained", MORE, 0.01), ("from scratch", MORE, 0.01),
        ("from scratch", MORE, 0.02)]  # start, passes, Muon's rate
WAYS = ("pre-trained", "from scratch", "more passes", "equal compute")
PENALTIES = (1e-1, 1e-2, 1e-3)
INTERVAL = "95 % t interval of the differences paired by seed, in points of test accuracy"


@cache
def test_set(dry: bool) -> ImageSet:
    test = load_cifar10()[1]
    return test.subset(torch.arange(0, len(test), 50)) if dry else test


def labelled(share: str, seed: int, dry: bool) -> ImageSet:
    """The training images whose labels are known: the same share of every class, others for another seed."""
    train, fraction = data(dry)[0], SHARES[share]
    return train if fraction == 1 else stratified_split(train, max(fraction, 0.1 if dry else 0), seed=100 + seed)[1]


def timed(train: Callable[[], list[dict]]) -> tuple[list[dict], float]:
    """What a training returns, and the processor time that it took."""
    start = time.process_time()
    history = train()
    return history, round(time.process_time() - start, 1)


def new_vit(seed: int, **changes) -> ViT:
    torch.manual_seed(seed)
    return ViT(replace(VIT, **changes))


class Study:
    """The runs that are done, where they are kept, and how to make the others."""

    def __init__(self, path: Path, dry: bool):
        self.path, self.dry, self.folder = path, dry, path.with_suffix("")
        begun = {"about": "python book/studies mae", **environment(), "data": data(dry)[0].name}
        self.record = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else begun | {"runs": {}}
        self.commit = begun["commit"]
        for key in ("torch", "data"):
            if (old := self.record[key]) != begun[key]:
                raise ValueError(f"{path} was begun with {key} {old}, this is {begun[key]}; go back to that to go on, "
                                 "or delete the file to start again")
        self.runs = self.record["runs"]
        for result in self.runs.values():
            result.setdefault("commit", self.record["commit"])

    def jobs(self) -> dict[str, Callable[[], dict]]:
        """Every run by its name, the most important first."""
        jobs: dict[str, Callable] = {f"settings: {name}": partial(self.setting, name) for name in SETTINGS}
        jobs["pre-training, seed 0"] = partial(self.pretraining, 0)
        jobs |= {f"tuning: {way}, {passes} passes, rate {rate}": partial(self.tuning, way, passes, rate)
                 for way, passes, rate in GRID}
        jobs |= {f"pre-training, seed {seed}": partial(self.pretraining, seed) for seed in SEEDS}
        first, last, one = WAYS[:2], WAYS[3:], SEEDS[:1]
        for share, ways, seeds in (("1 %", first, SEEDS), ("probes", (), SEEDS), ("1 %", WAYS[2:3], SEEDS),
                                   ("1 %", last, SEEDS), ("10 %", first, SEEDS), ("10 %", last, SEEDS),
                                   ("100 %", first + last, one), ("100 %", first + last, SEEDS[1:])):
            if share == "probes":
                jobs |= {f"probes, seed {seed}": partial(self.probes, seed) for seed in seeds}
            jobs |= {f"{way}, {share}, seed {seed}": partial(self.finetuning, way, share, seed)
                     for seed in seeds for way in ways}
        return jobs

    def chosen(self) -> MAEConfig:
        return SETTINGS[max(SETTINGS, key=lambda name: self.runs[f"settings: {name}"]["probe"])][0]

    def best(self, start: str) -> tuple[int, float]:
        """Passes and rate that served a start best with 1 % of the labels, on the validation images."""
        scores = {(passes, rate): self.runs[f"tuning: {way}, {passes} passes, rate {rate}"]["validation"]
                  for way, passes, rate in GRID if way == start}
        return max(scores, key=scores.get)

    def passes(self, count: int) -> int:
        return 2 if self.dry else count

    def setting(self, name: str) -> dict:
        """A short pre-training, judged by what its frozen features tell of the validation images."""
        config, passes = SETTINGS[name]
        model, config = MaskedAutoencoder(new_vit(0), config), replace(PRETRAINING, epochs=self.passes(passes))
        train = data(self.dry)[0]
        history, seconds = timed(lambda: pretrain(model, train.subset(torch.arange(0, len(train), 3)), config))
        return {"passes": passes, "loss": [round(row["loss"], 4) for row in history], "seconds": seconds,
                "probe": self.probe(model.encoder, "10 %", 0)["validation"]}

    def pretraining(self, seed: int) -> dict:
        config, model = PRETRAINING, MaskedAutoencoder(new_vit(seed), self.chosen())
        config = replace(config, epochs=self.passes(config.epochs), seed=seed)

        def keep() -> None:
            done[0] += 1
            if seed == 0:  # for pictures of what is rebuilt
                save_checkpoint(self.folder / f"epoch-{done[0]}.pt", {"model": model.state_dict()})

        done = [0]
        history, seconds = timed(lambda: pretrain(model, data(self.dry)[0], config, each_epoch=keep))
        save_checkpoint(self.folder / f"encoder-{seed}.pt", {"model": model.encoder.state_dict()})
        return {"loss": [round(row["loss"], 4) for row in history], "seconds": seconds}

    def encoder(self, seed: int) -> ViT:
        model = new_vit(seed)
        model.load_state_dict(load_checkpoint(self.folder / f"encoder-{seed}.pt")["model"])
        return model

    def tune(self, start: ViT, share: str, seed: int, passes: int, rate: float) -> tuple[ViT, float]:
        """A copy of `start`, trained on the labels there are."""
        model = new_vit(seed, patch_drop=0.5)
        model.load_state_dict(start.state_dict())
        config = replace(TUNING, epochs=passes, muon_lr=rate, seed=seed)
        return model, timed(lambda: fit(model, labelled(share, seed, self.dry), config))[1]

    def tuning(self, way: str, passes: int, rate: float) -> dict:
        """Passes and rates with 1 % of the labels, on the validation images."""
        start = self.encoder(0) if way == "pre-trained" else new_vit(0)
        model, seconds = self.tune(start, "1 %", 0, self.passes(passes), rate)
        return {"validation": evaluate(model, data(self.dry)[1])["accuracy"], "seconds": seconds}

    def finetuning(self, way: str, share: str, seed: int) -> dict:
        start = self.encoder(seed) if way == "pre-trained" else new_vit(seed)
        own = "pre-trained" if way == "pre-trained" else "from scratch"
        rate, passes = self.best(own)[1], PASSES.get(share) or self.best("pre-trained")[0]
        passes = self.passes(MORE if way == "more passes" else passes)
        if way == "equal compute":
            before, tuned, scratch = (self.runs[f"{run}, seed {seed}"]["seconds"] for run in
                                      ("pre-training", f"pre-trained, {share}", f"from scratch, {share}"))
            passes = math.ceil(passes * (before + tuned) / scratch)
        model, seconds = self.tune(start, share, seed, passes, rate)
        return {"passes": passes, "seconds": seconds, "validation": evaluate(model, data(self.dry)[1])["accuracy"],
                "test": evaluate(model, test_set(self.dry))["accuracy"]}

    def probe(self, model: ViT, share: str, seed: int) -> dict:
        """The best linear layer on each block's features; block and penalty are chosen on the validation images."""
        part, validation = labelled(share, seed, self.dry), data(self.dry)[1]
        features, held = (layer_features(model, images) for images in (part.images, validation.images))
        tried = {(i, penalty): linear_probe(x, part.labels, 10, penalty)
                 for i, x in enumerate(features) for penalty in PENALTIES}
        scores = {key: accuracy(layer, held[key[0]], validation.labels) for key, layer in tried.items()}
        best = max(scores, key=scores.get)
        return {"validation": scores[best], "block": best[0] + 1, "penalty": best[1], "layer": tried[best],
                "blocks": [max(scores[i, p] for p in PENALTIES) for i in range(len(features))]}

    def probes(self, seed: int) -> dict:
        """Frozen features of the pre-trained model and of the one it began as, with each share of the labels."""
        found, test = {}, test_set(self.dry)
        for way, model in (("pre-trained", self.encoder(seed)), ("untrained", new_vit(seed))):
            features = layer_features(model, test.images)
            for share in SHARES:
                probe = self.probe(model, share, seed)
                score = accuracy(probe.pop("layer"), features[probe["block"] - 1], test.labels)
                found[f"{way}, {share}"] = probe | {"test": score}
        return found

    def run(self) -> None:
        for name, job in self.jobs().items():
            if name not in self.runs:
                result = job()
                result.pop("layer", None)
                self.runs[name] = result | {"commit": self.commit}
                save_record(self.path, self.record)
                print(name, {k: v for k, v in result.items() if not isinstance(v, list)}, flush=True)

    def summary(self) -> dict:
        """The record as it is published: the choices, each arm's accuracies by seed, and the paired differences."""
        runs, missing = self.runs, [name for name in self.jobs() if name not in self.runs]
        arms = {share: {way: {seed: runs[name] for seed in SEEDS if (name := f"{way}, {share}, seed {seed}") in runs}
                        for way in WAYS} for share in SHARES}
        probes = {seed: runs[name] for seed in SEEDS if (name := f"probes, seed {seed}") in runs}
        best = {share: rival(ways) for share, ways in arms.items()}
        for share, ways in arms.items():
            ways |= {way: {seed: found[f"{start}, {share}"] for seed, found in probes.items()}
                     for way, start in (("probe", "pre-trained"), ("probe of an untrained model", "untrained"))}
        gains = {share: {way: gain(ways["pre-trained"], ways[way]) for way in ways if way != "pre-trained"}
                 for share, ways in arms.items()}
        train, validation = data(self.dry)
        return {name: value for name, value in self.record.items() if name != "runs"} | {
            "training images": len(train), "validation images": len(validation), "model": asdict(VIT),
            "autoencoder": asdict(self.chosen()), "pre-training": asdict(PRETRAINING) | {"seed": "one for each run"},
            "fine-tuning": asdict(TUNING) | {"patch_drop": 0.5, "seed": "one for each run"} | {
                "epochs": PASSES | {"1 %": self.best("pre-trained")[0], "1 %, more passes": MORE},
                "muon_lr": {way: self.best(way)[1] for way in WAYS[:2]}},
            "megaflop of an image's step": megaflops(self.chosen()), "interval": INTERVAL, "not done": missing,
            "settings": {name: runs[f"settings: {name}"] for name in SETTINGS if f"settings: {name}" in runs},
            "tuning": [{"start": way, "passes": passes, "rate": rate} | runs[name] for way, passes, rate in GRID
                       if (name := f"tuning: {way}, {passes} passes, rate {rate}") in runs],
            "pre-trainings": [runs[name] for seed in SEEDS if (name := f"pre-training, seed {seed}") in runs],
            "arms": {share: {way: by_seed(found) for way, found in ways.items()} for share, ways in arms.items()},
            "gains": {share: {way: g for way, g in ways.items() if g} for share, ways in gains.items()},
            "best rival by validation": best, "commits": sorted({run["commit"] for run in runs.values()})}


def accuracy(layer: torch.nn.Linear, features: torch.Tensor, labels: torch.Tensor) -> float:
    return (layer(features).argmax(dim=1) == labels).float().mean().item()


def rival(ways: dict[str, dict]) -> str:
    """The way from scratch that does best on the validation images, of those that all seeds have been through."""
    scores = {way: mean(run["validation"] for run in runs.values()) for way, runs in ways.items()
              if way != "pre-trained" and runs and len(runs) == max(map(len, ways.values()))}
    return max(scores, key=scores.get, default="")


def by_seed(found: dict[int, dict]) -> dict[str, list]:
    """[{…}, {…}] by seed as {name: [value, value]}."""
    rows = list(found.values())
    return {"seeds": list(found)} | {name: [row[name] for row in rows] for name in (rows[0] if rows else ())
                                     if name != "commit"}


def gain(ours: dict[int, dict], other: dict[int, dict]) -> dict | None:
    """What pre-training and tuning brings over another way, where two seeds or more have both."""
    both = [seed for seed in ours if seed in other]
    if len(both) < 2:
        return None
    return {"seeds": both} | cost([ours[seed]["test"] for seed in both], [other[seed]["test"] for seed in both])


def megaflops(config: MAEConfig) -> dict[str, float]:
    """Matrix products of one image's step, forward and backward, with plain attention."""
    autoencoder, vit, found = MaskedAutoencoder(new_vit(0), config), new_vit(0, patch_drop=0.5), {}
    images, noise = torch.zeros(1, 3, 32, 32), torch.rand(1, 64)
    for name, forward in (("pre-training", lambda: autoencoder(images, noise)),
                          ("fine-tuning", lambda: vit(images).sum()),
                          ("fine-tuning with all patches", lambda: vit.eval()(images).sum())):
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            forward().backward()
        found[name] = round(counter.get_total_flops() / 1e6, 2)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=Path("runs/mae.json"), help="where runs are kept as they end")
    parser.add_argument("--out", type=Path, default=ZOO / "mae.json", help="the record")
    parser.add_argument("--partial", action="store_true", help="train nothing, write the record of what is done")
    parser.add_argument("--dry", action="store_true", help="256 images, two passes, nothing written to --out")
    args = parser.parse_args()
    torch.set_num_threads(1)
    keep_memory()
    study = Study(args.work.with_stem(args.work.stem + "-dry") if args.dry else args.work, args.dry)
    if not args.partial:
        study.run()
    record = study.summary()
    print(json.dumps(record["gains"], indent=1))
    if not args.dry:
        save_record(args.out, record)
