"""The book's diagrams: the whole model with one part lit, the encoder block, split heads, one query's look-up.

Each returns a Matplotlib figure in the style and the colours of `plots`. What is lit is in colour, the rest is grey.
"""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .arrays import as_matrix, as_picture
from .patches import check_sizes, patchify
from .plots import CLASS_TOKEN, GREY, KEY, PATCH, QUERY, VALUE, new_figure, show
from .shapes import shapes
from .sketch import area, arrow, box, canvas, write

BLOCK, HEAD = "#E69F00", "#009E73"  # Okabe and Ito's orange for the encoder block; what answers is green, as values are
PALE = "#C9CDD3"
# name: left, bottom, width, height, label, shape of what leaves it, colour. The drawing is 100 wide and 56 high.
PARTS = {
    "image": (1, 34, 17, 17, "image", "(B, C, H, W)", GREY),
    "patches": (25, 34, 17, 17, "N patches", "(B, N, CP²)", PATCH),
    "embedding": (49, 34, 17, 17, "× E: tokens", "(B, N, D)", PATCH),
    "positions": (74, 34, 24, 17, "+ class token,\npositions", "(B, 1+N, D)", CLASS_TOKEN),
    "block": (1, 5, 43, 18, "encoder block × L", "(B, 1+N, D)", BLOCK),
    "attention": (4, 7.5, 18, 8, "attention", "", QUERY),
    "mlp": (26, 7.5, 15, 8, "MLP", "", KEY),
    "norm": (50, 8, 11, 12, "norm", "", GREY),
    "head": (66, 8, 11, 12, "head", "(B, K)", HEAD),
    "loss": (82, 5, 17, 18, "classes, loss", "", HEAD),
}
ROW_ONE, ROW_TWO = ("image", "patches", "embedding", "positions"), ("block", "norm", "head", "loss")


def picture(axis: Axes, image: np.ndarray, x: float, y: float, side: float, cuts: int, alpha: float) -> None:
    """An image (H, W, C), in cuts × cuts pieces with a gap of 1 between them."""
    step, whole = image.shape[0] // cuts, (side - cuts + 1) / cuts
    for row in range(cuts):
        for column in range(cuts):
            piece = image[row * step:(row + 1) * step, column * step:(column + 1) * step]
            left, top = x + column * (whole + 1), y + side - row * (whole + 1)
            axis.imshow(piece, extent=(left, left + whole, top - whole, top), alpha=alpha, interpolation="nearest")


def vit(lit: str = "", title: str = "") -> Figure:
    """The whole Vision Transformer with one part lit: a name of PARTS, or "" for all. Raises ValueError for another."""
    if lit and lit not in PARTS:
        raise ValueError(f"the diagram has no part {lit!r}; it has {', '.join(PARTS)}")
    figure, axis = canvas(3.7, (100, 56), title)
    shown = {"block", "attention", "mlp"} if lit == "block" else {lit}
    colours = {name: part[-1] if not lit or name in shown else PALE for name, part in PARTS.items()}
    ink = {name: "black" if not lit or name in shown else GREY for name in PARTS}
    data = shapes(20, seed=4)
    ring = as_picture(data.images[int((data.labels == 1).nonzero()[0])])
    for name, (x, y, width, height, label, shape, _) in PARTS.items():
        colour = colours[name]
        if name in ("image", "patches"):
            picture(axis, ring, x, y, width, 1 if name == "image" else 4, alpha=1 if ink[name] == "black" else 0.35)
            area(axis, x - 0.8, y - 0.8, width + 1.6, height + 1.6, "none", colour)
        elif name in ("embedding", "positions"):
            tokens(axis, x, y, width, height, colour, name == "positions")
        elif name == "loss":
            bars(axis, x, y, width, height, colour)
        else:
            box(axis, x, y, width, height, "" if name == "block" else label, colour)
            axis.texts[-1].set_color(ink[name])
        if name == "block":
            write(axis, x + width / 2, y + height - 3, label, color=ink[name])
        elif name in ("image", "patches", "embedding", "positions", "loss"):
            write(axis, x + width / 2, y + height + 1.6, label, 11, va="bottom", color=ink[name], linespacing=0.95)
        if shape:
            write(axis, x + width / 2, y - 1.6, shape, 9, va="top", family="monospace", color=ink[name])
    for row in (ROW_ONE, ROW_TWO):
        for a, b in zip(row, row[1:]):
            start, end = PARTS[a], PARTS[b]
            middle = start[1] + start[3] / 2
            arrow(axis, (start[0] + start[2] + 1.2, middle), (end[0] - 1.4, middle))
    arrow(axis, (22.3, 11.5), (25.7, 11.5))
    axis.plot([98.6, 99.8, 99.8, 22.5, 22.5], [42, 42, 27.6, 27.6, 26], color=GREY, linewidth=1.5)
    arrow(axis, (22.5, 27.6), (22.5, 23.6))
    axis.set(xlim=(-0.6, 100.4), ylim=(0, 56), aspect="auto")
    return figure


