"""Low-rank adapters: the layer, what is trained, merged and unmerged, saved alone and swapped; parity with peft."""

import copy
import importlib
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from common import PLAIN, TINY, pictures, randomise
from torch import nn
from torch.nn import functional as F

from vitlib.adapters import load_adapter, lora_state, marks, save_adapter
from vitlib.checkpoint import export_weights, load_weights, load_zoo
from vitlib.lora import LoRALinear, adapted, add_lora, merge, strip, unmerge
from vitlib.published import adapt
from vitlib.train import fit
from vitlib.vit import ViT


def model(seed=0, rank=2, alpha=3.0, targets=("qkv", "proj"), **changes):
    """A small ViT in which no tensor hides another, with adapters that have learned something."""
    torch.manual_seed(seed)
    vit = randomise(ViT(replace(TINY, **changes)), 0.3).eval()
    return randomise(add_lora(vit, rank, alpha, targets), 0.3) if rank else vit


def images(count=3):
    return torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(5))


def everything(vit):
    """All that a refused call must leave as it was."""
    modes = {f"{n} in training": part.training for n, part in vit.named_modules()}
    return {n: v.clone() for n, v in [*vit.named_parameters(), *vit.named_buffers()]}, vit.config, modes | {
        n: layer.kept is None for n, layer in adapted(vit).items()}


def assert_unchanged(vit, before):
    tensors, config, merged = everything(vit)
    assert config == before[1] and merged == before[2] and tensors.keys() == before[0].keys()
    assert all(torch.equal(value, before[0][name]) for name, value in tensors.items())


# The layer


def test_the_layer_is_the_formula_on_four_numbers():
    linear = nn.Linear(4, 4)
    layer = LoRALinear(linear, rank=1, alpha=2.0)
    with torch.no_grad():
        layer.lora_A.copy_(torch.tensor([[1.0, 0, 0, 0]]))  # reads the first number
        layer.lora_B.copy_(torch.tensor([[0.0], [0], [5], [0]]))  # and writes it, five times as large, to the third
    x = torch.tensor([[3.0, 1, 1, 1], [0, 1, 1, 1]])
    assert torch.allclose(layer(x) - linear(x), torch.tensor([[0.0, 0, 30, 0], [0, 0, 0, 0]]), atol=1e-5)


@pytest.mark.parametrize("bias", [True, False])
def test_wide_and_tall_layers_equal_one_matrix(bias):
    for shape in ((5, 9), (9, 5)):
        linear = nn.Linear(*shape, bias=bias).double()
        layer = randomise(LoRALinear(linear, rank=3, alpha=5.0), 0.5)
        x = torch.randn(2, 7, shape[0]).double()
        W = linear.weight + 5 / 3 * layer.lora_B @ layer.lora_A
        torch.testing.assert_close(layer(x), F.linear(x, W, linear.bias))
        torch.testing.assert_close(layer.change(), W - linear.weight)
        assert {name for name, p in layer.named_parameters() if p.requires_grad} == {"lora_A", "lora_B"}


def test_at_first_the_model_answers_as_before():
    vit = model(rank=None)
    before = vit(images())
    assert torch.equal(add_lora(vit, 2)(images()), before)
    drawn = [layer.lora_A for layer in adapted(vit).values()]
    assert all(A.abs().max() <= (1 / TINY.dim) ** 0.5 for A in drawn)  # as nn.Linear draws its weights
    assert all(A.std() > 0.3 * TINY.dim ** -0.5 for A in drawn) and not torch.equal(drawn[0], drawn[1][:, :16])


@pytest.mark.parametrize(("targets", "wide"), [(("qkv", "proj"), 4 + 2), (("qkv",), 4), (("fc1", "fc2"), 5 + 5)])
def test_what_is_trained_is_counted(targets, wide):
    vit = model(targets=targets, rank=3)
    trained = {name: p for name, p in vit.named_parameters() if p.requires_grad}
    assert sum(p.numel() for n, p in trained.items() if "lora_" in n) == TINY.depth * 3 * wide * TINY.dim
    assert {n for n in trained if "lora_" not in n} == {"head.weight", "head.bias"}
    assert not any(n.startswith("patch_embed") for n in trained)  # its layer is called proj as well
    assert {n.split(".")[-2] for n in trained if "lora_" in n} == set(targets)


