"""Figures of the commands that work on your own images."""

import numpy as np

from .arrays import as_array
from .plots import Figure, confusion, new_figure, show


def plain(text: str, most: int = 24) -> str:
    """A name for a figure: not read as a formula, and cut in the middle where it is long."""
    text = text if len(text) <= most else f"{text[: most // 2 - 1]}…{text[-most // 2:]}"
    return text.replace("$", r"\$")


def confusion_of(counts, classes: list[str], title: str = "", most: int = 20) -> Figure:
    """Confusion counts (truth, prediction) as `plots.confusion`; of more classes than `most`, those with most errors.

    The others then share one row and one column.
    """
    counts, names = as_array(counts), [plain(name) for name in classes]
    if len(names) > most:
        wrong = counts.sum(0) + counts.sum(1) - 2 * counts.diagonal()
        worst = np.sort(np.argsort(-wrong, kind="stable")[: most - 1])
        place = np.full(len(names), most - 1)
        place[worst] = np.arange(most - 1)
        folded = np.zeros((most, most), counts.dtype)
        np.add.at(folded, (place[:, None], place[None, :]), counts)
        counts, names = folded, [names[k] for k in worst] + [f"{len(names) - most + 1} others"]
    return confusion(counts, names, title)


def mistakes(images, notes: list[tuple[str, ...]], title: str = "", columns: int = 5) -> Figure:
    """Images (B, C, H, W) in rows, each below its lines of text."""
    columns = min(columns, max(3, len(images)))
    rows = -(-len(images) // columns)
    figure, axes = new_figure(rows, columns, height=2.5 * rows + 0.5, width=2.1 * columns, title=title)
    for axis in axes.flat:
        axis.axis("off")
    for axis, image, note in zip(axes.flat, images, notes):
        show(axis, image)
        axis.set_title("\n".join(plain(line, 32) for line in note), fontsize=8, fontweight="normal")
    return figure
