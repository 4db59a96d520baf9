"""Figures of looking up: keys near a query, products of small matrices, what a patch reads of its image."""

import numpy as np

from .arrays import as_array, as_maps, as_matrix, as_picture, check_overlay
from .patches import check_grid
from .plots import GREY, KEY, QUERY, VALUE, WIDTH, Axes, Figure, new_figure, show
from .sketch import area, write


def regression(keys, values, query: float, weights, curve: tuple, title: str = "", x: str = "key",
               y: str = "value") -> Figure:
    """Kernel regression in one dimension: points (key, value), a query, its weights as bars below, its answer.

    `curve` holds the answers to many queries, as (queries, answers).
    """
    keys, values, weights = as_array(keys), as_array(values), as_array(weights)
    answer = float(weights @ values)
    figure, ((above,), (below,)) = new_figure(2, 1, height=4.2, title=title, sharex=True,
                                              gridspec_kw={"height_ratios": [3, 2]})
    above.plot(*map(as_array, curve), color=GREY, linewidth=1.5, zorder=1)
    above.scatter(keys, values, s=40 + 260 * weights / weights.max(), color=VALUE, zorder=3)
    for axis in (above, below):
        axis.axvline(query, color=QUERY, linestyle="--", linewidth=1.5, zorder=2)
    above.scatter([query], [answer], marker="D", s=70, color=QUERY, zorder=4)
    above.annotate(f"query {query:g}: answer {answer:.1f}", (query, 0.02), (6, 2), above.get_xaxis_transform(),
                   "offset points", color=QUERY, fontsize=11)  # at the foot of the line, where few points are
    bars = below.bar(keys, weights, width=(keys.max() - keys.min()) / 30, color=KEY)
    below.bar_label(bars, [f"{w:.2f}" if w >= 0.005 else "0" for w in weights], padding=2, fontsize=10)
    above.set(ylabel=y)
    below.set(xlabel=x, ylabel="weight", xticks=keys, ylim=(0, 1))
    return figure


def products(x, rows: list[tuple], names: list[str] | None = None, title: str = "") -> Figure:
    """x W = y, once a row, all numbers written: rows of (symbol of W, W, symbol of y, y, colour of y)."""
    x = as_matrix(x)
    widths = [x.shape[1], max(W.shape[1] for _, W, *_ in rows), max(y.shape[1] for *_, y, _ in rows)]
    tallest = max(x.shape[0], x.shape[1])
    figure, axes = new_figure(len(rows), 3, height=1.85 * len(rows) + 0.4, title=title,
                              gridspec_kw={"width_ratios": widths})
    for row, (symbol, W, answer, y, colour) in zip(axes, rows):
        write_matrix(row[0], x, "$x$", GREY, tallest, names)
        write_matrix(row[1], W, f"× {symbol}", "#9CA3AF", tallest)
        write_matrix(row[2], y, f"= {answer}", colour, tallest)
    return figure


def write_matrix(axis: Axes, values, symbol: str, colour: str, tallest: int, names: list[str] | None = None) -> None:
    """A matrix as written numbers in boxes, its symbol and shape above; boxes of one size in axes of `tallest` rows."""
    values = as_matrix(values)
    rows, columns = values.shape
    for (r, c), value in np.ndenumerate(values):
        area(axis, c, r, 1, 1, colour + "33", colour, clip_on=False)
        write(axis, c + 0.5, r + 0.5, f"{value:g}")
    spare = (tallest - rows) / 2
    axis.set(xlim=(0, columns), ylim=(rows + spare, -spare), aspect="equal", xticks=[], yticks=[])
    axis.spines[:].set_visible(False)
    axis.set_title(f"{symbol}  ({rows}, {columns})", fontsize=11, fontweight="normal")
    if names:
        axis.set_yticks(np.arange(rows) + 0.5, names, fontsize=10)
        axis.tick_params(length=0)


def reads(image, weights, queries: list[int], grid: tuple[int, int], labels: list[str] | None = None,
          title: str = "") -> Figure:
    """An image (C, H, W), and once for each query patch the same image under what that patch reads.

    `weights` (n, N) holds one row of attention for each of the n queries, numbered row by row from 0; the query's
    patch has a blue frame. One scale for all maps. Raises ValueError where sizes do not fit.
    """
    check_grid(grid)
    N = grid[0] * grid[1]
    if len(weights) != len(queries) or any(query not in range(N) for query in queries):
        raise ValueError(f"reads wants a row of weights for each query patch, 0 to {N - 1} of this grid; got "
                         f"{len(weights)} rows and patches {queries}")
    maps = as_maps(as_array(weights).reshape(-1, *grid), "(n, rows, columns)")
    check_overlay(np.stack([as_array(image)] * len(maps)), maps)
    picture = np.atleast_3d(as_picture(image))
    high, wide = (size / count for size, count in zip(picture.shape, grid))
    figure, (axes,) = new_figure(1, 1 + len(maps), height=WIDTH / (1 + len(maps)) + 0.5, title=title)
    show(axes[0], image, "image")
    bright = picture.mean(-1)
    for i, (axis, values) in enumerate(zip(axes[1:], maps)):
        axis.imshow(bright, cmap="gray", interpolation="nearest")
        drawn = axis.imshow(values, cmap="magma", vmin=0, vmax=maps.max(), alpha=0.65, interpolation="nearest",
                            extent=(-0.5, picture.shape[1] - 0.5, picture.shape[0] - 0.5, -0.5))
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
        axis.set_title(labels[i] if labels else f"patch {queries[i]} reads", fontsize=11, fontweight="normal")
    for axis, marked in zip(axes, (queries, *([query] for query in queries))):
        for q in marked:
            corner = (q % grid[1] * wide - 0.5, q // grid[1] * high - 0.5)
            for edge, linewidth in (("white", 4), (QUERY, 2)):
                area(axis, *corner, wide, high, "none", edge, linewidth=linewidth)
    figure.colorbar(drawn, ax=axes, shrink=0.7, label="weight")
    return figure


def bands(series: dict[str, tuple], title: str = "", x: str = "", y: str = "", floor: float | None = None) -> Figure:
    """Named medians with the middle half shaded, {name: (x values, lower, median, upper)}, both axes logarithmic."""
    figure, ((axis,),) = new_figure(height=3.4, title=title)
    for (name, rows), colour, style in zip(series.items(), (QUERY, KEY, VALUE), ("-", "--", "-.")):
        xs, lower, middle, upper = map(as_array, rows)
        axis.fill_between(xs, np.maximum(lower, floor or 0), upper, color=colour, alpha=0.2, linewidth=0)
        axis.plot(xs, middle, style, color=colour, marker="o", label=name)
    axis.set(xlabel=x, ylabel=y, xscale="log", yscale="log", ylim=(floor, None))
    axis.set_xticks(xs, [f"{value:g}" for value in xs])
    axis.minorticks_off()
    axis.legend(fontsize=10, loc="lower left")
    return figure
