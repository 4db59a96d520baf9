"""What the studies share: many trainings side by side, each in a process of its own, each kept when it ends."""

import argparse
import json
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import torch
from torch import nn

from vitlib.checkpoint import ZOO, environment, save_record
from vitlib.data import ImageSet, stratified_split
from vitlib.devices import keep_memory
from vitlib.sources import load_cifar10
from vitlib.train import TrainConfig, evaluate, fit

SEEDS = (0, 1, 2)


@cache
def data(dry: bool) -> tuple[ImageSet, ImageSet]:
    """45,000 training and 5,000 validation images of CIFAR-10; the test set stays shut."""
    train, validation = stratified_split(load_cifar10()[0], 0.1, seed=0)
    if dry:
        train, validation = (part.subset(torch.arange(0, len(part), len(part) // 256)) for part in (train, validation))
    return train, validation


def one_thread() -> None:
    """Runs go side by side, one thread each: that is quicker than one after the other with all threads."""
    torch.set_num_threads(1)
    keep_memory()


def train_and_score(model: nn.Module, train: ImageSet, validation: ImageSet, config: TrainConfig, **options) -> dict:
    """What a study keeps of a run: the last epoch, its accuracy on the images set aside, the seconds of training.

    The options are those of `fit`.
    """
    history = fit(model, train, config, **options)
    accuracy = {"validation_accuracy": evaluate(model, validation)["accuracy"],
                "train_accuracy": round(history[-1]["train_accuracy"], 4)}
    return accuracy | {"seconds": round(sum(epoch["seconds"] for epoch in history), 1)}


class Kept:
    """Results kept in a file as they come, so that the same command goes on: `kept(title, function, *arguments)`.

    Where the file is not there yet, the runs of `finished`, an earlier record, are taken over. Each run names the
    commit that it comes from. Raises ValueError when the file was begun with another torch.
    """

    def __init__(self, path: Path, about: dict, finished: Path | None = None):
        here, self.path = environment(), path
        self.commit, begun = here.pop("commit"), {**here, **about}
        earlier = next((p for p in (path, finished) if p is not None and p.is_file()), None)
        self.record = begun | {"runs": {}}
        if earlier is not None:
            old = json.loads(earlier.read_text(encoding="utf-8"))
            if old["torch"] != begun["torch"]:
                raise ValueError(f"{earlier} was begun with torch {old['torch']}, this is {begun['torch']}; go back to "
                                 "that to go on, or delete the file to start again")
            self.record |= {"runs": old["runs"]}

    def __call__(self, title: str, function: Callable[..., dict], *arguments) -> dict:
        """What the function gives, now or when it was called under this title before."""
        if title not in (runs := self.record["runs"]):
            runs[title] = function(*arguments) | {"commit": self.commit}
            save_record(self.path, self.record)
            print(title, runs[title], flush=True)
        return runs[title]


def collect(name: str, run: Callable[..., dict], jobs: dict[str, tuple], about: dict,
            summarise: Callable[[dict], dict], on_gpu: bool = False) -> None:
    """Run `run(*job, dry)` for every job that is not done, and write the record when all are.

    With `on_gpu` there is an option --device, and `run(*job, dry, device)` is called. Each result is kept in
    runs/NAME.json as it comes, and the same command goes on from there. A record comes from one commit, one torch
    and one set of images: raises ValueError when the file was begun with another.
    """
    parser = argparse.ArgumentParser(description=f"Run the study {name}: {len(jobs)} trainings.")
    parser.add_argument("--work", type=Path, default=Path(f"runs/{name}.json"), help="where runs are kept as they end")
    parser.add_argument("--out", type=Path, default=ZOO / f"{name}.json", help="the finished record")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="runs side by side, one thread each")
    parser.add_argument("--dry", action="store_true", help="256 images, nothing written to --out")
    parser.add_argument("--partial", action="store_true", help="train nothing: write the record of what is done")
    if on_gpu:
        parser.add_argument("--device", default="cpu", help="where the trainings run, such as cuda (default: cpu)")
    args = parser.parse_args()
    device = [args.device] if on_gpu else []
    path = args.work.with_stem(args.work.stem + "-dry") if args.dry else args.work
    torch.set_num_threads(1)  # for the record of the environment too
    train, validation = data(args.dry)
    begun = {"about": f"python book/studies {name}", **environment(*device), "data": train.name,
             "training images": len(train), "validation images": len(validation), "seeds": list(SEEDS)}
    record = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else begun | about | {"runs": {}}
    if args.partial and not record["runs"]:
        raise SystemExit(f"nothing is done yet: there are no runs in {path}")
    for key in ("commit", "torch", "data", "training images"):
        if (old := record[key]) != begun[key] and not args.partial:
            raise ValueError(f"{path} was begun with {key} {old}, this is {begun[key]}; go back to that to go on, "
                             "or delete the file to start again")
    with ProcessPoolExecutor(args.workers, get_context("spawn")) as pool:
        left = {title: job for title, job in jobs.items() if title not in record["runs"] and not args.partial}
        waiting = {pool.submit(run, *job, args.dry, *device): title for title, job in left.items()}
        for done in as_completed(waiting):
            if error := done.exception():  # the others go on; the same command tries this one again
                print(f"{waiting[done]} failed: {error!r}", flush=True)
                continue
            record["runs"][waiting[done]] = done.result()
            save_record(path, record)
            print(f"{waiting[done]}: {done.result()['validation_accuracy']:.1%}", flush=True)
    if (missing := jobs.keys() - record["runs"].keys()) and not args.partial:
        raise SystemExit(f"not done: {', '.join(sorted(missing))}; {path} keeps the rest")
    runs = record.pop("runs")
    record |= summarise(runs) | ({"not done": sorted(missing)} if missing else {})
    print(json.dumps(record, indent=1))
    if not args.dry:
        save_record(args.out, record)
