"""Turned and normalised queries and keys: timm's numbers, the formula by plain loops, and what they are there for."""

import math
from dataclasses import replace
from functools import partial

import pytest
import torch
from common import TINY, randomise
from timm.layers import RotaryEmbeddingCat, apply_rot_embed_cat
from timm.models.vision_transformer import Attention
from torch import nn

from vitlib.patches import patchify, unpatchify
from vitlib.rotary import PreparedAttention, Rotary, rotary_angles, rotate
from vitlib.vit import ViT

GRID, WIDTH = (3, 5), 12  # not square, so that rows and columns cannot stand for each other
ROPE = replace(TINY, dim=24, positions="rope")  # heads of width 12


@pytest.fixture
def doubles():
    """Angles in float64: they are made in the default precision."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def test_angles_and_turns_equal_timms():
    theirs = RotaryEmbeddingCat(dim=WIDTH, temperature=100.0, in_pixels=False, feat_shape=list(GRID))
    x = torch.randn(2, 3, 15, WIDTH, dtype=torch.float64)
    expected = apply_rot_embed_cat(x, theirs.get_embed().double())
    ours = Rotary(GRID, WIDTH).double()(x)
    assert (expected - x).abs().max() > 1
    torch.testing.assert_close(ours, expected, atol=2e-6, rtol=0)  # the angles are float32, here and there


def test_turns_equal_the_formula_by_plain_loops(doubles):
    x = torch.randn(2, 1 + 15, WIDTH)  # a prefix token, then the grid row by row
    y = Rotary(GRID, WIDTH, prefix=1)(x)
    expected = x.clone()
    for row in range(3):
        for column in range(5):
            for pair in range(6):
                place, i = (row, pair) if pair < 3 else (column, pair - 3)
                angle = place * 100 ** (-4 * i / WIDTH)
                for b in range(2):
                    token = 1 + 5 * row + column
                    p, q = x[b, token, 2 * pair].item(), x[b, token, 2 * pair + 1].item()
                    expected[b, token, 2 * pair] = p * math.cos(angle) - q * math.sin(angle)
                    expected[b, token, 2 * pair + 1] = p * math.sin(angle) + q * math.cos(angle)
    torch.testing.assert_close(y, expected, atol=1e-12, rtol=0)


def test_a_turn_keeps_lengths_and_the_dtype(doubles):
    x, turn = torch.randn(4, 15, WIDTH), Rotary(GRID, WIDTH)
    torch.testing.assert_close(turn(x).norm(dim=-1), x.norm(dim=-1), atol=1e-12, rtol=0)
    pairs = [y.unflatten(-1, (-1, 2)).norm(dim=-1) for y in (turn(x), x)]
    torch.testing.assert_close(*pairs, atol=1e-12, rtol=0)  # each pair keeps its own
    assert turn(x.bfloat16()).dtype == torch.bfloat16  # as under autocast, where the angles stay float32


def test_scores_depend_on_the_offset_alone(doubles):
    q, k, angles = torch.randn(WIDTH), torch.randn(WIDTH), rotary_angles(6, 7, WIDTH)
    turned = [rotate(x.expand(42, WIDTH), angles.cos(), angles.sin()).view(6, 7, WIDTH) for x in (q, k)]
    scores = torch.einsum("abd,ijd->abij", *turned)  # between every two places
    seen = {}
    for a, b, i, j in torch.cartesian_prod(*map(torch.arange, scores.shape)).tolist():
        seen.setdefault((i - a, j - b), []).append(scores[a, b, i, j].item())
    assert len(seen) == 11 * 13
    assert max(max(values) - min(values) for values in seen.values()) < 1e-12
    assert len({round(values[0], 9) for values in seen.values()}) == 11 * 13  # each offset has a score of its own


def test_prefix_tokens_are_not_turned_and_the_patches_behind_them_as_without():
    x = torch.randn(2, 2, 3 + 15, WIDTH)
    y = Rotary(GRID, WIDTH, prefix=3)(x)
    assert torch.equal(y[:, :, :3], x[:, :, :3])
    assert torch.equal(y[:, :, 3:], Rotary(GRID, WIDTH)(x[:, :, 3:]))
    assert (y[:, :, 4:] - x[:, :, 4:]).abs().amin(dim=(0, 1)).max() > 0.1
    for pool, registers, prefix in (("cls", 2, 3), ("mean", 0, 0), ("distilled", 1, 3)):
        turn = ViT(replace(ROPE, pool=pool, registers=registers)).blocks[1].attn.rotary
        assert (turn.cos.shape, (turn.cos != 1).any(dim=1).sum()) == ((prefix + 4, 6), 3)  # all but place (0, 0)
        assert (turn.cos[:prefix] == 1).all()


@pytest.mark.parametrize(("d", "choice"), [(6, 8), (2, 4), (0, 4), (4.0, 8), (-4, 4)])
def test_heads_that_cannot_be_turned_are_named(d, choice):
    with pytest.raises(ValueError, match=rf"must be a multiple of 4, got {d}; choose dim = heads · {choice}$"):
        rotary_angles(3, 5, d)


def test_a_model_whose_heads_or_tokens_cannot_be_turned_is_named():
    with pytest.raises(ValueError, match="multiple of 4, got 6; choose dim = heads · 8"):
        ViT(replace(TINY, dim=12, positions="rope"))
    with pytest.raises(ValueError, match="grid"):
        rotary_angles(0, 5, 8)
    with pytest.raises(ValueError, match="'rope' turns each patch by its place, which patch_drop=0.25 would mix up; "):
        replace(TINY, positions="rope", patch_drop=0.25)


def test_a_model_with_turns_keeps_no_position_and_has_one_turn_for_all_blocks():
    model, plain = ViT(ROPE), ViT(replace(ROPE, positions="none"))
    assert model.pos_embed is None
    assert model.state_dict().keys() == plain.state_dict().keys()
    turns = [block.attn.rotary for block in model.blocks]
    assert len(turns) == 2 and turns[0] is turns[1] and isinstance(turns[0], Rotary)
    assert "pos_embed" in ViT(TINY).state_dict()


def shuffled(x):
    return unpatchify(patchify(x, 4)[:, [2, 0, 3, 1]], 4, (2, 2))


@pytest.mark.parametrize("pool", ["cls", "mean"])
def test_turns_tell_a_shuffled_image_from_the_original_where_no_positions_do_not(pool):
    x, change = torch.randn(4, 3, 8, 8), {}
    for positions in ("rope", "none"):
        torch.manual_seed(2)
        model = randomise(ViT(replace(ROPE, positions=positions, pool=pool)), 0.3).eval()
        change[positions] = (model(shuffled(x)) - model(x)).abs().max()
    assert change["none"] < 1e-5 < 1e-2 < change["rope"]


@pytest.mark.parametrize("turned", [False, True])
def test_normalised_queries_and_keys_equal_timms(turned):
    """timm's attention has no turns of its own: there a hook on its norms turns what they give."""
    rotary = Rotary(GRID, 8).double() if turned else None
    theirs = Attention(24, 3, qkv_bias=True, qk_norm=True, norm_layer=partial(nn.LayerNorm, eps=1e-6))
    theirs = randomise(theirs, 0.5).double().eval()
    ours = PreparedAttention(24, 3, qk_norm=True, rotary=rotary).double().eval()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    if turned:
        for norm in (theirs.q_norm, theirs.k_norm):
            norm.register_forward_hook(lambda _, x, y: rotary(y))
    x = torch.randn(2, 15, 24, dtype=torch.float64)
    assert ours(x).std() > 0.1
    torch.testing.assert_close(ours(x), theirs(x), atol=1e-10, rtol=0)


