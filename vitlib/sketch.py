"""Boxes, areas, arrows and words: what the diagrams are drawn with, in coordinates of their own."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle

from .plots import GREY, new_figure


def canvas(height: float, size: tuple[float, float], title: str) -> tuple[Figure, Axes]:
    """An empty drawing of that height in inches, whose coordinates run from 0 to (width, height) of `size`."""
    figure, ((axis,),) = new_figure(height=height, title=title)
    axis.set(xlim=(0, size[0]), ylim=(0, size[1]))
    axis.axis("off")
    return figure, axis


def box(axis: Axes, x: float, y: float, width: float, height: float, text: str, colour: str, size: float = 11) -> None:
    """A rounded box with its text in the middle; (x, y) is its lower left corner."""
    for face in ("white", colour + "33"):  # white first: a box inside another keeps its own colour
        axis.add_patch(FancyBboxPatch((x, y), width, height, boxstyle="round,pad=0,rounding_size=1.2", facecolor=face,
                                      edgecolor=colour, linewidth=1.6))
    write(axis, x + width / 2, y + height / 2, text, size)


def write(axis: Axes, x: float, y: float, text: str, size: float = 11, **options) -> None:
    """Text centred on (x, y), unless the options say otherwise."""
    axis.text(x, y, text, **({"ha": "center", "va": "center", "fontsize": size} | options))


def area(axis: Axes, x: float, y: float, width: float, height: float, colour: str, edge: str = "none",
         **options) -> None:
    """A filled rectangle; (x, y) is its lower left corner."""
    axis.add_patch(Rectangle((x, y), width, height, **({"facecolor": colour, "edgecolor": edge} | options)))


def arrow(axis: Axes, start: tuple, end: tuple, bend: float = 0.0, colour: str = GREY) -> None:
    """An arrow from (x, y) to (x, y), straight or an arc."""
    axis.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=11, color=colour, linewidth=1.5,
                                   connectionstyle=f"arc3,rad={bend}", shrinkA=0, shrinkB=0))
