"""Fine-tune a trained ViT on a folder of photographs: a head first, then as many blocks as were asked for."""

import json
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from .adapters import save_adapter
from .checkpoint import (
    check_same_run,
    environment,
    export_weights,
    fingerprint,
    load_weights,
    load_zoo,
    save_record,
    zoo,
)
from .data import ImageSet
from .frozen import balanced, best_head, digest_of, duration, frozen_features, seconds_each
from .lora import add_lora, merge, strip
from .optim import level_of
from .parallel import processes
from .photos import Part, read_parts, set_aside
from .published import adapt, load_published
from .report import bars_to_beat, draw, introduce, scores
from .train import TrainConfig, fit, predict
from .transfer import with_head
from .vit import ViT

# Low rates, lower with each layer further from the head, after a warm-up: what was learned is to be changed, not lost.
TUNING = TrainConfig(batch_size=32, lr=3e-4, layer_decay=0.7, betas=(0.9, 0.999), warmup=0.1, schedule="cosine")
ADAPTING = replace(TUNING, lr=3e-3, layer_decay=1.0)  # a few numbers beside frozen ones have to move far
WEIGHTS, RECORD, CHECKPOINT, ADAPTER = "weights.safetensors", "record.json", "checkpoint.pt", "adapter.safetensors"
WHAT = {"head": "the head alone", "last": "the head and the last {} of {} blocks",
        "lora": "the head and low-rank adapters", "all": "everything"}


@dataclass(frozen=True)
class Plan:
    """What a fine-tuning is asked to do. Frozen: change a copy with `dataclasses.replace`."""

    source: str = ""  # where the weights came from, and what they are like, for the record
    like: str = ""
    train: str = "head"  # or "last" (blocks), "lora" (adapters), "all"
    blocks: int = 2  # how many, for "last"
    validation: float = 0.2  # share of the images to set aside, where the folder has no part for it
    balance: bool = False  # show the images of small classes as often as those of large ones
    split_seed: int = 0
    rank: int = 8  # of the adapters, for "lora"

    def __post_init__(self) -> None:
        if self.train not in WHAT:
            raise ValueError(f"what to train is head, last, lora or all, got {self.train!r}")
        if self.blocks < 1:
            raise ValueError(f"the number of last blocks to train is 1 or more, got {self.blocks}")


def starting_model(source: str, like: str = "", size: int | None = None) -> ViT:
    """A trained ViT for images of `size` pixels: from the zoo, a file that vitlib wrote, or published weights.

    Only the last need `like`, where they lie in a bare file.
    Raises ValueError or FileNotFoundError for weights that are not there or cannot be read, and for a wrong size.
    """
    if size is not None and size < 1:
        raise ValueError(f"the size is a number of pixels, 1 or more, got {size}")
    if source in zoo():
        return adapt(load_zoo(source)[0], image_size=size)
    if is_ours(path := weights_file(source)):
        return adapt(load_weights(path), image_size=size)
    return load_published(source, image_size=size, like=like or None)


def weights_file(source: str | Path) -> Path:
    """A file of weights; of a folder that `finetune` or `train` wrote, the one in it."""
    path = Path(source).expanduser()
    return path / WEIGHTS if (path / WEIGHTS).is_file() else path


def is_ours(path: Path) -> bool:
    """Whether a file was written by `export_weights`."""
    try:
        with safe_open(path, "pt") as file:
            return "config" in (file.metadata() or {})
    except (SafetensorError, OSError):
        return False


def finetune(folder: str | Path, model: ViT, out: str | Path, plan: Plan = Plan(), config: TrainConfig = TUNING,
             resume: bool = False, device: str | torch.device = "cpu") -> dict:
    """Fine-tune a model on a folder of images; writes weights, record and figures to `out`, returns the record.

    The head is a linear probe on features that are computed once and kept. Otherwise training goes on from there,
    with a checkpoint after each epoch. Nothing is chosen on the validation images, so their score is honest; a part
    test/ is scored once, at the end. Raises ValueError where images and plan do not make a training,
    or `out` holds another result.
    """
    out, start = Path(out), time.perf_counter()
    check_result(out, resume)
    check_apart(Path(folder), out)
    check_plan(plan, config, model)
    with plainly():
        parts = read_parts(folder, model.config.image_size)
        asked = asked_for(parts, model, plan, config)
        check_result(out, resume, asked)
        split = None if "validation" in parts else set_aside(parts["train"].data, plan.validation, plan.split_seed)
        what = WHAT[plan.train].format(plan.blocks, model.config.depth)
        introduce(parts, split, plan.source, model, what, plan.balance)
        if not (out / RECORD).exists():
            save_record(out / RECORD, {"asked": asked, "finished": False})
        seconds, start, model = {"images": since(start)}, time.perf_counter(), model.to(device)
        for name, part in parts.items():
            if name != "test" or plan.train == "head":
                part.features = frozen_features(model, part.data.images, config.batch_size)
        seconds["features"] = since(start)
    train = parts.pop("train")
    if split:
        train, parts["validation"] = (train.subset(indices) for indices in split)
    start, K, labels, validation = time.perf_counter(), len(train.data.classes), train.data.labels, parts["validation"]
    head, decay = best_head(train.features, labels, K, plan.balance, plan.split_seed)
    seconds["head"] = since(start)
    baselines, history = bars_to_beat(train, validation), []
    baselines["head alone"] = scores(head(validation.features), validation.data.labels)
    model = with_head(model.cpu(), head)
    if plan.train == "head":
        logits = {name: head(part.features) for name, part in parts.items()}
    else:
        history = train_on(model, train.data, validation.data, plan, config, out, resume, device)
        seconds["training"] = round(sum(row["seconds"] for row in history), 1)
        if plan.train == "lora":  # the small file alone, then one that every other command reads
            save_adapter(model, out / ADAPTER, train.data.classes)
            strip(merge(model))
        logits = {name: predict(model, part.data.images, config.batch_size).cpu() for name, part in parts.items()}
    record = {"asked": asked, "finished": True, "classes": list(train.data.classes),
              "training images": labels.bincount(minlength=K).tolist(), "decay of the head": decay,
              "baselines": baselines, "model": asdict(model.config), "seconds": seconds, "history": history}
    record |= {name: scores(logits[name], part.data.labels, K) for name, part in parts.items()} | environment(device)
    export_weights(model.cpu(), out / WEIGHTS, classes=train.data.classes)
    draw(out, validation, logits["validation"], record["validation"])
    save_record(out / RECORD, record)
    return record


