"""Figures of what a change does say it in colours and lengths; exercise 9.5 shows what its solution tells."""

from statistics import mean

import torch

from vitlib import effects
from vitlib.checks import ch09
from vitlib.plots import GREY, VALUE


def test_an_interval_is_green_only_if_the_wider_of_the_two_is_clear_of_zero():
    gains = {"both": (5, 2, 1), "narrower": (2, 3, 1), "neither": (1, 3, 2), "loss": (-5, 1, 2)}
    (axis,) = effects.gain_intervals(gains).axes
    lines = axis.lines[:12:3]  # the first of the three that a gain is drawn with
    assert [line.get_color() for line in lines] == [VALUE, "#E69F00", GREY, VALUE]
    assert list(lines[0].get_xdata()) == [3, 7]


def test_the_arrows_in_a_circle_are_as_long_as_the_singular_values():
    matrix = torch.tensor([[3.0, 0.0], [0.0, 0.5]])
    (axis,) = effects.unit_circles({"a": matrix}).axes
    assert axis.get_title() == "a\n3.0 and 0.5"
    assert sorted(round(float(abs(text.xy[0]) + abs(text.xy[1])), 3) for text in axis.texts) == [0.5, 3.0]


def test_each_row_of_changes_begins_with_the_image_itself():
    image, other = torch.zeros(3, 8, 8), torch.ones(3, 8, 8)
    figure = effects.image_changes(image, {"one": [other], "two": [other, other]}, {"two": ["a", "b"]})
    drawn = [axis.images[0].get_array().mean() if axis.images else None for axis in figure.axes]
    assert drawn == [0, 1, None, 0, 1, 1]
    assert [axis.get_xlabel() for axis in figure.axes[3:]] == ["", "a", "b"]


def test_a_zero_is_left_white():
    (axis,) = effects.layer_freedom({"a": [[0.0, 1.0], [2.0, 0.0]]}).axes
    assert axis.images[0].get_array().mask.tolist() == [[True, False], [False, True]]


def test_more_than_half_of_muons_first_lead_in_exercise_9_5_is_the_learning_rate():
    muon, slow, tuned = (mean(ch09.toy(kind, lr, seed) for seed in range(3))
                         for kind, lr in (("Muon", 0.03), ("AdamW", 0.001), ("AdamW", 0.005)))
    assert slow < tuned < muon
    assert tuned - slow > (muon - slow) / 2