def tokens(axis: Axes, x: float, y: float, width: float, height: float, colour: str, prefix: bool) -> None:
    """A column of tokens, each a bar of numbers; with the class token on top, and the position codes beside."""
    rows, wide = 5, width * (0.42 if prefix else 1)
    step = height / rows
    for row in range(rows):
        bottom = y + height - (row + 1) * step
        fill = PALE if colour == PALE else CLASS_TOKEN if prefix and row == 0 else PATCH
        area(axis, x, bottom + 0.4, wide, step - 0.8, fill + "55", fill)
        if prefix:
            area(axis, x + width - wide, bottom + 0.4, wide, step - 0.8, colour + "22", colour, hatch="///")
    if prefix:
        write(axis, x + width / 2, y + height / 2, "+", 13, color=GREY)


def bars(axis: Axes, x: float, y: float, width: float, height: float, colour: str) -> None:
    """Ten classes as bars; the highest is the answer."""
    for i, size in enumerate((0.1, 0.9, 0.2, 0.12, 0.3, 0.08, 0.16, 0.1, 0.22, 0.06)):
        area(axis, x + i * width / 10, y, width / 14, size * height, colour, alpha=1 if i == 1 else 0.45)


def block(lit: str = "", norm: str = "pre", title: str = "") -> Figure:
    """The encoder block with its two skip connections; lit is "", "norm", "attention", "mlp" or "skip".

    norm="pre": each branch starts with its LayerNorm; "post": the sum is normalised. Raises ValueError for other names.
    """
    if norm not in ("pre", "post") or lit not in ("", "norm", "attention", "mlp", "skip"):
        raise ValueError(f'block takes lit "", "norm", "attention", "mlp" or "skip", and norm "pre" or "post"; '
                         f"got {lit!r} and {norm!r}")
    figure, axis = canvas(1.6 + 0.3 * bool(title), (100, 23), title)
    kinds = ["norm", "attention", "add", "norm", "mlp", "add"]
    kinds = kinds if norm == "pre" else kinds[1:] + kinds[:1]
    label = {"norm": "Layer\nNorm", "attention": "attention", "mlp": "MLP", "add": "+"}
    wide = {"norm": 12, "attention": 17, "mlp": 11, "add": 5}
    colour = {"norm": GREY, "attention": QUERY, "mlp": KEY, "add": HEAD, "skip": HEAD}
    colour = {kind: c if lit in ("", kind) or (lit == "skip" and kind == "add") else PALE for kind, c in colour.items()}
    x, branch, middle, last = 8.0, 6.0, 10, 3.5
    write(axis, 1.5, middle, "x", 13, style="italic")
    for kind in kinds:
        arrow(axis, (last, middle), (x, middle))
        if kind == "add":
            arrow(axis, (branch, middle), (x + wide["add"] / 2, middle + 3.2), bend=-0.45, colour=colour["skip"])
            area(axis, branch - 0.5, middle - 0.9, 1, 1.8, colour["skip"])
        height = 5.6 if kind == "add" else 11
        box(axis, x, middle - height / 2, wide[kind], height, label[kind], colour[kind])
        last = x + wide[kind]
        x = last + 4.2
        if kind == "add":
            branch = last + 2
    arrow(axis, (last, middle), (x, middle))
    write(axis, x + 1.6, middle, "x′", 13, style="italic")
    write(axis, 50, 1.5, "every arrow carries (B, T, D); the arcs are the skip connections", 10, color=GREY)
    return figure


def split_heads(N: int, D: int, h: int, title: str = "") -> Figure:
    """q, k and v (N, D) cut into h heads of (N, d); each attends for itself; concatenated, and mixed by one matrix.

    Raises ValueError where h does not divide D, or is more than can be drawn (8).
    """
    if h < 1 or h > 8 or D % h:
        raise ValueError(f"split_heads draws 1 to 8 heads that divide D, got D={D} and h={h}")
    d = D // h
    figure, axis = canvas(1.1 + 0.52 * h, (100, 12 * h + 14), title)
    top, shades = 12 * h + 4, [f"{round(60 + 195 * (i + 1) / h):02X}" for i in range(h)]
    middle = top - 6 * h
    for x, caption in [(1, f"q, k, v (N, D)\n{N} × {D}"), (24, f"h heads (N, d)\n{N} × {d}"),
                       (42, f"weights\n{N} × {N}"), (60, f"outputs (N, d)\n{N} × {d}"),
                       (79, f"concatenated\n{N} × {D}")]:
        write(axis, x + 6, top + 1, caption, 10, va="bottom")
    for i, shade in enumerate(shades):
        bottom = top - 12 * (i + 1) + 2
        for left in (1, 79):
            area(axis, left + 12 * i / h, middle - 8, 12 / h, 16, QUERY + shade, "white")
        area(axis, 27, bottom, 5, 9, QUERY + shade)
        area(axis, 43.5, bottom, 9, 9, GREY + "33", GREY)
        area(axis, 63, bottom, 5, 9, QUERY + shade)
        arrow(axis, (14, middle), (26, bottom + 4.5))
        arrow(axis, (33, bottom + 4.5), (42.5, bottom + 4.5))
        arrow(axis, (53.5, bottom + 4.5), (62, bottom + 4.5))
        arrow(axis, (69, bottom + 4.5), (78, middle))
    arrow(axis, (92, middle), (98, middle))
    write(axis, 95.5, middle + 2, "× Wᵒ", 10, va="bottom")
    return figure