def asked_for(parts: dict[str, Part], model: ViT, plan: Plan, config: TrainConfig) -> dict:
    """Everything that a result depends on: a run that goes on must have it in common with the one that was stopped."""
    images = {f"images of {name}/": f"{len(part.data)}, {fingerprint(part.data)}" for name, part in parts.items()}
    return asdict(plan) | asdict(config) | images | {
        "data": parts["train"].data.name, "size": model.config.image_size, "weights": digest_of(model)}


def check_plan(plan: Plan, config: TrainConfig, model: ViT) -> None:
    """Raise ValueError for a plan that this model, or one process of several, cannot follow."""
    if processes() > 1:
        raise ValueError("finetune works in one process; start it without torchrun")
    if plan.train == "last" and plan.blocks > model.config.depth:
        raise ValueError(f"the model has {model.config.depth} blocks, so the last {plan.blocks} cannot be trained; "
                         "train fewer, or all")
    if plan.train == "lora" and not 1 <= plan.rank <= model.config.dim:
        raise ValueError(f"the rank of the adapters lies in 1…{model.config.dim}, the model's width, got {plan.rank}; "
                         "4 to 16 is usual")
    if config.optimizer != "adamw" and plan.train != "head":
        raise ValueError(f"fine-tuning lowers AdamW's rates from layer to layer; optimizer={config.optimizer!r} would "
                         "leave the blocks' at one rate")


def check_result(out: Path, resume: bool, asked: dict | None = None) -> None:
    """Raise ValueError where `out` holds results already, unless they are to go on and are of what is `asked` now."""
    names = (RECORD, WEIGHTS, CHECKPOINT, ADAPTER, "confusion.png", "mistakes.png")
    there = [name for name in names if (out / name).exists()]
    if there and not resume:
        raise ValueError(f"{out} holds {there[0]} already, of a run that is done or was stopped; add --resume to go on "
                         "with it, or choose another --out")
    if not there:
        return
    try:
        old = json.loads((out / RECORD).read_text(encoding="utf-8"))["asked"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{out / RECORD} is missing, damaged or of another command; choose another --out") from error
    if asked is not None:
        check_same_run(old, json.loads(json.dumps(asked)))  # tuples become lists in a file


def check_apart(folder: Path, out: Path) -> None:
    """Raise ValueError where results would lie among the images, and be a class in the next run."""
    folder = folder.expanduser().resolve()
    if out.resolve().is_relative_to(folder):
        raise ValueError(f"{out} lies in the folder of the images, so the next run would take its figures for images; "
                         f"choose another --out, such as {folder.parent / 'runs' / folder.name}")


def train_on(model: ViT, train: ImageSet, validation: ImageSet, plan: Plan, config: TrainConfig, out: Path,
             resume: bool, device: str | torch.device) -> list[dict]:
    """Train the last blocks, adapters, or all, from the probe's head on; returns the history.

    No epoch is chosen: the last one counts, when the rate has fallen to nothing.
    """
    L, checkpoint = model.config.depth, out / CHECKPOINT
    share = plan.blocks / L if plan.train == "last" else 1.0
    choose_trained(model, plan)
    chosen = train.subset(balanced(train.labels)) if plan.balance else train
    cost = seconds_each(model.to(device), train.images) * (len(chosen) * (1 + 2 * share) + len(validation))
    print(f"training: about {duration(cost * config.epochs)} for {config.epochs} epochs of {len(chosen)} images",
          flush=True)
    return fit(model, chosen, config, validation, checkpoint, resume and checkpoint.exists(), device)


def choose_trained(model: ViT, plan: Plan) -> None:
    """Freeze what is not to learn; adapters are put in here, and merged after `fit`."""
    L = model.config.depth
    if plan.train == "lora":
        torch.manual_seed(plan.split_seed)  # A is drawn
        add_lora(model, plan.rank)
    for name, parameter in model.named_parameters():
        if plan.train == "last" and level_of(name, L) <= L - plan.blocks:
            parameter.requires_grad_(False)


@contextmanager
def plainly() -> Iterator[None]:
    """Meanwhile a warning is a line for a reader, without the place in the code that it comes from."""
    with warnings.catch_warnings():
        warnings.filterwarnings("always", module=r"vitlib\.")  # in a second run of one process too
        warnings.showwarning = lambda message, *rest, **more: print(f"note: {message}", flush=True)
        yield


def since(start: float) -> float:
    """Seconds, as a record has them."""
    return round(time.perf_counter() - start, 1)
