"""Maps over images: one scale, the query where it is, and colours that stand for attention alone."""

import numpy as np
import pytest
import torch

from vitlib import heatmaps
from vitlib.plots import QUERY

IMAGES = torch.rand(2, 3, 8, 8)


def panels(figure):
    return [np.asarray(axis.images[0].get_array()) for axis in figure.axes if axis.images]


def test_no_attention_leaves_the_image_grey_and_full_attention_covers_it_in_the_colour_of_keys():
    picture = heatmaps.laid_over(IMAGES[0], np.array([[0.0, 0], [0, 0.5]]), vmax=0.5).transpose(1, 2, 0)
    assert np.allclose(picture[:4], picture[:4].mean(-1, keepdims=True))  # clear: no colour
    assert np.abs(picture[4:, 4:] - heatmaps.INK).max() < 0.11  # opaque, but for a tenth
    assert (np.ptp(picture[:4], axis=(0, 1)) > 0.2).all()  # and the image is seen


def test_all_panels_have_one_scale_and_its_bar_says_where_it_is_cut():
    maps = torch.zeros(2, 3, 2, 2)
    maps[0, 0, 0, 0], maps[1, 2, 1, 1] = 0.2, 0.4
    figure = heatmaps.heads(maps, IMAGES[0])
    first, last = panels(figure)[1], panels(figure)[6]
    assert np.abs(last[4:, 4:] - heatmaps.INK).max() < np.abs(first[:4, :4] - heatmaps.INK).max() - 0.1
    assert [tick.get_text() for tick in figure.axes[-1].get_yticklabels()] == ["0", "0.2", "0.4"]
    cut = heatmaps.heads(maps, IMAGES[0], vmax=0.2)
    assert cut.axes[-1].get_yticklabels()[-1].get_text() == "≥ 0.2"


@pytest.mark.parametrize(("query", "left", "top"), [(0, -0.5, -0.5), (1, 3.5, -0.5), (2, -0.5, 3.5)])
def test_the_query_has_a_blue_frame_in_every_panel(query, left, top):
    figure = heatmaps.heads(torch.rand(1, 2, 2, 2), IMAGES[0], query=query)
    frames = [line for axis in figure.axes for line in axis.lines if line.get_color() == QUERY]  # each on a white one
    assert len(frames) == 3
    for line in frames:
        assert (min(line.get_xdata()), min(line.get_ydata())) == (left, top)


def test_rows_of_maps_share_a_scale_and_wrong_sizes_are_named():
    figure = heatmaps.over_images(IMAGES, {"one": torch.full((2, 2, 2), 0.1), "ten": torch.ones(2, 2, 2)}, ["a", "b"])
    pale, full = panels(figure)[2], panels(figure)[4]
    assert np.abs(full - heatmaps.INK).max() < 0.11 < np.abs(pale - heatmaps.INK).max()
    with pytest.raises(ValueError, match="do not fit maps"):
        heatmaps.over_images(IMAGES, {"one": torch.ones(1, 2, 2)})
