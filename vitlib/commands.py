"""The commands for your own images: `finetune` and `predict`; and what all commands share."""

import argparse
import os
from dataclasses import replace
from pathlib import Path

import torch

from .devices import default_device
from .finetune import ADAPTING, TUNING, Plan, check_result, finetune, starting_model
from .predicting import predict_files, read_model
from .report import tell
from .settings import override


def add_finetune(commands) -> None:
    """The command `finetune` and its options."""
    tune = commands.add_parser(
        "finetune", formatter_class=argparse.RawDescriptionHelpFormatter, help="fine-tune a model on your own images",
        description="Fine-tune a trained Vision Transformer on a folder of images; writes weights.safetensors,\n"
                    "record.json, confusion.png and mistakes.png.",
        epilog="FOLDER holds <class>/<image>, or train/<class>/<image> and the same below val/, also test/.\n\n"
               "weights to start from, for example:\n"
               "  vit_small_patch14_dinov2    fetched from a hub once; good features, use --size 112 or 224\n"
               "  deit_tiny_patch16_224       the same; small, and quick to train as a whole\n"
               "  cpu-60                      the book's own, for images of 32 px\n\n"
               "what to train: the head suits few images and a CPU, and takes minutes; with hundreds of images a\n"
               "class and a GPU, or a few hours, try last, then all.")
    tune.set_defaults(run=run_finetune)
    tune.add_argument("folder", metavar="FOLDER", help="your images")
    tune.add_argument("--from", dest="source", required=True, metavar="NAME",
                      help="weights to start from: a name of timm, torchvision, the hub or the zoo, or a file")
    tune.add_argument("--like", default="", metavar="NAME", help="the published model that a bare file is like")
    tune.add_argument("--size", type=int, help="pixels of a side, a multiple of the patch; half of it takes a quarter "
                                               "of the time and costs accuracy (default: the model's own)")
    tune.add_argument("--train", default="head", choices=("head", "last", "all"), help="what learns (default: head)")
    tune.add_argument("--blocks", type=int, default=2, help="how many blocks are the last (default: %(default)s)")
    tune.add_argument("--lora", type=int, metavar="RANK",
                      help="in place of --train: the head and low-rank adapters, kept alone too in adapter.safetensors")
    tune.add_argument("--validation", type=float, default=0.2, metavar="SHARE",
                      help="share of each class to score on, where the folder has no val/ (default: %(default)s)")
    tune.add_argument("--balance", action="store_true", help="show small classes as often as large ones")
    tune.add_argument("--epochs", type=int, help=f"for last, all and --lora (default: {TUNING.epochs})")
    tune.add_argument("--seed", type=int, default=0, help="another split, another order")
    tune.add_argument("--out", type=Path, help="folder for the results (default: runs/finetune-FOLDER)")
    tune.add_argument("--resume", action="store_true", help="go on with what is in the folder for the results")
    add_common(tune)
    tune.set_defaults(stopped="What was computed is kept: give the same command with --resume to go on")


def add_predict(commands) -> None:
    """The command `predict` and its options."""
    tell = commands.add_parser("predict", help="name what is on your images",
                               description="Print the likeliest classes of each image. Exit code 1 if one is no image.")
    tell.set_defaults(run=run_predict, stopped="")
    tell.add_argument("weights", metavar="WEIGHTS", help="a folder or file that finetune or train wrote, or a zoo name")
    tell.add_argument("images", nargs="+", metavar="IMAGE", help="a file, or a folder of them, however deep")
    tell.add_argument("--top", type=int, default=3, help="how many classes to show (default: %(default)s)")
    tell.add_argument("--csv", type=Path, metavar="FILE", help="write the probabilities of all classes to a table")
    tell.add_argument("--device", default=str(default_device()), help="cpu, cuda, cuda:1, mps (here: %(default)s)")


def add_common(command) -> None:
    """The options of everything that trains."""
    command.set_defaults(stopped="Finished epochs are kept: give the same command with --resume to go on")
    command.add_argument("--device", default=str(default_device()), help="cpu, cuda, cuda:1, mps (here: %(default)s)")
    command.add_argument("--set", nargs="+", action="extend", default=[], metavar="FIELD=VALUE",
                         help="change fields of the model or the training; of a field named twice the last one counts")


def run_finetune(args: argparse.Namespace, device: torch.device) -> None:
    """Fine-tune on a folder, and say what came out and how to use it."""
    changes = changes_of(args) | ({} if args.epochs is None else {"epochs": str(args.epochs)})
    if unknown := changes.keys() - vars(TUNING).keys():
        raise ValueError(f"--set cannot change {', '.join(sorted(unknown))}; it can change "
                         f"{', '.join(sorted(vars(TUNING)))}")
    if args.lora is not None and args.train != "head":
        raise ValueError(f"--lora and --train {args.train} name two things to train; give one of them")
    train = "lora" if args.lora is not None else args.train
    if train == "head" and (unused := changes.keys() - {"batch_size"}):
        raise ValueError(f"{', '.join(sorted(unused))} would change nothing: the head alone is solved, without epochs; "
                         "add --train last, --train all or --lora 8")
    out = args.out or Path("runs") / f"finetune-{Path(args.folder).expanduser().resolve().name}"
    check_folder(out)
    plan = Plan(args.source, args.like, train, args.blocks, args.validation, args.balance, args.seed,
                8 if args.lora is None else args.lora)
    check_result(out, args.resume)
    model = starting_model(args.source, args.like, args.size)
    start = replace(ADAPTING if train == "lora" else TUNING, crop=model.config.image_size // 16, seed=args.seed)
    record = finetune(args.folder, model, out, plan, override(start, changes), args.resume, device)
    tell(record, out)


def run_predict(args: argparse.Namespace, device: torch.device) -> None:
    """Print what a model says of images."""
    model, names = read_model(args.weights)
    if failed := predict_files(model.to(device), names, args.images, args.top, args.csv):
        raise SystemExit(f"vitlib predict: {failed} of the files could not be read, see above")


def changes_of(args: argparse.Namespace) -> dict[str, str]:
    """What `--set` names, as {field: text}."""
    return dict(pair.split("=", 1) if "=" in pair else (pair, "") for pair in args.set)


def check_folder(out: Path) -> None:
    """Raise OSError before the training, not after its first epoch, where results cannot be written."""
    there = next(path for path in (out, *out.parents) if path.exists())  # at the latest the root
    if not there.is_dir():
        raise NotADirectoryError(f"results cannot be written to {out}: {there} is a file; choose another --out")
    if not os.access(there, os.W_OK | os.X_OK):
        raise PermissionError(f"results cannot be written to {out}: {there} may not be changed; choose another --out")