def test_a_norm_takes_the_length_of_queries_and_keys_out_of_the_scores():
    attention, x = randomise(PreparedAttention(16, 2, qk_norm=True), 0.3).double(), torch.randn(2, 5, 16).double()
    before = attention(x, need_weights=True)[1]
    with torch.no_grad():
        attention.qkv.weight[:32] *= 50  # queries and keys, not values
        attention.qkv.bias[:32] *= 50
    torch.testing.assert_close(attention(x, need_weights=True)[1], before, atol=1e-5, rtol=0)
    plain = PreparedAttention(16, 2)
    assert isinstance(plain.q_norm, nn.Identity) and isinstance(plain.k_norm, nn.Identity)


def test_with_turns_every_number_gets_a_gradient_the_biases_of_the_keys_too():
    """A bias that is turned with its key differs from place to place; in the plain model no score sees it."""
    model = randomise(ViT(replace(ROPE, qk_norm=True)), 0.3).double()
    nn.functional.cross_entropy(model(torch.randn(6, 3, 8, 8).double()), torch.arange(6) % 3).backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad.abs() > 1e-10).all(), name


KINDS = [{"qk_norm": True}, {"positions": "rope"}, {"qk_norm": True, "positions": "rope", "registers": 2}]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_maps_and_fused_kernel_agree(kind):
    model, x = randomise(ViT(replace(ROPE, **kind)), 0.3).double().eval(), torch.randn(2, 3, 8, 8).double()
    tokens = model.embed(x)
    for layer, block in enumerate(model.blocks):
        fused = block(tokens)
        tokens, weights = block(tokens, need_weights=True)
        torch.testing.assert_close(tokens, fused, atol=1e-12, rtol=0)
        assert torch.equal(weights, model.attention_maps(x)[layer])
    torch.testing.assert_close(model.norm(tokens), model.features(x), atol=1e-12, rtol=0)
    torch.testing.assert_close(model(x), model.head(model.features(x)[:, 0]), atol=1e-12, rtol=0)  # one query at last


def test_an_exported_model_with_turns_and_norms_runs_with_another_batch_size():
    model = randomise(ViT(replace(ROPE, **KINDS[2])), 0.3).eval()
    exported = torch.export.export(model, (torch.randn(3, 3, 8, 8),),
                                   dynamic_shapes={"images": {0: torch.export.Dim("batch")}}).module()
    for count in (1, 5):
        x = torch.randn(count, 3, 8, 8)
        torch.testing.assert_close(exported(x), model(x), atol=1e-5, rtol=0)
