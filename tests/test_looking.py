"""The figures of soft look-ups say what they are given, and frame the patch that reads."""

import pytest
import torch

from vitlib import looking
from vitlib.plots import KEY, QUERY


def words(figure) -> list[str]:
    return [text.get_text() for axis in figure.axes for text in (*axis.texts, axis.title)]


def test_regression_writes_the_answer_and_the_weights():
    keys, values, weights = torch.tensor([0.0, 1, 4]), torch.tensor([2.0, 6, 8]), torch.tensor([0.25, 0.75, 0])
    figure = looking.regression(keys, values, 0.5, weights, (keys, values), x="hour")
    assert "query 0.5: answer 5.0" in words(figure)
    assert [text for text in words(figure) if text in ("0.25", "0.75", "0")] == ["0.25", "0.75", "0"]
    assert figure.axes[1].get_xlabel() == "hour"


def test_products_write_every_number_and_shape():
    x, W = torch.tensor([[1.0, 0, 2], [0, 3, 0]]), torch.tensor([[4.0], [5], [6]])
    figure = looking.products(x, [("W", W, "q", x @ W, QUERY), ("V", -W, "k", -x @ W, KEY)], ["a", "b"])
    said = words(figure)
    assert {"$x$  (2, 3)", "× W  (3, 1)", "= q  (2, 1)", "16", "-15"} <= set(said)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["a", "b"]


def test_reads_frames_the_patch_that_reads_and_keeps_one_scale():
    weights = torch.zeros(2, 6)
    weights[0, 1], weights[1, 4] = 0.5, 0.25
    figure = looking.reads(torch.zeros(3, 8, 12), weights, [5, 0], (2, 3))
    image, first, second, *_ = figure.axes
    corners = [[patch.get_xy() for patch in axis.patches[::2]] for axis in (image, first, second)]
    assert corners == [[(7.5, 3.5), (-0.5, -0.5)], [(7.5, 3.5)], [(-0.5, -0.5)]]  # patch 5: row 1, column 2
    assert {drawn.get_clim() for axis in (first, second) for drawn in axis.images[1:]} == {(0, 0.5)}
    assert len(figure.axes) == 4  # with the colour bar


@pytest.mark.parametrize(("queries", "grid"), [([6], (2, 3)), ([-1], (2, 3)), ([0, 1], (2, 3)), ([0], (2, 0))])
def test_reads_refuses_patches_that_are_not_there(queries, grid):
    with pytest.raises(ValueError, match="patch|grid"):
        looking.reads(torch.zeros(3, 8, 12), torch.rand(1, 6), queries, grid)


def test_bands_shade_the_middle_and_stop_at_the_floor():
    widths, low, middle, high = [1, 10], [1e-9, 2.0], [1.0, 3.0], [2.0, 4.0]
    figure = looking.bands({"a": (widths, low, middle, high)}, floor=0.01)
    (axis,) = figure.axes
    corners = axis.collections[0].get_paths()[0].vertices
    assert corners[:, 1].min() == 0.01 and corners[:, 1].max() == 4
    assert axis.get_ylim()[0] == 0.01 and axis.get_xscale() == axis.get_yscale() == "log"
