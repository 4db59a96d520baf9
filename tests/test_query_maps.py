"""Maps with a marked query: the outline lies on the cell that was asked about, and all maps share one scale."""

import numpy as np
import pytest
import torch

from vitlib.query_maps import query_maps


def drawn(figure) -> list:
    """The axes that hold a picture: without that of the colour bar."""
    return [axis for axis in figure.axes if axis.images and axis.get_label() != "<colorbar>"]


def test_the_outline_lies_on_the_query_in_image_and_maps():
    maps = [torch.rand(4, 8), torch.rand(2, 2)]
    image, other, first, second = drawn(query_maps({"maps": maps}, [(3, 5), (0, 1)], image=torch.rand(3, 16, 32)))
    for axis, (left, top, width, height) in ((first, (4.5, 2.5, 1, 1)), (second, (0.5, -0.5, 1, 1)),
                                             (image, (19.5, 11.5, 4, 4)), (other, (15.5, -0.5, 16, 8))):
        x, y = axis.lines[-1].get_data()
        assert (min(x), min(y), max(x) - min(x), max(y) - min(y)) == (left, top, width, height)


def test_all_maps_share_the_scale_of_the_colour_bar():
    figure = query_maps({"a": [np.array([[0.0, 1.0]])], "b": [np.array([[-2.0, 3.0]])]}, [(0, 0)], label="size")
    assert [axis.images[0].get_clim() for axis in drawn(figure)] == [(-2, 3)] * 2
    assert figure.axes[-1].get_ylabel() == "size"
    assert drawn(query_maps({"a": [np.eye(2)]}, [(0, 0)], vmin=0, vmax=5))[0].images[0].get_clim() == (0, 5)


@pytest.mark.parametrize(("rows", "cells", "said"), [
    ({}, [(0, 0)], "one for each cell"), ({"a": [np.eye(2)]}, [(0, 0), (1, 1)], "one for each cell"),
    ({"a": []}, [], "one for each cell"), ({"a": [np.eye(2)]}, [(0, 2)], "outside"),
    ({"a": [np.eye(2)]}, [(-1, 0)], "outside")])
def test_what_cannot_be_drawn_is_refused(rows, cells, said):
    with pytest.raises(ValueError, match=said):
        query_maps(rows, cells)
