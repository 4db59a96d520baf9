"""A model's answers drawn beside the image that they are about: one bar for each class."""

from .arrays import as_array
from .plots import GREY, KEY, QUERY, Figure, new_figure, show


def class_bars(image, answers: dict[str, list[float]], classes: list[str], truth: int, title: str = "") -> Figure:
    """An image, then for each named answer (K probabilities) a bar for each class, the true class in colour.

    A wrong first choice is drawn in the colour of a mistake. Raises ValueError for another number of probabilities.
    """
    rows = {name: as_array(values) for name, values in answers.items()}
    if not rows or any(values.shape != (len(classes),) for values in rows.values()):
        raise ValueError(f"class_bars wants {len(classes)} probabilities for each answer, got "
                         f"{[values.shape for values in rows.values()]}")
    figure, (axes,) = new_figure(1, 1 + len(rows), height=3.2, title=title,
                                 width_ratios=[1.3] + [1.5 if len(rows) < 3 else 1.0] * len(rows))
    show(axes[0], image, classes[truth])
    for axis, (name, values) in zip(axes[1:], rows.items()):
        best = int(values.argmax())
        colours = [QUERY if k == truth else KEY if k == best else "#9CA3AF" for k in range(len(classes))]
        axis.barh(range(len(classes)), 100 * values, color=colours)
        axis.set(xlim=(0, 100), xticks=(0, 50, 100), yticks=[])
        axis.set_title(name, fontsize=11, fontweight="normal")
        axis.invert_yaxis()
    axes[1].set_yticks(range(len(classes)), classes, fontsize=10)
    axes[-1].set_xlabel("probability (%)", color=GREY)
    return figure
