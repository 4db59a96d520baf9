"""Every figure of the book: functions that take arrays or tensors and return a Matplotlib figure.

Tensors may be of any floating dtype, on any device, with gradients or without. One colour stands for one idea
throughout (Okabe and Ito's palette, safe for colour-blind readers).

A notebook shows the figure that a cell returns. In a script with a window, `plt.show()` shows all figures made so far;
without one, save them: `figure.savefig("maps.png")`.
"""

import math

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from matplotlib.ticker import MaxNLocator

from .arrays import as_array, as_maps, as_matrix, as_picture, check_overlay
from .patches import check_sizes

QUERY, KEY, VALUE = "#0072B2", "#D55E00", "#009E73"
CLASS_TOKEN, PATCH, GREY = "#CC79A7", "#56B4E9", "#6B7280"
TRAIN, VALIDATION, TEST = "#0072B2", "#E69F00", "#009E73"
COLOURS = {"query": QUERY, "key": KEY, "value": VALUE, "class token": CLASS_TOKEN, "patch": PATCH,
           "train": TRAIN, "validation": VALIDATION, "test": TEST}
STYLE = {"figure.dpi": 130, "figure.facecolor": "white", "savefig.facecolor": "white", "font.size": 12,
         "axes.titlesize": 13, "axes.titleweight": "bold", "axes.spines.top": False, "axes.spines.right": False,
         "axes.edgecolor": GREY, "lines.linewidth": 2.2, "legend.frameon": False, "image.cmap": "cividis"}
WIDTH = 6.4  # inches: readable on a telephone and beside text


def new_figure(rows: int = 1, columns: int = 1, height: float = 3.2, title: str = "",
               **options) -> tuple[Figure, np.ndarray]:
    """A figure in the book's style, and its axes as an array (rows, columns)."""
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(rows, columns, figsize=(options.pop("width", WIDTH), height), squeeze=False,
                                    layout="constrained", **options)
        if title:
            figure.suptitle(title, fontsize=13, fontweight="bold")
    if figure.canvas.required_interactive_framework is None:  # no windows: a notebook, or a script that saves files
        plt.close(figure)  # so a notebook shows it once, by the cell that returns it, and many fill no memory
    return figure, axes


def show(axis: Axes, image, title: str = "", **options) -> None:
    """Draw one image without ticks."""
    axis.imshow(as_picture(image), interpolation="nearest", cmap="cividis", **options)  # cmap is for maps only
    axis.set(xticks=[], yticks=[])
    axis.spines[:].set_visible(False)
    axis.set_title(title, fontsize=11, fontweight="normal")


