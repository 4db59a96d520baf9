"""Figures of what a change does: to accuracy, to a direction, to an image, to the freedom of a layer."""

import numpy as np

from .arrays import as_array, as_matrix
from .plots import GREY, KEY, PATCH, QUERY, VALUE, Figure, new_figure, show


def gain_intervals(gains: dict[str, tuple[float, float, float]], title: str = "", x: str = "") -> Figure:
    """Gains {name: (mean, half, narrower half)}: a thin line for the first half-width, a thick one for the second.

    Green: even the wider interval is clear of zero. Orange: only the narrower is. Grey: neither.
    """
    figure, ((axis,),) = new_figure(height=0.42 * len(gains) + 1.3, title=title)
    for row, (middle, wide, narrow) in enumerate(gains.values()):
        colour = VALUE if abs(middle) > max(wide, narrow) else "#E69F00" if abs(middle) > min(wide, narrow) else GREY
        axis.plot([middle - wide, middle + wide], [row, row], color=colour, linewidth=1.2)
        axis.plot([middle - narrow, middle + narrow], [row, row], color=colour, linewidth=4.5, solid_capstyle="butt")
        axis.plot(middle, row, "o", color="white", markeredgecolor=colour, markersize=7)
    axis.axvline(0, color="black", linewidth=1)
    axis.set_yticks(range(len(gains)), list(gains))
    axis.invert_yaxis()
    axis.set_xlabel(x)
    return figure


def unit_circles(matrices: dict[str, object], title: str = "") -> Figure:
    """What each 2×2 matrix makes of the unit circle (dashed), with the images of its two main directions as arrows."""
    angle = np.linspace(0, 2 * np.pi, 200)
    circle = np.stack([np.cos(angle), np.sin(angle)])  # (2, 200)
    matrices = {name: as_matrix(values) for name, values in matrices.items()}
    x, y = np.abs(np.stack([values @ circle for values in matrices.values()] + [circle])).max(axis=(0, 2)) * 1.08
    figure, (axes,) = new_figure(1, len(matrices), height=2.6, title=title, sharex=True, sharey=True)
    for axis, (name, values) in zip(axes, matrices.items(), strict=True):
        U, S, _ = np.linalg.svd(values)
        axis.plot(*circle, color=GREY, linewidth=1, linestyle=(0, (4, 3)))
        axis.fill(*(values @ circle), facecolor=PATCH + "55", edgecolor=QUERY, linewidth=1.5)
        for column, colour in ((0, KEY), (1, VALUE)):
            tip = U[:, column] * S[column]
            axis.annotate("", tip, (0, 0), arrowprops={"arrowstyle": "-|>", "color": colour, "linewidth": 2})
        axis.set(xlim=(-x, x), ylim=(-y, y), xticks=[], yticks=[], aspect="equal")
        axis.spines[:].set_visible(False)
        axis.set_title(f"{name}\n{S[0]:.1f} and {S[1]:.1f}", fontsize=11, fontweight="normal")
    return figure


def image_changes(image, rows: dict[str, list], notes: dict[str, list[str]] | None = None, title: str = "") -> Figure:
    """An image at the left of each named row, and what a random change made of it; `notes` are written below."""
    columns = 1 + max(map(len, rows.values()))
    figure, axes = new_figure(len(rows), columns, height=1.02 * len(rows) + 0.4, title=title)
    for axis_row, (name, images) in zip(axes, rows.items(), strict=True):
        for i, (axis, picture) in enumerate(zip(axis_row, [image, *images])):
            show(axis, picture)
            if notes and i and name in notes:
                axis.set_xlabel(notes[name][i - 1], fontsize=9, labelpad=2)
        for axis in axis_row[1 + len(images):]:
            axis.axis("off")
        axis_row[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=11)
    return figure


def layer_freedom(matrices: dict[str, object], title: str = "", rows: str = "", columns: str = "") -> Figure:
    """Square matrices side by side, as colours without a common scale: white is a zero, one colour is one number."""
    figure, (axes,) = new_figure(1, len(matrices), height=2.9, title=title)
    for axis, (name, values) in zip(axes, matrices.items(), strict=True):
        values = as_array(values).astype(float)
        axis.imshow(np.where(values == 0, np.nan, values), cmap="viridis", interpolation="nearest")
        axis.set(xticks=[], yticks=[], xlabel=columns)
        axis.set_title(name, fontsize=11, fontweight="normal")
    axes[0].set_ylabel(rows)
    return figure
