import math
from dataclasses import replace

import pytest
import torch
from common import TINY

from vitlib.optim import decays, finite_or_stop, learning_rate, make_optimizers, parameter_groups, set_rate
from vitlib.vit import ViT


def test_the_schedule_at_its_first_warm_and_last_steps():
    for shape in ("cosine", "linear", "constant"):
        rates = [learning_rate(step, 100, 2.0, 10, shape) for step in range(100)]
        assert rates[0] == pytest.approx(0.2)
        assert rates[9] == pytest.approx(2.0)
        assert rates[10] == pytest.approx(2.0)
    assert learning_rate(99, 100, 2.0, 10, "linear") == pytest.approx(2 / 90)
    assert learning_rate(55, 100, 2.0, 10, "linear") == pytest.approx(1)
    assert learning_rate(99, 100, 2.0, 10, "cosine") == pytest.approx(1 + math.cos(math.pi * 89 / 90))
    assert learning_rate(55, 100, 2.0, 10, "cosine") == pytest.approx(1)
    assert learning_rate(99, 100, 2.0, 10, "constant") == 2


def test_a_schedule_in_steps_drops_where_it_is_told_to():
    rates = [learning_rate(step, 100, 2.0, 10, "steps", drops=(0.4, 0.8), factor=0.5) for step in range(100)]
    assert rates[9] == rates[10] == rates[39] == 2
    assert rates[40] == rates[79] == 1
    assert rates[80] == rates[99] == 0.5
    assert learning_rate(99, 100, 2.0, 10, "steps") == 2


def test_the_schedule_climbs_then_falls_and_never_reaches_zero():
    for shape in ("cosine", "linear"):
        rates = torch.tensor([learning_rate(step, 50, 1.0, 5, shape) for step in range(50)])
        assert (rates[:5].diff() > 0).all()
        assert (rates[5:].diff() < 0).all()
        assert rates.min() > 0
    assert learning_rate(0, 1) == 1
    assert learning_rate(9, 10, 1.0, 10) == 1  # all warm-up


def test_a_schedule_that_cannot_be_is_named():
    with pytest.raises(ValueError, match="'step' is not cosine"):
        learning_rate(0, 10, shape="step")
    for step in (-1, 10):
        with pytest.raises(ValueError, match=rf"step {step} is outside the schedule's 0…9"):
            learning_rate(step, 10)


def test_no_decay_on_biases_norms_positions_and_the_class_token():
    free = {name for name, p in ViT(TINY).named_parameters() if not decays(name, p)}
    assert {"cls_token", "pos_embed", "norm.weight", "norm.bias", "head.bias", "patch_embed.proj.bias"} <= free
    assert {name.split(".")[-1] for name, p in ViT(TINY).named_parameters() if name not in free} == {"weight"}
    assert sum("norm" not in name and name.endswith("weight") for name in free) == 0
    assert len(free) == sum(p.ndim < 2 for p in ViT(TINY).parameters()) + 2


def make(kind, config=TINY, **changes):
    model = ViT(config)
    settings = {"lr": 0.1, "weight_decay": 0.5, "betas": (0.9, 0.95), "muon_lr": 0.02, "muon_decay": 0.25}
    return model, make_optimizers(model, kind, **settings | changes)


@pytest.mark.parametrize("kind", ["adamw", "muon"])
@pytest.mark.parametrize("positions", ["learned", "sincos", "none"])
def test_each_trainable_parameter_is_in_exactly_one_group(kind, positions):
    model, optimizers = make(kind, replace(TINY, positions=positions))
    grouped = [id(p) for o in optimizers for group in o.param_groups for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in model.parameters() if p.requires_grad)


