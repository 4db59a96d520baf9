"""The answers of an exported file beside those of its model, and the images that both are asked about."""

import json
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from torch import Tensor

from .checkpoint import load_record, zoo
from .decoding import decode_image, listening, printable
from .finetune import weights_file
from .predicting import image_files
from .shapes import shapes
from .sources import load_cifar10, load_fashion_mnist

CLOSE = 1e-4  # of the largest logit: how far float32 may stray when sums are taken in another order
LEAST = 0.9  # share of the images that 8 bits have to leave in their class
MOST = 1000  # of the images that someone names
DATA = {"CIFAR-10": load_cifar10, "Fashion-MNIST": load_fashion_mnist}


def answers(path: Path, parts: list[Tensor]) -> Tensor:
    """The logits (N, K) of batches of uint8 images, from a file that was just written and is now read again.

    Raises ValueError where it cannot be read or run.
    """
    try:
        run = open_pt2(path) if path.suffix == ".pt2" else open_onnx(path)
        with torch.no_grad():
            return torch.cat([run(part) for part in parts])
    except Exception as error:  # each library has errors of its own
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise ValueError(f"the exported file cannot be loaded and run ({reason}), so it was not kept") from error


def open_pt2(path: Path) -> Callable[[Tensor], Tensor]:
    """A .pt2 as a function of images. Only for a file that we have just written: torch.export.load can unpickle."""
    return torch.export.load(path).module()


def open_onnx(path: Path) -> Callable[[Tensor], Tensor]:
    """An ONNX file as a function of images, on the CPU."""
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda images: torch.from_numpy(session.run(["logits"], {"images": images.numpy()})[0])


def batches_of(images: Tensor) -> list[Tensor]:
    """One image alone, then batches of up to 32: a file that knows one batch size only is found out."""
    if not len(images):
        raise ValueError("there is no image to compare on; give one at least")
    enough = images if len(images) > 2 else images.repeat(3, 1, 1, 1)
    return [enough[:1], *enough[1:].split(32)]


def compare(found: Tensor, expected: Tensor) -> dict[str, float]:
    """How far logits (N, K) are from those expected: largest differences, and the share with the same top class.

    Raises ValueError for another shape, and for what is no number.
    """
    check_logits(found, expected)
    return {"logit": (found - expected).abs().max().item(), "largest": expected.abs().max().item(),
            "probability": (found.softmax(1) - expected.softmax(1)).abs().max().item(),
            "same": (found.argmax(1) == expected.argmax(1)).float().mean().item()}


def images_at_hand(source: str, size: int, count: int) -> tuple[Tensor, str]:
    """Up to `count` uint8 images (N, 3, size, size), and what they are.

    Test images of what the weights `source` were trained on, where they are at hand, else drawn Shapes.
    """
    data = data_name(source)
    load = next((load for start, load in DATA.items() if data.startswith(start)), None)
    try:
        test = load()[1] if load else None
    except (OSError, ValueError):
        test = None
    if test is not None and test.images.shape[1:] == (3, size, size):
        return torch.stack(spread(test.images, count)), f"test images of {test.name}"
    drawn = shapes(count, seed=2, size=max(size, 8), scattered=data == "Shapes, scattered").images[..., :size, :size]
    return drawn, data if data.startswith("Shapes") else "Shapes, not what it was trained on; better: --images"


def data_name(source: str) -> str:
    """The data of the training run that weights came from, by its record; "" where there is none."""
    if source in zoo():
        return load_record(source)["data"]
    try:
        record = json.loads(weights_file(source).with_name("record.json").read_text(encoding="utf-8"))
        return str(record.get("data", ""))
    except (OSError, ValueError, AttributeError):
        return ""


def own_images(places: list[str], size: int) -> Tensor:
    """Files and folders as uint8 images (N, 3, size, size), at most 1000; what cannot be read is named and left out."""
    files = spread(image_files(places), MOST)
    with ThreadPoolExecutor() as pool, listening():
        read = list(pool.map(lambda path: decode_image(path, size), files))
    for path, (image, why) in zip(files, read):
        if image is None:
            print(f"{printable(path)}: left out, {why}", file=sys.stderr, flush=True)
    if not (images := [image for image, _ in read if image is not None]):
        raise ValueError(f"there are no images to compare on in {', '.join(map(printable, places))}; name others "
                         "with --images, or leave it out")
    return torch.stack(images)


def spread(things: Sequence | Tensor, count: int) -> list:
    """At most `count` of them, evenly spread: folders come class by class."""
    count = min(count, len(things))
    return [things[i * len(things) // count] for i in range(count)]


def check_logits(found: Tensor, expected: Tensor) -> None:
    """Raise ValueError unless a file's logits are numbers, as many as the model's."""
    if found.shape != expected.shape:
        raise ValueError(f"the exported file gives logits of shape {tuple(found.shape)}, the model "
                         f"{tuple(expected.shape)}, so it was not kept")
    if not found.isfinite().all():
        raise ValueError("the exported file gives nan or infinity, so it was not kept; export with --to onnx or pt2")


def check_answers(found: dict[str, float], kind: str, least: float = LEAST) -> None:
    """Raise ValueError unless a file's answers are close enough to the model's."""
    if kind == "int8":
        if found["same"] < least:
            raise ValueError(f"with 8 bits only {found['same']:.1%} of {found['images']} images keep their class, and "
                             f"{least:.1%} are asked for, so the file was not kept; export with --to onnx, or give "
                             "images like those it is meant for with --images, or accept less with --least")
    elif found["logit"] > CLOSE * found["largest"]:
        raise ValueError(f"the exported file's logits differ from the model's by up to {found['logit']:.2g}, of "
                         f"{found['largest']:.2g} at most; {CLOSE:g} of that is allowed, so it was not kept. Please "
                         "report it, with the versions of torch, onnx and onnxruntime")
