"""`python -m vitlib COMMAND`: what a terminal can ask for.

`train` runs a recipe, `finetune` starts from trained weights and your own images, `predict` names what is on an image,
`export` writes a model for other programs.
"""

import argparse
import dataclasses
import os
import signal
import sys
from pathlib import Path

import torch
from torch.distributed import DistError

from .checkpoint import environment, export_weights, save_record
from .commands import add_common, add_export, add_finetune, add_predict, changes_of, check_folder
from .data import ImageSet, on_device, stratified_split
from .devices import keep_memory
from .parallel import group, number_0_first, processes, rank
from .recipes import RECIPES
from .settings import override
from .sources import load_data
from .train import evaluate, fit, predict
from .vit import ViT


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line; alone, `python -m vitlib` prints its help. Each command sets `run`, what does it."""
    parser = argparse.ArgumentParser("python -m vitlib", description="The Vision Transformer of the book Patchwork.")
    commands = parser.add_subparsers(metavar="COMMAND", dest="command")
    add_train(commands)
    add_finetune(commands)
    add_predict(commands)
    add_export(commands)
    args = parser.parse_args(arguments)
    if args.command is None:
        parser.print_help()
        raise SystemExit(0)
    return args


def add_train(commands) -> None:
    """The command `train` and its options."""
    recipes = "\n".join(f"  {name:16} {recipe.about}" for name, recipe in RECIPES.items())
    train = commands.add_parser(
        "train", formatter_class=argparse.RawDescriptionHelpFormatter, help="train a recipe, from its first weights",
        description="Train a Vision Transformer; writes weights.safetensors and record.json.",
        epilog=f"recipes:\n{recipes}\n\nseveral processes or GPUs:\n"
               "  torchrun --standalone --nproc-per-node 2 -m vitlib train RECIPE")
    train.set_defaults(run=run_recipe)
    train.add_argument("recipe", choices=RECIPES, metavar="RECIPE", help="one of the recipes below")
    train.add_argument("--out", type=Path, help="folder for the results (default: runs/RECIPE-SEED)")
    train.add_argument("--data", help="shapes, shapes-scattered, cifar10, or a folder with train/ and test/")
    train.add_argument("--seed", type=int, help="another seed: other first weights, other order, other augmentation")
    train.add_argument("--validation", type=float, default=0.0, metavar="SHARE",
                       help="set a share of the training images aside and score it after each epoch; "
                            "the test set stays shut")
    train.add_argument("--resume", action="store_true", help="go on from the folder's checkpoint, if there is one")
    add_common(train)


def main(arguments: list[str] | None = None) -> None:
    """Do what the command line says; exits with one clear line where something is wrong."""
    args = parse(arguments)
    keep_memory()
    if "TORCHELASTIC_RUN_ID" in os.environ:  # torchrun started this process
        signal.signal(signal.SIGTERM, stop)
    try:
        with group(args.device) as device:
            args.run(args, device)
    except (ValueError, OSError, FloatingPointError) as error:
        raise SystemExit(f"vitlib {args.command}: {error}") from error
    except KeyboardInterrupt as error:
        print(f"\nvitlib {args.command}: stopped from the keyboard. {args.stopped}", file=sys.stderr)
        raise SystemExit(130) from error  # what a shell reports after Ctrl-C
    except RuntimeError as error:
        if isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error):
            raise SystemExit(f"vitlib {args.command}: the memory of {args.device} is full; choose a smaller model or "
                             "batch: --set batch_size=…") from error
        if "gloo" not in str(error) and not isinstance(error, DistError):
            raise
        stop()


def stop(*signal_and_frame) -> None:
    """End at once, with advice: torchrun asks the other processes to stop when one has died.

    Not by an exception: whatever code runs at that moment could catch it, and then the run would go on.
    """
    os.write(2, b"vitlib: stopped, because another process of this run died or someone asked for it. "
                b"The last checkpoint is kept: give the same command with --resume\n")
    os._exit(1)


def run_recipe(args: argparse.Namespace, device: torch.device) -> None:
    """Build what was asked for, train it, open the test set once, and write the results."""
    recipe = RECIPES[args.recipe]
    changes = changes_of(args)
    if args.seed is not None:
        changes["seed"] = str(args.seed)
    model_config, config = override(recipe.model, changes), override(recipe.train, changes)
    fields = (vars(model_config) | vars(config)).keys() - {"classes", "channels"}  # those two come with the data
    if unknown := changes.keys() - fields:
        raise ValueError(f"--set cannot change {', '.join(sorted(unknown))}; it can change {', '.join(sorted(fields))}")
    if args.validation and not 0 < args.validation < 1:
        raise ValueError(f"--validation is a share of the training images between 0 and 1, got {args.validation}")
    out = args.out or Path("runs") / f"{args.recipe}-{config.seed}"
    check_folder(out)
    checkpoint = out / "checkpoint.pt"
    if checkpoint.exists() and not args.resume:
        raise ValueError(f"{checkpoint} is already there; add --resume to go on, or choose another --out")
    with number_0_first():
        train, test = load_data(args.data or recipe.data, model_config.image_size)
    if train.classes != test.classes:
        other = ", ".join(sorted(set(train.classes) ^ set(test.classes)))
        raise ValueError(f"training and test images do not have the same classes: {other} stand on one side only")
    model_config = dataclasses.replace(model_config, classes=len(train.classes))
    train, validation = stratified_split(train, args.validation, seed=0) if args.validation else (train, None)
    torch.manual_seed(config.seed)
    model = ViT(model_config)
    history = fit(model, train, config, validation, checkpoint, args.resume and checkpoint.exists(), device)
    if rank():
        return  # number 0 writes
    record = {"recipe": args.recipe, "data": train.name, "training images": len(train),
              "parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
              "model": dataclasses.asdict(model_config), "train": dataclasses.asdict(config), "processes": processes(),
              "training seconds": round(sum(row["seconds"] for row in history), 1), "history": history}
    record |= environment(device) | (test_scores(model, on_device(test, device)) if validation is None else {})
    export_weights(model.cpu(), out / "weights.safetensors")
    save_record(out / "record.json", record)
    result = "test set shut" if validation else f"test accuracy {record['test']['accuracy']:.2%}"
    print(f"{out}/record.json: {result}")


def test_scores(model: ViT, test: ImageSet) -> dict:
    """Loss, accuracy and confusion counts (rows: truth, columns: prediction) on the test set."""
    predicted = predict(model, test.images).argmax(1)
    confusion = torch.bincount(test.labels * len(test.classes) + predicted, minlength=len(test.classes) ** 2)
    return {"test": evaluate(model, test), "classes": list(test.classes),
            "confusion": confusion.reshape(len(test.classes), -1).tolist()}