def test_the_models_own_names_stay():
    plain = ViT(TINY).state_dict().keys()
    assert {name for name in model().state_dict() if "lora_" not in name} == plain


# Training


def test_training_moves_adapters_and_head_and_nothing_else():
    for changes in ({"stem": "conv", "patch_size": 4}, {"positions": "sincos", "pool": "mean"}):
        vit = model(alpha=16.0, **changes)
        before = everything(vit)[0]
        fit(vit, pictures(), PLAIN)
        after = everything(vit)[0]
        moved = {name for name in after if not torch.equal(after[name], before[name])}
        assert moved == lora_state(vit).keys()  # no mean of the stem's batch norms either


def test_without_its_head_nothing_is_learned():
    vit = adapt(model(rank=None), classes=3)
    add_lora(vit, 2).head.requires_grad_(False)
    history = fit(vit, pictures(), PLAIN)
    assert [row["train_loss"] for row in history] == pytest.approx([math.log(3)] * 2, abs=1e-6)
    assert all(not layer.lora_B.any() for layer in adapted(vit).values())


def test_a_distilled_model_trains_and_keeps_both_heads(tmp_path):
    vit = model(pool="distilled")
    assert {"head.weight", "head_dist.weight"} <= {n for n, p in vit.named_parameters() if p.requires_grad}
    save_adapter(vit, tmp_path / "a")
    for classes in (3, 5):
        other = adapt(model(rank=None, pool="distilled"), classes=classes)
        load_adapter(other, tmp_path / "a")
        assert torch.equal(other(images()), vit(images()))


def test_a_stopped_run_goes_on_bit_for_bit(tmp_path):
    whole, half = model(), model()
    fit(whole, pictures(), replace(PLAIN, epochs=3))
    fit(half, pictures(), replace(PLAIN, epochs=3), checkpoint=tmp_path / "c.pt")
    resumed = model(seed=1)
    resumed.load_state_dict(model().state_dict())
    fit(resumed, pictures(), replace(PLAIN, epochs=3), checkpoint=tmp_path / "c.pt", resume=True)
    for vit in (half, resumed):
        assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), vit.parameters(), strict=True))


# Merging


def test_merged_outputs_are_equal_and_unmerged_weights_the_same_bits():
    for exact, tolerance in ((False, 1e-6), (True, 1e-14)):
        vit = add_lora(load_zoo("cifar10-tiny")[0], 4)
        for layer in adapted(vit).values():
            nn.init.normal_(layer.lora_B, std=0.02)  # changes of a size that training makes
        vit = vit.double() if exact else vit
        x = torch.randn(8, 3, 32, 32, dtype=torch.float64 if exact else torch.float32)
        with torch.no_grad():
            before, weights = vit(x), {name: layer.weight.clone() for name, layer in adapted(vit).items()}
            merged = merge(vit)(x)
            assert (merged - before).norm() <= tolerance * before.norm()
            assert all((layer.weight != weights[name]).any() for name, layer in adapted(vit).items())
            unmerge(vit)
            assert all(torch.equal(layer.weight, weights[name]) for name, layer in adapted(vit).items())
            assert torch.equal(vit(x), before)


def test_a_merged_pass_does_not_read_the_adapters():
    vit = merge(model())
    before = vit(images())
    for layer in adapted(vit).values():
        nn.init.constant_(layer.lora_A, math.nan)
    assert torch.equal(vit(images()), before)


def test_what_is_merged_is_not_merged_again_trained_saved_or_loaded():
    vit, other = merge(model()), model(seed=1)
    before = everything(vit)
    for call in (merge, lambda vit: vit.train()(images()), lambda vit: vit.state_dict(),
                 lambda vit: fit(vit, pictures(), PLAIN), lambda vit: vit.load_state_dict(other.state_dict())):
        with pytest.raises(ValueError, match=r"are merged.* twice; call unmerge\(model\) first, or strip"):
            call(vit)
        assert_unchanged(vit.eval(), before)
    layer, free = next(iter(adapted(vit).values())), next(iter(adapted(other).values()))
    with pytest.raises(ValueError, match="are merged"):
        layer.load_state_dict(free.state_dict())  # one layer alone
    assert_unchanged(vit, before)


