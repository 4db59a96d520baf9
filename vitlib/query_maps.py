"""Maps over a grid that belong to one cell, the query, drawn so that a reader sees which cell that is."""

import numpy as np

from .arrays import as_array, as_matrix
from .plots import QUERY, WIDTH, new_figure, show


def query_maps(rows: dict[str, list], cells: list[tuple[int, int]], title: str = "", label: str = "", image=None,
               vmin: float | None = None, vmax: float | None = None):
    """Named rows of maps (rows, columns), the i-th of each row for the query `cells[i]`, which is outlined.

    All share one scale, told by the colour bar. With an image (C, H, W) a row above shows it, with each query's patch
    outlined. Returns the Matplotlib figure.
    Raises ValueError for no maps, for rows that have not one map for each cell, and for a cell outside its map.
    """
    maps = {name: [as_matrix(values) for values in row] for name, row in rows.items()}
    if not maps or not cells or any(len(row) != len(cells) for row in maps.values()):
        raise ValueError(f"query_maps wants rows of {len(cells)} maps, one for each cell, got "
                         f"{ {name: len(row) for name, row in maps.items()} }")
    for row in maps.values():
        for values, cell in zip(row, cells):
            if not all(0 <= at < size for at, size in zip(cell, values.shape)):
                raise ValueError(f"the cell {cell} lies outside its map of {values.shape[0]}×{values.shape[1]}")
    every = np.concatenate([values.ravel() for row in maps.values() for values in row])
    scale = {"vmin": float(every.min()) if vmin is None else vmin, "vmax": float(every.max()) if vmax is None else vmax}
    extra, side = int(image is not None), min(1.8, (WIDTH - 1.6) / len(cells))
    figure, axes = new_figure(len(maps) + extra, len(cells), height=(len(maps) + extra) * side + 0.5, title=title)
    if extra:
        first, size = next(iter(maps.values())), as_array(image).shape[-2:]
        name_row(axes[0, 0], "image")
        for axis, values, cell in zip(axes[0], first, cells):
            show(axis, image)
            outline(axis, cell, size[0] / values.shape[0], size[1] / values.shape[1])
    for axis_row, (name, row) in zip(axes[extra:], maps.items()):
        name_row(axis_row[0], name)
        for axis, values, cell in zip(axis_row, row, cells):
            show(axis, values, **scale)
            outline(axis, cell)
    figure.colorbar(axes[-1, -1].images[0], ax=axes[extra:], label=label, shrink=0.8)
    return figure


def name_row(axis, name: str) -> None:
    """Write a row's name to the left of its first picture."""
    axis.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=11)


def outline(axis, cell: tuple[int, int], height: float = 1, width: float = 1) -> None:
    """Draw the border of one cell, in the colour of queries on white, where cells are `height`×`width` pixels."""
    top, left = cell[0] * height - 0.5, cell[1] * width - 0.5
    x, y = [left, left + width, left + width, left, left], [top, top, top + height, top + height, top]
    axis.plot(x, y, color="white", linewidth=4.5, clip_on=False)
    axis.plot(x, y, color=QUERY, linewidth=2.2, clip_on=False)
