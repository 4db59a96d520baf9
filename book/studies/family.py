"""Relatives of the ViT side by side, at equal passes and at equal time: what is each idea worth, and what does it cost?

    python book/studies family_costs                 # first: what a step of each costs on this machine
    python book/studies family                       # --dry for a trial of a minute; --device cuda for a GPU

One small model, changed in one way at a time; all are trained alike, and all runs of a seed share order and
augmentation, so differences to the plain ViT are paired. The score is the accuracy on a stratified tenth of the
training images; the test set stays shut. "Equal time" gives each as many passes as cost what the plain one's cost, by
the record of family_costs. For the distilled ones the teacher's answers count as part of a step, and its own training
is taken off too. (With a teacher at hand, equal passes are equal time to a few percent.)
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path

import torch
from clinic import METHOD, cost
from study import SEEDS, collect, data, one_thread, train_and_score
from torch import Tensor, nn

from vitlib.checkpoint import load_checkpoint, load_record, save_checkpoint
from vitlib.data import stratified_split
from vitlib.distil import Teaching
from vitlib.recipes import PLAIN
from vitlib.resnet import resnet18
from vitlib.stems import ResidualStem
from vitlib.train import TrainConfig
from vitlib.vit import ViT, ViTConfig
from vitlib.windows import windowed

BASE = replace(PLAIN, patch_drop=0.0)  # windows and rotary positions need every patch
TRAIN = TrainConfig(epochs=11, batch_size=512, optimizer="muon", muon_lr=0.02, lr=3e-3, crop=4)
WITH_CONVOLUTIONS = replace(TRAIN, optimizer="muon+stem")
LESSONS = 5  # passes of the teacher
TEACHER, FEW = "narrow ResNet-18", 0.1  # share of the images, in as many steps as all of them take


class StemAlone(nn.Module):
    """The residual stem, a mean over its tokens and a linear layer: what is left of a hybrid without its encoder."""

    def __init__(self, c: ViTConfig):
        super().__init__()
        self.patch_embed = ResidualStem(c.image_size, c.patch_size, c.channels, c.dim)
        self.norm, self.head = nn.LayerNorm(c.dim), nn.Linear(c.dim, c.classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.norm(self.patch_embed(images)).mean(dim=1))


@dataclass(frozen=True)
class Contender:
    """How to build it, how it is trained, and what a distilled one learns from its teacher."""

    build: Callable[[], nn.Module]
    train: TrainConfig = TRAIN
    kind: str = ""  # "hard" or "soft"
    changes: dict = field(default_factory=dict)


def vit(train: TrainConfig = TRAIN, kind: str = "", **changes) -> Contender:
    return Contender(lambda: ViT(replace(BASE, **changes)), train, kind, changes)


CONTENDERS = {
    "plain ViT": vit(),
    "class token": vit(pool="cls"),
    "sequence pooling": vit(pool="sequence"),
    "four registers": vit(registers=4),
    "rotary positions": vit(positions="rope"),
    "normalised queries and keys": vit(qk_norm=True),
    "LayerScale": vit(layer_scale=0.1),
    "windows": Contender(lambda: windowed(ViT(BASE), 4)),
    "convolutional stem": vit(WITH_CONVOLUTIONS, stem="conv"),
    "residual stem": vit(WITH_CONVOLUTIONS, stem="residual"),
    "compact convolutional transformer": vit(WITH_CONVOLUTIONS, stem="pooled", pool="sequence"),
    "residual stem without an encoder": Contender(lambda: StemAlone(BASE), WITH_CONVOLUTIONS),
    TEACHER: Contender(lambda: resnet18(width=16), WITH_CONVOLUTIONS),
    "DeiT, hard": vit(kind="hard", pool="distilled"),
    "DeiT, soft": vit(kind="soft", pool="distilled"),
}
FEW_IMAGES = ("plain ViT", "residual stem", "residual stem without an encoder", TEACHER)


@cache
def passes() -> dict[str, dict[str, int]]:
    """For each arm and contender the passes over its images."""
    ratio = {name: row["ratio"] for name, row in load_record("family_costs")["contenders"].items()}
    lessons = {name: LESSONS * ratio[TEACHER] if CONTENDERS[name].kind else 0.0 for name in CONTENDERS}
    return {"equal passes": dict.fromkeys(CONTENDERS, TRAIN.epochs),
            "equal time": {name: max(1, round((TRAIN.epochs - lessons[name]) / ratio[name]))
                           for name in CONTENDERS if name != "plain ViT"},
            "few images": {name: round(TRAIN.epochs / FEW) for name in FEW_IMAGES}}


def wanted() -> dict[str, tuple]:
    """Every run: contender, arm, passes, seed; teachers first, as others wait for them."""
    jobs = {f"teacher, seed {seed}": (TEACHER, "teacher", LESSONS, seed) for seed in SEEDS}
    for arm, contenders in passes().items():
        jobs |= {title(name, arm, count, seed): (name, arm, count, seed)
                 for seed in SEEDS for name, count in contenders.items()}
    return jobs


def title(name: str, arm: str, count: int, seed: int) -> str:
    """What a run is called. Where equal time allows as many passes as the others have, it is the same run."""
    same = arm == "equal time" and count == TRAIN.epochs and not CONTENDERS[name].kind
    return f"{name}, {'equal passes' if same else arm}, seed {seed}"


def teacher_file(seed: int, dry: bool) -> Path:
    return Path("runs/family") / f"teacher-{seed}{'-dry' * dry}.pt"


def taught_by(seed: int, dry: bool, device: str) -> nn.Module:
    """The teacher of a seed, which a run of its own has trained."""
    teacher = CONTENDERS[TEACHER].build()
    teacher.load_state_dict(load_checkpoint(teacher_file(seed, dry))["model"])
    return teacher.to(device)


def run(name: str, arm: str, count: int, seed: int, dry: bool, device: str) -> dict:
    """Train one contender. On a GPU it is compiled, except where a teacher stands beside it."""
    one_thread()
    torch.compiler.reset()  # or what was compiled for the run before would count against a limit
    contender, (train, validation) = CONTENDERS[name], data(dry)
    if arm == "few images" and not dry:
        train = stratified_split(train, FEW, seed=seed)[1]
    torch.manual_seed(seed)
    model, options = contender.build(), {"device": device}
    if contender.kind:
        options["objective"] = Teaching(taught_by(seed, dry, device), contender.kind)
    config = replace(contender.train, epochs=1 if dry else count, seed=seed,
                     compile=device != "cpu" and not contender.kind)
    result = train_and_score(model, train, validation, config, **options)
    if arm == "teacher":
        save_checkpoint(teacher_file(seed, dry), {"model": model.state_dict()})
    return result


def summarise(runs: dict) -> dict:
    """For each arm the contenders' accuracies by seed, and the paired differences to the plain ViT's."""
    arms = {}
    for arm, contenders in passes().items():
        rows = {}
        for name, count in contenders.items():
            done = {seed: runs[run] for seed in SEEDS if (run := title(name, arm, count, seed)) in runs}
            if not done:
                continue  # named under "not done"
            rows[name] = {"passes": count, "seeds": list(done)} | {
                key: [row[kept] for row in done.values()] for key, kept in (
                    ("accuracy", "validation_accuracy"), ("train_accuracy", "train_accuracy"), ("seconds", "seconds"))}
        whole = "few images" if arm == "few images" else "equal passes"
        arms[arm] = {name: row | differences(runs, whole, row) for name, row in rows.items()}
    teachers = [runs[run]["validation_accuracy"] for seed in SEEDS if (run := f"teacher, seed {seed}") in runs]
    return {"model": asdict(BASE), "teacher": {"passes": LESSONS, "accuracy": teachers}, "share of few images": FEW,
            "train": {name: asdict(one.train) | {"epochs": "by arm", "seed": "one for each run",
                                                 "compile": "on a GPU, without a teacher"}
                      for name, one in CONTENDERS.items()},
            "changes": {name: one.changes for name, one in CONTENDERS.items()}, "arms": arms}


def differences(runs: dict, arm: str, row: dict) -> dict:
    """A row's accuracy less that of the two models that it may be measured by, with the same seeds."""
    found = {}
    for other in ("plain ViT", "class token"):
        theirs = [runs.get(f"{other}, {arm}, seed {seed}", {}).get("validation_accuracy") for seed in row["seeds"]]
        if None not in theirs:
            found[f"over the {other}"] = cost(row["accuracy"], theirs) if len(theirs) > 1 else {
                "mean": round(100 * (row["accuracy"][0] - theirs[0]), 3)}  # one run has no interval
    return found


def main() -> None:
    interval = METHOD.replace("healthy minus patient", "a contender minus the plain ViT")
    collect("family", run, wanted(), {"interval": interval}, summarise, on_gpu=True)
