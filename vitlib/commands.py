"""The commands for your own images: `finetune`, `predict` and `export`; and what all commands share."""

import argparse
import os
from dataclasses import replace
from pathlib import Path

import torch

from .comparing import LEAST, images_at_hand, own_images
from .devices import default_device
from .exporting import CHECKED, ENDINGS, check_out, check_packages, default_file, export_file
from .finetune import ADAPTING, TUNING, Plan, check_result, finetune, starting_model, weights_file
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


def add_export(commands) -> None:
    """The command `export` and its options."""
    export = commands.add_parser(
        "export", formatter_class=argparse.RawDescriptionHelpFormatter, help="write a model for other programs",
        description="Write a trained model as one file that reads uint8 RGB images (batch, 3, H, W) and gives logits.\n"
                    "The normalisation is inside; the file names its classes. It is kept only if it answers as the\n"
                    "model does, in batches of two sizes.",
        epilog="onnx  float32, for ONNX Runtime and whatever else reads ONNX\n"
               "pt2   float32, for torch.export.load\n"
               "int8  ONNX with matrices of 8 bits: down to a quarter of the size, and answers that differ a little;\n"
               "      convolutions stay as they are, and whether it is faster depends on the processor\n\n"
               "onnx and int8 need: python -m pip install onnx onnxscript onnxruntime")
    export.set_defaults(run=run_export, stopped="What was there before is unchanged", device="cpu")
    export.add_argument("weights", metavar="WEIGHTS",
                        help="a folder or file that finetune or train wrote, or a zoo name")
    export.add_argument("--to", required=True, choices=ENDINGS, help="the format")
    export.add_argument("--out", type=Path, metavar="FILE",
                        help="default: beside the weights (of the zoo: in runs/), written over if it is there")
    export.add_argument("--images", nargs="+", metavar="IMAGE",
                        help="what to compare on, files or folders (default: test images of the training, or Shapes)")
    export.add_argument("--least", type=float, metavar="SHARE",
                        help=f"of the images that int8 has to leave in their class (default: {LEAST})")


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


def run_export(args: argparse.Namespace, device: torch.device) -> None:
    """Write a model for other programs, and say how large the file is and how well it agrees."""
    if args.least is not None and (args.to != "int8" or not 0 <= args.least <= 1):
        raise ValueError(f"--least is a share between 0 and 1, and belongs to --to int8; got {args.least} with "
                         f"--to {args.to}")
    check_packages(args.to)
    model, names = read_model(args.weights)
    out = args.out or default_file(args.weights, args.to)
    check_out(out, args.to)
    if out.resolve() == weights_file(args.weights).resolve():
        raise ValueError(f"{out} holds the weights themselves; choose another --out")
    check_folder(out.parent)
    size = model.config.image_size
    images, what = (own_images(args.images, size), "yours") if args.images else \
        images_at_hand(args.weights, size, CHECKED[args.to])
    found = export_file(model, names, args.to, out, images, LEAST if args.least is None else args.least)
    print(f"{out}: {found['bytes'] / 1e6:.2f} MB, {found['bytes'] / found['float32']:.2f} of the weights in float32")
    print(f"compared on {found['images']} images ({what}), in batches of {', '.join(map(str, found['batches']))}:")
    print(f"  the same class for {found['same']:.1%}; probabilities differ by up to {found['probability']:.2g}, logits "
          f"by up to {found['logit']:.2g} (the largest is {found['largest']:.2g})")
    print(f"it reads images, uint8 (batch, 3, {size}, {size}), RGB, 0 to 255, and gives logits (batch, {len(names)})")


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
