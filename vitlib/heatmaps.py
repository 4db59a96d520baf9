"""Maps laid over the image that they came from: one fixed scale for all panels, with its bar, and the query marked.

The image is grey and what is read is in the colour of keys, the more opaque the more it is read; the query has a blue
frame. So the scale's colours stand for attention alone, and the image can still be seen where little is read.
"""

import numpy as np

from .arrays import as_array, as_maps, as_picture, check_overlay
from .plots import KEY, WIDTH, Axes, Figure, new_figure, show
from .query_maps import outline

INK = np.array([int(KEY[i:i + 2], 16) / 255 for i in (1, 3, 5)])


def laid_over(image, values: np.ndarray, vmax: float) -> np.ndarray:
    """An image (C, H, W) in grey with a map (rows, columns) over it, 0 clear and `vmax` opaque: (3, H, W)."""
    picture = np.atleast_3d(as_picture(image))
    picture = (picture / 255 if picture.dtype == np.uint8 else picture).mean(axis=2)
    share = np.clip(values / vmax, 0, 1)
    share = np.kron(share, np.ones(np.floor_divide(picture.shape, share.shape)))
    return np.moveaxis(coloured(0.25 + 0.7 * picture, share), 2, 0)


def coloured(grey: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Grey, and `share` in 0…1 of the colour over it."""
    cover = 0.9 * share[..., None]
    return (1 - cover) * grey[..., None] + cover * INK


def frame(axis: Axes, query: int, grid: tuple[int, int], size: tuple[int, int]) -> None:
    """A blue frame around patch `query`, numbered row by row, of an image of that size (H, W)."""
    outline(axis, divmod(query, grid[1]), size[0] / grid[0], size[1] / grid[1])


def bar(figure: Figure, axes: np.ndarray, vmax: float, label: str, over: bool) -> None:
    """The scale in place of the last column of axes: what each share of `vmax` looks like over middle grey."""
    grid = axes[0, -1].get_gridspec()
    for axis in axes[:, -1]:
        axis.remove()
    axis = figure.add_subplot(grid[:, -1])
    strip = coloured(np.full((100, 1), 0.6), np.linspace(0, 1, 100)[:, None])
    axis.imshow(strip, origin="lower", aspect="auto", extent=(0, 1, 0, vmax))
    axis.set(xticks=[], yticks=[0, vmax / 2, vmax])
    axis.set_yticklabels([f"{tick:.2g}" for tick in (0, vmax / 2)] + [f"{'≥ ' if over else ''}{vmax:.2g}"])
    axis.yaxis.tick_right()
    axis.yaxis.set_label_position("right")
    axis.set_ylabel(label, fontsize=11)


def heads(maps, image, title: str = "", vmax: float | None = None, query: int | None = None,
          label: str = "attention") -> Figure:
    """Maps (L, h, rows, columns) over one image: a row a layer, a column a head; the image itself at the left."""
    maps = as_maps(maps, "(L, h, rows, columns)")
    L, h, *grid = maps.shape
    vmax, size = vmax or float(maps.max()), np.shape(as_array(image))[-2:]
    figure, axes = new_figure(L, h + 2, height=L * WIDTH / (h + 2) + 0.5, title=title,
                              gridspec_kw={"width_ratios": [1] * (h + 1) + [0.12]})
    for (layer, head), axis in np.ndenumerate(axes[:, 1:-1]):
        show(axis, laid_over(image, maps[layer, head], vmax), "" if layer else f"head {head + 1}")
    for layer, (left, first) in enumerate(axes[:, :2]):
        left.axis("off")
        first.set_ylabel(f"layer {layer + 1}", fontsize=11)
    show(axes[0, 0], image, "image")
    if query is not None:
        for axis in [axes[0, 0], *axes[:, 1:-1].flat]:
            frame(axis, query, tuple(grid), size)
    bar(figure, axes, vmax, label, maps.max() > vmax)
    return figure


def over_images(images, maps: dict, labels: list[str] | None = None, title: str = "", vmax: float | None = None,
                label: str = "attention", queries: list[int] | None = None) -> Figure:
    """Images (B, C, H, W) above rows of named maps {name: (B, rows, columns)} over them, all on one scale.

    `queries` has the patch to be framed in each column.
    """
    maps = {name: as_maps(values, "(B, rows, columns)") for name, values in maps.items()}
    for values in maps.values():
        check_overlay(images, values)
    highest = max(float(values.max()) for values in maps.values())
    vmax, columns = vmax or highest, len(images)
    figure, axes = new_figure(len(maps) + 1, columns + 1, title=title,
                              height=(len(maps) + 1) * WIDTH / (columns + 0.8) + 0.5,
                              gridspec_kw={"width_ratios": [1] * columns + [0.12]})
    for i, image in enumerate(images):
        show(axes[0, i], image, labels[i] if labels else "")
        for axis, (name, values) in zip(axes[1:, i], maps.items()):
            show(axis, laid_over(image, values[i], vmax))
            if i == 0 and len(maps) > 1:
                axis.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=11)
            if queries:
                frame(axis, queries[i], values.shape[1:], np.shape(as_array(image))[-2:])
    bar(figure, axes, vmax, label, highest > vmax)
    return figure