def image_grid(images, labels: list[str] | None = None, columns: int = 5, title: str = "") -> Figure:
    """Images (B, C, H, W) in rows, each under its label. Raises ValueError for none, or too few labels."""
    if not len(images) or (labels and len(labels) < len(images)):
        raise ValueError(f"image_grid wants one or more images and a label for each, got {len(images)} images and "
                         f"{len(labels or [])} labels")
    rows = -(-len(images) // columns)
    figure, axes = new_figure(rows, columns, height=rows * WIDTH / columns * (1.15 if labels else 1) + 0.3, title=title)
    for axis in axes.flat:
        axis.axis("off")
    for i, (axis, image) in enumerate(zip(axes.flat, images)):
        show(axis, image, labels[i] if labels else "")
    return figure


def image_rows(rows: dict[str, list], title: str = "", vmax: float | None = None) -> Figure:
    """Named rows of images or maps (all with one scale 0…vmax), the name at the left. Raises ValueError for none."""
    columns = max(map(len, rows.values()), default=0)
    if not columns:
        raise ValueError("image_rows wants at least one row with an image, got none")
    side = min(1.8, (WIDTH - 1) / columns)
    figure, axes = new_figure(len(rows), columns, height=len(rows) * side + 0.4, title=title)
    for axis_row, (name, images) in zip(axes, rows.items()):
        for axis, image in zip(axis_row, images):
            show(axis, image, vmin=0, vmax=vmax)
        for axis in axis_row[len(images):]:
            axis.axis("off")
        axis_row[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=11)
    return figure


def patch_grid(image, patch_size: int, title: str = "") -> Figure:
    """An image with its patch borders, beside the patches pulled apart and numbered in reading order."""
    picture, P = np.atleast_3d(as_picture(image)), patch_size
    check_sizes(math.gcd(*picture.shape[:2]), P)
    rows, columns = picture.shape[0] // P, picture.shape[1] // P
    gap = max(1, P // 4)
    step, white = P + gap, 255 if picture.dtype == np.uint8 else 1.0
    apart = np.pad(picture.reshape(rows, P, columns, P, -1), [(0, 0), (0, gap)] * 2 + [(0, 0)], constant_values=white)
    apart = apart.reshape(rows * step, columns * step, -1)[:-gap, :-gap]
    figure, (axes,) = new_figure(1, 2, height=3.4, title=title)
    show(axes[0], picture.transpose(2, 0, 1), f"one image, {picture.shape[0]}×{picture.shape[1]}")
    for draw, count in ((axes[0].axhline, rows), (axes[0].axvline, columns)):
        for cut in range(1, count):
            draw(cut * P - 0.5, color="white", linewidth=1)
    show(axes[1], apart.transpose(2, 0, 1), f"{rows * columns} patches of {P}×{P}")
    if rows * columns <= 64:
        for i in range(rows * columns):
            axes[1].text(i % columns * step + 0.1, i // columns * step + 0.1, str(i), fontsize=8, va="top",
                         color="black", bbox={"facecolor": "white", "alpha": 0.75, "pad": 0.6, "linewidth": 0})
    return figure


def matrix(values, title: str = "", rows: str = "", columns: str = "", numbers: str = "", vmin=None, vmax=None,
           cmap: str = "cividis", height: float = 3.6, row_names: list[str] | None = None,
           column_names: list[str] | None = None) -> Figure:
    """A matrix as a heat map with its scale; `numbers` is a format, such as ".2f", to write in the cells."""
    values = as_matrix(values)
    figure, ((axis,),) = new_figure(height=height, title=title)
    drawn = axis.imshow(values, cmap=cmap, vmin=vmin, vmax=vmax, aspect="auto")
    figure.colorbar(drawn, ax=axis)
    axis.set(xlabel=columns, ylabel=rows)
    if numbers:
        for (r, c), value in np.ndenumerate(values):
            dark = np.dot(drawn.cmap(drawn.norm(value))[:3], (0.3, 0.6, 0.1)) < 0.5  # red, green, blue
            axis.text(c, r, format(value, numbers), ha="center", va="center", color="white" if dark else "black")
        axis.set(xticks=range(values.shape[1]), yticks=range(values.shape[0]))
    for names, write in ((row_names, axis.set_yticks), (column_names, axis.set_xticks)):
        if names:
            write(range(len(names)), names)
    return figure


def lines(series: dict[str, tuple], title: str = "", x: str = "", y: str = "", colours: dict | None = None,
          log: str = "", levels: dict[str, float] | None = None, height: float = 3.2) -> Figure:
    """Named lines {name: (x values, y values)}; `levels` adds named dashed horizontals, `log` is "x", "y" or "xy"."""
    figure, ((axis,),) = new_figure(height=height, title=title)
    palette = [QUERY, KEY, VALUE, CLASS_TOKEN, VALIDATION, PATCH, GREY]
    series = {name: (as_array(xs), as_array(ys)) for name, (xs, ys) in series.items()}
    for i, (name, (xs, ys)) in enumerate(series.items()):
        axis.plot(xs, ys, label=name, color=(colours or COLOURS).get(name, palette[i % len(palette)]),
                  linestyle=["-", "--", "-.", ":"][i % 4], marker="o" if len(xs) < 6 else None)  # few points are shown
    for name, level in (levels or {}).items():
        level = float(as_array(level))
        axis.axhline(level, color=GREY, linestyle=(0, (4, 3)), linewidth=1.2)
        axis.annotate(name, (1, level), None, ("axes fraction", "data"), ha="right", va="bottom", color=GREY, size=10)
    axis.set(xlabel=x, ylabel=y, xscale="log" if "x" in log else "linear", yscale="log" if "y" in log else "linear")
    if "x" not in log:
        whole = all(float(value).is_integer() for xs, _ in series.values() for value in xs)
        axis.xaxis.set_major_locator(MaxNLocator(6, integer=whole))
    if len(series) > 1:
        axis.legend(fontsize=10)
    return figure


def bars(values: dict[str, float], title: str = "", x: str = "", errors: dict[str, float] | None = None,
         highlight: str = "") -> Figure:
    """Named horizontal bars with their values, one of them in colour."""
    figure, ((axis,),) = new_figure(height=0.42 * len(values) + 1.1, title=title)
    colours = [QUERY if name == highlight or not highlight else "#9CA3AF" for name in values]
    spread = as_array([errors[name] for name in values]) if errors else None
    drawn = axis.barh(list(values), as_array(list(values.values())), color=colours, xerr=spread)
    axis.bar_label(drawn, fmt="{:.3g}", padding=3, fontsize=11)
    axis.invert_yaxis()
    axis.set(xlabel=x, xmargin=0.12 if min(values.values()) >= 0 else 0.25)  # room for labels on both sides
    return figure


def curves(history: list[dict], title: str = "", expected: tuple[float, float] | None = None) -> Figure:
    """Loss and accuracy by epoch, from the rows that `fit` returns; `expected` shades a final accuracy in %."""
    figure, (axes,) = new_figure(1, 2, height=3.1, title=title)
    epochs = [row["epoch"] for row in history]
    for part in ("train", "validation"):
        if f"{part}_loss" in history[0]:
            for axis, name, scale in zip(axes, ("loss", "accuracy"), (1, 100)):
                axis.plot(epochs, [scale * as_array(row[f"{part}_{name}"]) for row in history], color=COLOURS[part],
                          label=part, linestyle="-" if part == "train" else "--")
    for axis in axes:
        axis.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes[0].set(xlabel="epoch", ylabel="loss (nats)")
    axes[1].set(xlabel="epoch", ylabel="accuracy (%)")
    if expected:
        axes[1].axhspan(*expected, color=TEST, alpha=0.2, label="expected at the end")
    axes[1].legend(fontsize=10, loc="lower right")
    return figure


def confusion(counts, classes: list[str], title: str = "") -> Figure:
    """Confusion counts (truth, prediction) as shares of each row in percent; a class without images has zeros."""
    counts = as_array(counts).astype(float)
    if counts.shape != (len(classes), len(classes)):
        raise ValueError(f"{len(classes)} classes need counts ({len(classes)}, {len(classes)}), got {counts.shape}")
    share = 100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)
    figure = matrix(share, title, "truth", "prediction", ".0f", 0, 100, "Blues", 5.2, classes)
    figure.axes[0].set_xticks(range(len(classes)), classes, rotation=60, ha="right")
    plt.setp([*figure.axes[0].texts, *figure.axes[0].get_xticklabels(), *figure.axes[0].get_yticklabels()], fontsize=10)
    return figure


def attention_grid(maps, image=None, title: str = "", vmax: float | None = None) -> Figure:
    """Maps (L, h, rows, columns): a row a layer, a column a head, all on one colour scale from 0 to `vmax`."""
    maps = as_maps(maps, "(L, h, rows, columns)")
    L, h = maps.shape[:2]
    vmax = vmax or float(maps.max())
    extra = int(image is not None)
    figure, axes = new_figure(L, h + extra, height=L * WIDTH / (h + extra + 0.6) + 0.5, title=title,
                              subplot_kw={"xticks": [], "yticks": []})
    for (layer, head), axis in np.ndenumerate(axes[:, extra:]):
        drawn = axis.imshow(maps[layer, head], vmin=0, vmax=vmax, cmap="magma")
        axis.set_title("" if layer else f"head {head + 1}", fontsize=11, fontweight="normal")
        axis.set_ylabel("" if head else f"layer {layer + 1}", fontsize=11)
    if extra:
        show(axes[0, 0], image, "image")
    for axis in axes[1:, :extra].flat:
        axis.axis("off")
    figure.colorbar(drawn, ax=axes, shrink=0.6, label="attention", extend="max" if vmax < maps.max() else "neither")
    return figure


def overlay(images, maps, labels: list[str] | None = None, title: str = "") -> Figure:
    """Images (B, C, H, W) above the same images lit by their maps (B, rows, columns), each divided by its maximum.

    A map that is nowhere positive lights nothing. Raises ValueError for maps that are not finite, or do not fit.
    """
    maps = as_maps(maps, "(B, rows, columns)")
    check_overlay(images, maps)
    figure, axes = new_figure(2, len(images), height=2 * WIDTH / len(images) + 0.6, title=title)
    for i, (image, values) in enumerate(zip(images, maps)):
        picture = np.atleast_3d(as_picture(image))
        show(axes[0, i], image, labels[i] if labels else "")
        share = values / values.max() if values.max() > 0 else np.zeros(values.shape)
        light = np.kron(share, np.ones(np.floor_divide(picture.shape[:2], values.shape)))[..., None]
        picture = picture / 255 if picture.dtype == np.uint8 else picture
        show(axes[1, i], (picture * (0.15 + 0.85 * light)).transpose(2, 0, 1))
    return figure


def data_flow(steps: list[tuple[str, str]], title: str = "", colours: dict[str, str] | None = None) -> Figure:
    """A column of boxes from input to output: each step's name, and the shape that leaves it."""
    figure, ((axis,),) = new_figure(height=0.62 * len(steps) + 0.6, title=title)
    axis.axis("off")
    axis.set(xlim=(0, 10), ylim=(-len(steps) + 0.4, 0.6))
    for i, (name, shape) in enumerate(steps):
        colour = (colours or {}).get(name, PATCH)
        axis.add_patch(FancyBboxPatch((0.2, -i - 0.28), 5.6, 0.56, boxstyle="round,pad=0.04", facecolor=colour + "33",
                                      edgecolor=colour))
        axis.text(3, -i, name, ha="center", va="center", fontsize=12)
        axis.text(6.3, -i, shape, ha="left", va="center", fontsize=12, family="monospace")
        if i:
            axis.annotate("", (3, -i + 0.33), (3, -i + 0.67), arrowprops={"arrowstyle": "-|>", "color": GREY})
    return figure