def test_one_merged_layer_stops_all():
    vit = model()
    layer = list(adapted(vit).values())[-1]
    layer.kept = layer.weight.data
    before = everything(vit)
    for call, said in ((merge, "are merged"), (unmerge, "not merged"), (strip, "not merged")):
        with pytest.raises(ValueError, match=said):
            call(vit)
        assert_unchanged(vit, before)


def test_what_is_not_merged_is_neither_taken_out_nor_stripped():
    vit = model()
    before = everything(vit)
    with pytest.raises(ValueError, match="not merged: there is nothing to take out"):
        unmerge(vit)
    with pytest.raises(ValueError, match=r"not merged: .* forget what they learned; call merge\(model\) first"):
        strip(vit)
    assert_unchanged(vit, before)


@pytest.mark.parametrize("call", [merge, unmerge, strip])
def test_a_model_without_adapters_is_told_how_to_get_some(call):
    with pytest.raises(ValueError, match=r"this ViT has no adapters; add_lora\(model, rank\)"):
        call(model(rank=None))


@pytest.mark.parametrize("changes", [{}, {"positions": "sincos", "pool": "mean"}, {"qkv_bias": False}])
def test_stripped_it_is_a_plain_vit(tmp_path, changes):
    vit = model(**changes)
    expected = vit(images())
    with pytest.raises(ValueError, match="changed after it was built"):
        export_weights(vit, tmp_path / "v.safetensors", torch.float32)
    strip(merge(vit))
    plain = ViT(vit.config).eval()
    assert {n: p.requires_grad for n, p in vit.named_parameters()} == {
        n: p.requires_grad for n, p in plain.named_parameters()}
    assert [type(part) for part in vit.modules()] == [type(part) for part in plain.modules()]
    plain.load_state_dict(vit.state_dict(), strict=True)
    export_weights(vit, tmp_path / "v.safetensors", torch.float32)
    for other in (vit, plain, load_weights(tmp_path / "v.safetensors")):
        torch.testing.assert_close(other(images()), expected, rtol=1e-5, atol=1e-5)
        assert not any(part.training for part in other.modules())


def test_stripped_it_can_be_adapted_again():
    vit = add_lora(strip(merge(model())), 4)
    assert next(iter(adapted(vit).values())).rank == 4


# Files


def test_an_adapter_on_its_base_gives_the_same_bits(tmp_path):
    vit = model()
    save_adapter(vit, tmp_path / "a.safetensors", ("ant", "bee", "cow"))
    for base in (model(rank=None), model(seed=0, rank=2), adapt(model(rank=None), classes=7)):
        nn.init.normal_(base.head.weight)  # whatever head it has
        assert load_adapter(base, tmp_path / "a.safetensors") == ("ant", "bee", "cow")
        assert torch.equal(base(images()), vit(images())) and base.config == vit.config
        assert {n for n, p in base.named_parameters() if p.requires_grad} == lora_state(vit).keys()


def test_two_adapters_take_turns_on_one_base(tmp_path):
    base, outputs = adapt(model(rank=None), classes=0), {}
    for name, seed, classes in (("a", 1, 3), ("b", 2, 5)):
        vit = add_lora(adapt(model(rank=None), classes=classes), 2)
        torch.manual_seed(seed)
        save_adapter(randomise(vit, 0.3), tmp_path / name)
        outputs[name] = vit(images())
    for name in ("a", "b", "a"):
        load_adapter(base, tmp_path / name)
        assert torch.equal(base(images()), outputs[name])


