"""What a fine-tuning finds and is worth: in words, numbers and pictures."""

import warnings
from io import BytesIO
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from .files import write_atomically
from .folders import listed
from .photos import Part, in_two_classes, seen_before
from .transfer import nearest_neighbours
from .vit import ViT


def introduce(parts: dict[str, Part], split: tuple[Tensor, Tensor] | None, source: str, model: ViT, trained: str,
              balance: bool) -> None:
    """Say what was found and what is going to be done, before the long part."""
    data, c = parts["train"].data, model.config
    counts = data.labels.bincount(minlength=len(data.classes)).tolist()
    train, validation = split or (range(len(data)), parts["validation"].files)
    test = f", {len(parts['test'].files)} to test on at the end" if "test" in parts else ""
    print(f"{data.name}: {len(train)} images to train on, {len(validation)} to validate on{test}; "
          f"{len(counts)} classes: " + listed([f"{name} {count}" for name, count in zip(data.classes, counts)], ", "))
    if (ratio := max(counts) / min(counts)) > 3:
        print(f"the largest class has {ratio:.0f} times the images of the smallest: read the balanced accuracy"
              + ("" if balance else ", and try --balance"))
    if "validation" in parts and (copies := seen_before(parts["train"], parts["validation"])):
        print(f"note: {len(copies)} validation images are copies of training images, so the score flatters: "
              + listed(copies, ", "))
    if double := in_two_classes(parts["train"]):
        print(f"note: {len(double)} images lie in two classes, so one label is wrong: {listed(double, ', ')}")
    size, patches = sum(p.numel() for p in model.parameters()) / 1e6, (c.image_size // c.patch_size) ** 2
    print(f"{source or 'the model'}: {size:.1f} million parameters, images of {c.image_size} px as {patches} patches; "
          f"trained: {trained}", flush=True)


def bars_to_beat(train: Part, validation: Part) -> dict:
    """What costs nothing: always the largest class, and a vote of the nearest neighbours. Says both."""
    labels, K = train.data.labels, len(train.data.classes)
    most, truth = int(labels.bincount().argmax()), validation.data.labels
    near = nearest_neighbours(train.features, labels, validation.features, K)
    found = {"largest class": (truth == most).float().mean().item(),
             "nearest neighbours": (near == truth).float().mean().item()}
    print(f"to beat on the validation images: always {train.data.classes[most]!r} {found['largest class']:.1%}, "
          f"nearest neighbours {found['nearest neighbours']:.1%}", flush=True)
    return found


def scores(logits: Tensor, labels: Tensor, classes: int | None = None) -> dict:
    """Accuracy with its 95 % interval (Wilson's), its mean over the classes, the loss; with `classes`, the confusion.

    Rows of the confusion are the truth, columns what was predicted.
    """
    predicted, n = logits.argmax(1), len(labels)
    right = predicted == labels
    p, z = right.float().mean().item(), 1.96
    middle, half = (p + z**2 / (2 * n)), z * (p * (1 - p) / n + z**2 / (4 * n**2)) ** 0.5
    recall = torch.stack([right[labels == k].float().mean() for k in labels.unique()])
    found = {"images": n, "accuracy": p, "interval": [(middle + sign * half) / (1 + z**2 / n) for sign in (-1, 1)],
             "balanced accuracy": recall.mean().item(),
             "loss": F.cross_entropy(logits, labels).item()}
    if classes:
        pairs = torch.bincount(labels * classes + predicted, minlength=classes**2)
        found["confusion"] = pairs.reshape(classes, classes).tolist()
    return found


def draw(out: Path, validation: Part, logits: Tensor, found: dict) -> None:
    """Write confusion.png and, where there were any, mistakes.png with the twenty most confident ones."""
    from .figures import confusion_of, mistakes, plain  # here, because loading Matplotlib takes a second
    names, labels = validation.data.classes, validation.data.labels
    probability, predicted = logits.softmax(1).max(1)
    wrong = (predicted != labels).nonzero()[:, 0]
    worst = wrong[probability[wrong].argsort(descending=True)][:20]
    title, counts = f"{found['accuracy']:.1%} of {len(labels)} right, rows in %", torch.tensor(found["confusion"])
    if len(worst):
        pairs = counts - counts.diag().diag()
        true, other = divmod(int(pairs.argmax()), len(names))
        title += f";\n{plain(names[true])} is taken for {plain(names[other])} most often ({pairs.max()})"
    figures = {"confusion": confusion_of(counts, names, title)}
    if len(worst):
        notes = [(validation.files[i].split("/")[-1], f"true: {names[labels[i]]}",
                  f"predicted: {names[predicted[i]]} {probability[i]:.0%}") for i in worst.tolist()]
        figures["mistakes"] = mistakes(validation.data.images[worst], notes,
                                       f"The {len(worst)} most confident of {len(wrong)} mistakes")
    (out / "mistakes.png").unlink(missing_ok=True)  # of an earlier state of the same run
    for name, figure in figures.items():
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph")  # a name in a script that Matplotlib's font lacks
            figure.savefig(buffer := BytesIO(), format="png")
        write_atomically(out / f"{name}.png", buffer.getvalue())


def tell(record: dict, out: Path) -> None:
    """The result in a few lines, and what to do with it."""
    for part in ("validation", "test"):
        if (found := record.get(part)) is not None:
            low, high = found["interval"]
            print(f"{part}: {found['accuracy']:.1%} of {found['images']} images right (95 % interval {low:.0%} to "
                  f"{high:.0%}), balanced accuracy {found['balanced accuracy']:.1%}")
    head = record["baselines"]["head alone"]["accuracy"]
    if record["history"] and head > record["validation"]["accuracy"]:
        print(f"the head alone had {head:.1%}, so more training did not help: keep to it, or try a lower rate "
              "such as --set lr=1e-4")
    written = ("weights.safetensors", "record.json", "confusion.png", "mistakes.png")
    files = [name for name in written if (out / name).exists()]
    print(f"{out}: {', '.join(files)}\nnext: python -m vitlib predict {out} IMAGE…", flush=True)