def look_up(query, keys, values, names: list[str] | None = None, query_name: str = "query", title: str = "") -> Figure:
    """One query's soft look-up: query (d,), keys (N, d), values (N, m), every number printed.

    Row by row: key, score q·k/√d, softmax weight as a bar, value; below them the output, the weighted sum (m,).
    Raises ValueError where the sizes do not fit. Equation 1 of Vaswani et al. 2017.
    """
    query, keys, values = as_matrix([list(query)])[0], as_matrix(keys), as_matrix(values)
    if keys.shape[1] != len(query) or len(keys) != len(values):
        raise ValueError(f"look_up wants a query (d,), keys (N, d) and values (N, m); "
                         f"got {query.shape}, {keys.shape} and {values.shape}")
    scores = keys @ query / len(query) ** 0.5
    weights = np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()
    N, names = len(keys), names or [f"token {i}" for i in range(len(keys))]
    figure, axis = canvas(0.44 * (N + 2) + 0.3 * bool(title), (100, 10 * N + 18), title)
    rows = [10 * (N - i) + 5 for i in range(N)]

    def cell(x: float, y: float, width: float, vector: np.ndarray, colour: str) -> None:
        box(axis, x, y - 3.6, width, 7.2, "  ".join(f"{value:.2g}" for value in vector), colour, 10.5)

    for x, heading in [(9, query_name), (42, "key"), (58.5, "q·k/√d"), (70, "weight"), (90, "value")]:
        write(axis, x, 10 * N + 14, heading, fontweight="bold")
    cell(0, sum(rows) / N, 18, query, QUERY)
    for y, name, key, score, weight, value in zip(rows, names, keys, scores, weights, values):
        arrow(axis, (18.6, sum(rows) / N), (32.4, y), colour=PALE)
        write(axis, 25.5, (y + sum(rows) / N) / 2, name, 9.5, color=GREY,
              bbox={"facecolor": "white", "edgecolor": "none", "pad": 1})
        cell(33, y, 18, key, KEY)
        write(axis, 58.5, y, f"{score:.2f}")
        area(axis, 64.5, y - 2.6, 13 * weight, 5.2, QUERY + "66")
        write(axis, 70.5, y, f"{weight:.2f}")
        write(axis, 79.3, y, "×", color=GREY)
        cell(81, y, 18, value, VALUE)
    axis.plot([81, 99], [9.6, 9.6], color=GREY, linewidth=1.2)
    axis.text(79.5, 4, "output: sum of weight × value", ha="right", va="center", fontsize=10.5)
    cell(81, 4, 18, weights @ values, VALUE)
    return figure


def patch_embedding(image, patch_size: int, n: int, weight, title: str = "") -> Figure:
    """Patch n of an image (C, H, W), flattened, times weight (C·P·P, D), is a token (D).

    Each number multiplies its row of the matrix; each column adds up to one number of the token. Raises ValueError
    where the sizes do not fit.
    """
    C, H, W = image.shape
    for side in (H, W):
        check_sizes(side, patch_size)
    weight = as_matrix(weight)
    count, columns = (H // patch_size) * (W // patch_size), W // patch_size
    if not 0 <= n < count or weight.shape[0] != C * patch_size**2:
        raise ValueError(f"there are {count} patches of {C * patch_size**2} numbers; got patch {n} and a matrix "
                         f"{weight.shape}")
    flat = as_matrix(patchify(image[None].float(), patch_size)[0])[n]
    figure, axes = new_figure(2, 3, height=3.6, title=title, width_ratios=(5, 1, 6), height_ratios=(8, 1))
    show(axes[0, 0], image, f"image, patch {n}")
    row, column = divmod(n, columns)
    area(axes[0, 0], column * patch_size - 0.5, row * patch_size - 0.5, patch_size, patch_size, "none", KEY,
         linewidth=3)
    for axis, values, name in [(axes[0, 1], flat[:, None], f"x\n({len(flat)})"),
                               (axes[0, 2], weight, f"× E {weight.shape}"), (axes[1, 2], (flat @ weight)[None], "")]:
        axis.imshow(values, aspect="auto", cmap="cividis", interpolation="nearest")
        axis.set(xticks=[], yticks=[])
        axis.set_title(name, fontsize=11, fontweight="normal")
    axes[1, 2].set_xlabel(f"token z = xE  ({weight.shape[1]})", fontsize=11)
    axes[1, 0].axis("off")
    axes[1, 1].axis("off")
    return figure