def test_a_file_is_small_and_does_not_depend_on_merging(tmp_path):
    vit = randomise(add_lora(load_zoo("cifar10-tiny")[0], 2), 0.01)
    save_adapter(vit, tmp_path / "a")
    assert marks(merge(vit)) == marks(unmerge(vit))
    save_adapter(merge(vit), tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    export_weights(strip(vit), tmp_path / "whole", torch.float32)
    assert (tmp_path / "a").stat().st_size < 0.02 * (tmp_path / "whole").stat().st_size


def test_marks_see_other_weights_and_not_the_last_digits():
    vit, noisy = model(rank=None, stem="conv"), model(rank=None, stem="conv")
    for p in noisy.parameters():
        p.data *= 1 + 1e-6 * torch.randn_like(p)
    own = marks(vit)
    assert set(own) >= {"pos_embed", "blocks.1.mlp.fc2.bias", "patch_embed.proj.1.running_mean"}
    assert not any(name.startswith("head") for name in own)
    assert all(math.isclose(a, b, rel_tol=1e-4, abs_tol=1e-5) for a, b in zip(own.values(), marks(noisy).values()))
    for name, p in vit.named_parameters():
        p.data += 0.03 * torch.randn_like(p)  # a tenth of its own size
        changed = {n for n, mark in marks(vit).items() if mark != own[n]}
        assert changed == ({name} if not name.startswith("head") else set())
        own = marks(vit)


def refused_files(folder):
    """What is no adapter for `model()`, by name: the file, and what is said."""
    save_adapter(model(), folder / "good")
    save_adapter(model(dim=8), folder / "narrow")
    save_adapter(model(seed=3), folder / "other base")
    save_adapter(model(rank=3), folder / "rank 3")
    save_adapter(model(alpha=4.0), folder / "alpha 4")
    save_adapter(model(targets=("qkv", "fc1")), folder / "elsewhere")
    export_weights(model(rank=None), folder / "weights")
    (folder / "cut").write_bytes((folder / "good").read_bytes()[:-100])
    (folder / "lies").write_bytes((folder / "good").read_bytes().replace(b'{\\"rank\\": 2', b'{\\"rank\\": 4'))
    return {"narrow": r"made for another model \(dim=8, not 16\)",
            "other base": r"made for other weights: \d\d of the base's 30 tensors differ, such as cls_token",
            "rank 3": r"of another form than those on the model \(rank=3, not 2\); load it onto the base",
            "alpha 4": r"alpha=4.0, not 3.0", "elsewhere": r"\['qkv', 'fc1'\], not \['qkv', 'proj'\]",
            "weights": "holds no adapter of vitlib .* read the weights of a whole model with load_weights",
            "cut": "holds no adapter", "lies": "rank=4, not 2"}


@pytest.mark.parametrize("name", ["narrow", "other base", "rank 3", "alpha 4", "elsewhere", "weights", "cut", "lies"])
def test_what_does_not_fit_is_refused_with_nothing_changed(tmp_path, name):
    said, vit = refused_files(tmp_path)[name], model()
    before = everything(vit)
    with pytest.raises(ValueError, match=said):
        load_adapter(vit, tmp_path / name)
    assert_unchanged(vit, before)


def test_a_file_that_lies_about_itself_is_refused_on_a_bare_base_too(tmp_path):
    refused_files(tmp_path)
    vit = model(rank=None)
    before = everything(vit)
    with pytest.raises(ValueError, match="says rank 4 for qkv, proj, and holds other tensors"):
        load_adapter(vit, tmp_path / "lies")
    assert_unchanged(vit, before)


def test_a_merged_adapter_is_not_exchanged_and_a_missing_file_is_named(tmp_path):
    save_adapter(model(), tmp_path / "good")
    vit = merge(model())
    before = everything(vit)
    with pytest.raises(ValueError, match="are merged"):
        load_adapter(vit, tmp_path / "good")
    with pytest.raises(FileNotFoundError, match="there is no adapter .*gone; save_adapter writes one"):
        load_adapter(vit, tmp_path / "gone")
    assert_unchanged(vit, before)


def test_nothing_is_written_over_by_what_cannot_be_saved(tmp_path):
    path, broken = tmp_path / "a", model()
    save_adapter(model(), path)
    before = path.read_bytes()
    nn.init.constant_(next(iter(adapted(broken).values())).lora_B, math.nan)
    cases = [(model(rank=None), (), "has no adapters"), (model(), ("a", "b"), "3 classes apart, got 2"),
             (broken, (), "blocks.0.attn.qkv.lora_B holds nan")]
    for vit, classes, said in cases:
        with pytest.raises(ValueError, match=said):
            save_adapter(vit, path, classes)
        assert path.read_bytes() == before


# Settings


@pytest.mark.parametrize(("arguments", "said"), [
    ({"rank": 0}, "rank counts columns, from 1 to the 16"), ({"rank": 17}, "from 1 to the 16 of the smallest matrix"),
    ({"rank": 2.0}, r"got 2\.0"), ({"rank": True}, "got True"), ({"alpha": 0}, "alpha is a positive number, got 0"),
    ({"alpha": math.nan}, "got nan"), ({"alpha": math.inf}, "got inf"), ({"alpha": "8"}, "got '8'"),
    ({"targets": "qkv"}, r"as in targets=\('qkv', 'proj'\)"),
    ({"targets": ()}, r"got \(\)"), ({"targets": ("q", "v")}, "some of qkv, proj, fc1, fc2")])
def test_settings_that_no_adapter_can_have(arguments, said):
    vit = model(rank=None)
    before = everything(vit)
    with pytest.raises(ValueError, match=said):
        add_lora(vit, **{"rank": 2} | arguments)
    assert_unchanged(vit, before)
    assert all(p.requires_grad for p in vit.parameters())


def test_models_that_cannot_be_adapted():
    with pytest.raises(ValueError, match="already, of rank 2; train those"):
        add_lora(model(), 2)
    with pytest.raises(ValueError, match="a ViT of vitlib, got Linear"):
        add_lora(nn.Linear(4, 4), 2)
    with pytest.raises(ValueError, match=r"no head \(classes=0\).*adapt\(model, classes=K\)"):
        add_lora(adapt(model(rank=None), classes=0), 2)


# Parity


def with_peft(vit, rank, alpha, **options):
    peft = pytest.importorskip("peft", reason="parity is with the package peft")
    config = peft.LoraConfig(r=rank, lora_alpha=alpha, target_modules=r"blocks\.\d+\.attn\.(qkv|proj)", **options)
    return peft.inject_adapter_in_model(config, vit)


def test_outputs_gradients_and_merged_weights_equal_pefts():
    ours = model(rank=2, alpha=5.0).double()
    theirs = with_peft(copy.deepcopy(model(rank=None)).double(), 2, 5.0)
    theirs.head = copy.deepcopy(ours.head)
    twins = [(layer, theirs.get_submodule(name)) for name, layer in adapted(ours).items()]
    assert len(twins) == 2 * TINY.depth
    for layer, twin in twins:
        assert twin.lora_A.default.weight.shape == layer.lora_A.shape and not twin.lora_B.default.weight.any()
        twin.lora_A.default.weight.data, twin.lora_B.default.weight.data = layer.lora_A.data, layer.lora_B.data
    x, labels = images().double(), torch.tensor([0, 1, 2])
    for vit in (ours, theirs):
        F.cross_entropy(vit(x), labels).backward()
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-12, atol=1e-12)
    for layer, twin in twins:
        for mine, other in ((layer.lora_A, twin.lora_A.default.weight), (layer.lora_B, twin.lora_B.default.weight)):
            assert mine.grad.abs().max() > 1e-3
            torch.testing.assert_close(mine.grad, other.grad, rtol=1e-10, atol=1e-12)
        assert layer.weight.grad is None and twin.base_layer.weight.grad is None
    merge(ours)
    for layer, twin in twins:
        twin.merge()
        torch.testing.assert_close(layer.weight, twin.base_layer.weight, rtol=1e-12, atol=1e-12)