def test_muon_takes_the_matrices_of_the_blocks_and_no_others():
    model, (adamw, muon) = make("muon")
    names = {id(p): name for name, p in model.named_parameters()}
    taken = {names[id(p)] for group in muon.param_groups for p in group["params"]}
    parts = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
    assert taken == {f"blocks.{i}.{part}.weight" for i in range(2) for part in parts}
    assert [(g["lr"], g["weight_decay"]) for g in muon.param_groups] == [(0.02, 0.25)]
    assert [(g["lr"], g["weight_decay"], g["betas"]) for g in adamw.param_groups] == [
        (0.1, 0.5, (0.9, 0.95)), (0.1, 0.0, (0.9, 0.95))]


HYBRID = replace(TINY, stem="residual", image_size=16)


def test_muon_with_the_stem_takes_its_convolutions_too_and_no_norm():
    model, (adamw, muon) = make("muon+stem", HYBRID)
    names = {id(p): name for name, p in model.named_parameters()}
    taken = [names[id(p)] for group in muon.param_groups for p in group["params"]]
    left = [names[id(p)] for group in adamw.param_groups for p in group["params"]]
    assert sorted(taken + left) == sorted(names.values())
    shapes = {name: p.ndim for name, p in model.named_parameters()}
    assert {name for name, ndim in shapes.items() if ndim == 4} < set(taken)
    assert all(shapes[name] == 4 or name.startswith("blocks.") and shapes[name] == 2 for name in taken)
    assert len(taken) == 7 + 8  # of the stem: first, two blocks of two, one that changes the width, 1×1


def test_the_groups_decay_what_they_should_and_nothing_else():
    """With no gradient signal, a step shrinks a decaying parameter by lr·decay and leaves the others alone."""
    model, (adamw,) = make("adamw")
    before = {name: p.detach().clone().normal_() for name, p in model.named_parameters()}
    model.load_state_dict(before)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    adamw.step()
    for name, parameter in model.named_parameters():
        factor = 1 - 0.1 * 0.5 if name.endswith("weight") and "norm" not in name else 1
        torch.testing.assert_close(parameter.detach(), before[name] * factor)


def test_parameter_groups_hold_the_decay_they_were_given():
    decayed, free = parameter_groups(iter(ViT(TINY).named_parameters()), 0.3)
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.3, 0.0)


def test_set_rate_scales_every_group_from_its_own_peak():
    _, optimizers = make("muon")
    for factor in (0.5, 0.1, 1.0):  # from the peak, not from the last rate
        set_rate(optimizers, factor)
        rates = [group["lr"] for o in optimizers for group in o.param_groups]
        assert rates == pytest.approx([0.1 * factor, 0.1 * factor, 0.02 * factor])


def test_an_unknown_optimiser_is_named():
    with pytest.raises(ValueError, match=r"'sgd' is not adamw, muon or muon\+stem"):
        make("sgd")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_stops_with_advice(value):
    finite_or_stop(torch.tensor(3.0), 1)
    with pytest.raises(FloatingPointError, match=f"weights became {value} near step 7.*checkpoint is kept.*Lower"):
        finite_or_stop(torch.tensor(value), 7)


def test_layer_decay_gives_each_layer_a_rate_of_its_own():
    model = ViT(replace(TINY, depth=2))
    (adamw,) = make_optimizers(model, "adamw", 0.1, 0.05, (0.9, 0.98), 0.02, 0.25, layer_decay=0.5)
    names = {id(p): name for name, p in model.named_parameters()}
    rates = {names[id(p)]: group["lr"] for group in adamw.param_groups for p in group["params"]}
    assert set(rates) == set(names.values())
    expected = {"head.bias": 0.1, "norm.weight": 0.1, "blocks.1.attn.qkv.weight": 0.05, "blocks.0.mlp.fc2.bias": 0.025,
                "patch_embed.proj.weight": 0.0125, "cls_token": 0.0125, "pos_embed": 0.0125}
    assert {name: rates[name] for name in expected} == pytest.approx(expected)
    decays = {names[id(p)]: group["weight_decay"] for group in adamw.param_groups for p in group["params"]}
    assert decays["head.weight"] == 0.05 and decays["head.bias"] == decays["pos_embed"] == 0
