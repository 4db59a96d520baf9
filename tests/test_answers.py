"""Bars beside an image: whose they are, which one is true, and which one is the mistake."""

import pytest
import torch

from vitlib import answers, plots

IMAGE, NAMES = torch.rand(3, 8, 8), ["circle", "ring", "star"]


def colours(axis) -> list[str]:
    return [plots.plt.matplotlib.colors.to_hex(bar.get_facecolor()).upper() for bar in axis.patches]


def test_the_true_class_is_blue_and_a_wrong_first_choice_has_the_colour_of_a_mistake():
    said = {"early": torch.tensor([0.2, 0.5, 0.3]), "late": torch.tensor([0.1, 0.2, 0.7], requires_grad=True)}
    figure = answers.class_bars(IMAGE, said, NAMES, torch.tensor(2), "A star")
    picture, early, late = figure.axes
    assert [axis.get_title() for axis in figure.axes] == ["star", "early", "late"]
    assert len(picture.images) == 1 and [label.get_text() for label in early.get_yticklabels()] == NAMES
    assert colours(early) == ["#9CA3AF", plots.KEY, plots.QUERY]
    assert colours(late) == ["#9CA3AF", "#9CA3AF", plots.QUERY]
    assert [bar.get_width() for bar in early.patches] == pytest.approx([20, 50, 30])
    assert early.get_xlim() == late.get_xlim() == (0, 100)
    assert early.yaxis_inverted() and late.yaxis_inverted()  # the first class on top, in both


@pytest.mark.parametrize("said", [{}, {"a": [0.5, 0.5]}, {"a": [0.2, 0.3, 0.5], "b": [[0.2, 0.3, 0.5]]}])
def test_answers_that_are_not_one_number_for_each_class_are_refused(said):
    with pytest.raises(ValueError, match="3 probabilities for each answer"):
        answers.class_bars(IMAGE, said, NAMES, 0)