def test_a_is_drawn_as_peft_draws_it():
    ours, theirs = add_lora(model(rank=None), 2), with_peft(model(rank=None), 2, 16)
    for name, layer in adapted(ours).items():
        torch.manual_seed(7)
        again = LoRALinear(nn.Linear(layer.in_features, layer.out_features), 2, 16.0).lora_A
        twin = theirs.get_submodule(name)
        torch.manual_seed(7)
        nn.Linear(layer.in_features, layer.out_features)  # the same draws before
        twin.reset_lora_parameters("default", True)
        assert torch.equal(again, twin.lora_A.default.weight)


def solution(number):
    """What an exercise's solution defines."""
    space = {"torch": torch, "Tensor": torch.Tensor}
    exec(importlib.import_module("test_exercises").ALL[number]["solution"], space)
    return space


def test_the_exercises_rslora_and_dora_are_pefts():
    peft = pytest.importorskip("peft", reason="parity is with the package peft")
    linear, x = nn.Linear(6, 5).double(), torch.randn(4, 6).double()
    for options in ({"use_rslora": True}, {"use_dora": True}):
        twin = peft.tuners.lora.Linear(copy.deepcopy(linear), "default", peft.LoraConfig(r=3, lora_alpha=5, **options),
                                       r=3, lora_alpha=5).double()
        A, B = twin.lora_A.default.weight, twin.lora_B.default.weight
        nn.init.normal_(B)
        if "use_rslora" in options:
            assert twin.scaling["default"] == pytest.approx(solution("17.3")["scale"](5, 3))
            continue
        nn.init.uniform_(m := twin.lora_magnitude_vector.default.weight, 1, 2)
        W = solution("17.4")["dora"](linear.weight, A, B, 5, m)
        torch.testing.assert_close(twin(x), F.linear(x, W, linear.bias), rtol=1e-10, atol=1e-10)
        twin.merge()
        torch.testing.assert_close(twin.base_layer.weight, W, rtol=1e-10, atol=1e-10)


