"""The diagrams say what they should: each part is named, what is lit is in colour, numbers are those of the formula."""

import numpy as np
import pytest
import torch

from vitlib import diagrams
from vitlib.attention import attention, attention_weights
from vitlib.plots import GREY


def words(figure) -> list[str]:
    return [text.get_text() for axis in figure.axes for text in axis.texts]


def inked(figure) -> set[str]:
    """The names of parts in black; shapes stand in brackets."""
    texts = [text for axis in figure.axes for text in axis.texts if text.get_color() == "black"]
    return {text.get_text() for text in texts if text.get_text() and "(" not in text.get_text()}


def test_the_whole_model_names_every_part_and_the_shape_that_leaves_it():
    said = words(diagrams.vit())
    assert {part[4] for part in diagrams.PARTS.values()} | {"(B, N, D)", "(B, K)"} <= set(said)


@pytest.mark.parametrize("lit", [name for name in diagrams.PARTS if name != "block"])
def test_only_the_part_in_hand_is_lit(lit):
    assert inked(diagrams.vit(lit)) == {diagrams.PARTS[lit][4]}


def test_the_block_is_lit_with_what_is_in_it():
    assert inked(diagrams.vit("block")) == {"encoder block × L", "attention", "MLP"}


@pytest.mark.parametrize(("norm", "order"), [("pre", ["Layer\nNorm", "attention", "+", "Layer\nNorm", "MLP", "+"]),
                                             ("post", ["attention", "+", "Layer\nNorm", "MLP", "+", "Layer\nNorm"])])
def test_the_block_stands_in_the_order_of_its_kind(norm, order):
    assert [word for word in words(diagrams.block(norm=norm)) if word in order] == order


def test_heads_are_drawn_with_their_shapes():
    said = " ".join(words(diagrams.split_heads(16, 48, 4)))
    assert "16 × 48" in said and "16 × 12" in said and "16 × 16" in said


def test_a_look_up_prints_what_attention_computes():
    q, k = torch.tensor([[2.0, 0]]), torch.tensor([[2.0, 0], [0, 2], [-1, 0]])
    v = torch.tensor([[10.0, 0], [0, 10], [5, 5]])
    said = words(diagrams.look_up(q[0], k, v, names=["a", "b", "c"]))
    assert {f"{w:.2f}" for w in attention_weights(q, k)[0].tolist()} <= set(said)
    assert "  ".join(f"{value:.2g}" for value in attention(q, k, v)[0].tolist()) in said


def test_a_patch_embedding_shows_the_product():
    image, E = torch.rand(3, 32, 32), torch.randn(192, 48)
    shown = diagrams.patch_embedding(image, 8, 6, E).axes
    flat = image[:, 8:16, 16:24].reshape(-1)
    token = next(axis for axis in shown if "token" in axis.get_xlabel()).images[0].get_array()
    assert np.allclose(token[0], (flat @ E).numpy(), atol=1e-4)


@pytest.mark.parametrize(("draw", "said"), [
    (lambda: diagrams.vit("heads"), "no part 'heads'"), (lambda: diagrams.block(norm="sandwich"), "sandwich"),
    (lambda: diagrams.split_heads(16, 48, 5), "D=48 and h=5"), (lambda: diagrams.look_up([1, 2], [[1]], [[1]]), "keys"),
    (lambda: diagrams.patch_embedding(torch.rand(3, 32, 32), 8, 16, torch.rand(192, 4)), "patch 16")])
def test_what_cannot_be_drawn_is_named(draw, said):
    with pytest.raises(ValueError, match=said):
        draw()


def test_what_is_not_lit_is_grey():
    figure = diagrams.vit("attention")
    assert all(t.get_color() == GREY for axis in figure.axes for t in axis.texts if "attention" not in t.get_text())