# The study


@pytest.fixture
def study(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "book" / "studies"))
    module = importlib.import_module("lora")
    monkeypatch.setattr(module, "SIZE", 8)
    return module


def test_the_study_never_shows_an_image_twice_and_every_class_as_often(study):
    data = pictures(count=60)  # 20 of each class
    parts = [study.drawn(data, first, first + 5) for first in (0, 5, 10, 15)]
    assert all(part.labels.bincount().tolist() == [5, 5, 5] for part in parts)
    seen = torch.cat([part.images for part in parts]).flatten(1)
    assert len(seen.unique(dim=0)) == len(data.images.flatten(1).unique(dim=0)) == 60
    assert torch.equal(study.drawn(data, 0, 5).images, parts[0].images)


def test_each_method_of_the_study_trains_what_it_says(study):
    for method, free in study.FREE.items():
        vit = model(rank=None, dim=32)
        free(vit)
        names = {name for name, p in vit.named_parameters() if p.requires_grad}
        assert {"head.weight", "head.bias"} <= names, method
        rest = {name for name in names if not name.startswith("head.")}
        if method.startswith("LoRA"):
            assert rest and all("lora_" in name for name in rest)
            assert next(iter(adapted(vit).values())).rank == int(method.split()[-1])
        else:
            body = {name for name in vit.state_dict() if not name.startswith("head.")}
            assert rest == {"linear probe": set(), "biases alone": {name for name in body if name.endswith(".bias")},
                            "full fine-tuning": body}[method]
    assert set(study.RATES) | set(study.OTHER_RANKS) == set(study.FREE)


def test_memory_of_the_study_counts_each_part(study):
    counted = {}
    for method in ("full fine-tuning", "LoRA, rank 8", "linear probe"):
        vit = model(rank=None, dim=32)
        study.FREE[method](vit)
        counted[method] = study.memory(vit, images(), torch.arange(3))
    trained = {"full fine-tuning": sum(p.numel() for p in vit.parameters()), "linear probe": 32 * 3 + 3}
    for method, count in trained.items():
        assert counted[method]["gradients"] == 4 * count and counted[method]["optimiser"] == 8 * count
        assert counted[method]["weights"] == 4 * trained["full fine-tuning"]
    kept = [part["kept for backward"] for part in counted.values()]
    assert kept[0] > kept[1] > kept[2] >= 4 * 3 * 32  # the probe keeps what its head read
    vit = model(rank=None, dim=32)
    few, many = (study.memory(vit, images(n), torch.arange(n) % 3)["kept for backward"] for n in (3, 30))
    assert many > 9.5 * few  # what a batch leaves, and no weights among it
    assert all(part["sum"] == sum(value for name, value in part.items() if name != "sum") for part in counted.values())
