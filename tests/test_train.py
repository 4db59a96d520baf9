import dataclasses
import math
import os
import subprocess
import sys
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from textwrap import dedent
from types import SimpleNamespace

import pytest
import torch
from common import PLAIN, TINY, pictures, randomise
from torch import nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from vitlib import train as module
from vitlib.checkpoint import load_checkpoint, restore, save_checkpoint, snapshot
from vitlib.data import normalise
from vitlib.devices import layout_for
from vitlib.optim import learning_rate, make_optimizers
from vitlib.train import TrainConfig, batches, evaluate, fit, label_loss, predict, train_one_epoch
from vitlib.vit import ViT

TESTS = Path(__file__).parent

# everything random or stateful at once: both optimisers, dropping of four kinds, all augmentation, averaged weights
BUSY_MODEL = replace(TINY, dropout=0.1, drop_path=0.2, patch_drop=0.25)
BUSY = TrainConfig(epochs=6, batch_size=8, optimizer="muon", augment=0.5, erase=0.5, mixup=0.5, cutmix=1.0, ema=0.9,
                   calm=0.2)


def run(config, model_config=TINY, data=None, **options):
    torch.manual_seed(config.seed)
    model = ViT(model_config)
    history = fit(model, data or pictures(), config, **options)
    return model, [{name: value for name, value in row.items() if name != "seconds"} for row in history]


def same(a, b):
    (model, history), (model2, history2) = a, b
    return history == history2 and all(torch.equal(x, y) for x, y in zip(model.parameters(), model2.parameters()))


def test_a_fresh_model_is_undecided_its_loss_is_ln_k():
    for classes in (3, 10):
        model = ViT(replace(TINY, classes=classes))
        assert evaluate(model, pictures(classes=classes))["loss"] == pytest.approx(math.log(classes), abs=1e-6)


def test_one_batch_can_be_learned_by_heart():
    data = pictures(8)
    data = replace(data, images=data.images[torch.randperm(8)])  # labels that nothing explains
    _, history = run(replace(PLAIN, epochs=300), replace(TINY, dim=32), data)
    assert history[0]["train_loss"] == pytest.approx(math.log(3), abs=1e-4)
    assert history[-1]["train_loss"] < 0.01
    assert history[-1]["train_accuracy"] == 1


def test_the_same_seed_repeats_every_bit_and_another_does_not():
    first = run(BUSY, BUSY_MODEL, validation=pictures(9))
    torch.rand(7)
    assert same(first, run(BUSY, BUSY_MODEL, validation=pictures(9)))
    assert not same(first, run(replace(BUSY, seed=1), BUSY_MODEL, validation=pictures(9)))


MUON, MIXED = {"optimizer": "muon"}, {"augment": 1.0, "mixup": 1.0}
CHANGES = {  # field: (another value, what else must be on for it to matter)
    "epochs": (3, {}), "batch_size": (12, {}), "optimizer": ("muon", {}), "lr": (1e-3, {}), "weight_decay": (0.5, {}),
    "layer_decay": (0.5, {}),
    "betas": ((0.5, 0.9), {}), "muon_lr": (0.2, MUON), "muon_decay": (0.9, MUON), "warmup": (0.5, {}),
    "schedule": ("cosine", {}), "drops": ((0.5,), {"schedule": "steps"}),
    "drop_factor": (0.5, {"schedule": "steps", "drops": (0.5,)}), "clip": (0.01, {}), "label_smoothing": (0.2, {}),
    "crop": (2, {}), "flip": (True, {}),
    "augment": (0.5, {}), "erase": (1.0, {}), "mixup": (1.0, {}), "cutmix": (1.0, {}),
    "calm": (0.5, MIXED), "ema": (0.5, {}), "precision": ("bf16", {}), "seed": (5, {})}
WITHOUT_EFFECT = {"compile": "faster steps, the same results up to rounding"}


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(TrainConfig)])
def test_every_field_of_the_configuration_changes_the_result(field):
    if field in WITHOUT_EFFECT:
        assert field not in CHANGES
        return
    value, others = CHANGES[field]
    base = replace(PLAIN, **others)
    (a, _), (b, _) = run(base), run(replace(base, **{field: value}))
    assert max((x - y).abs().max() for x, y in zip(a.parameters(), b.parameters())) > 1e-6


@pytest.mark.parametrize(("field", "value"), [
    ("epochs", 0), ("batch_size", -1), ("lr", 0), ("warmup", 1.5), ("label_smoothing", -0.1), ("augment", 2),
    ("erase", -1), ("calm", 1.1), ("ema", -0.5), ("precision", "fp16"), ("optimizer", "sgd"), ("schedule", "step")])
def test_a_setting_that_no_training_can_have_is_named(field, value):
    with pytest.raises(ValueError, match=f"{field}.*{value}"):
        run(replace(PLAIN, **{field: value}))


def test_an_epoch_shows_each_image_once_with_its_own_target():
    data = pictures(24)
    shown = list(batches(data, PLAIN, 0, torch.Generator()))
    assert [len(x) for x, _ in shown] == [8, 8, 8]
    images, targets = (torch.cat(parts) for parts in zip(*shown))
    expected = {image.numpy().tobytes(): k for image, k in zip(normalise(data.images), data.labels.tolist())}
    found = {image.numpy().tobytes(): k for image, k in zip(images, targets.argmax(1).tolist())}
    assert found == expected
    assert torch.equal(targets, F.one_hot(targets.argmax(1), 3).float())


def test_epochs_differ_in_order_and_incomplete_batches_wait():
    data, g = pictures(23), torch.Generator()
    first, second = (torch.cat([x for x, _ in batches(data, PLAIN, epoch, g)]) for epoch in (0, 1))
    assert len(first) == len(second) == 16
    assert not torch.equal(first, second)
    assert [len(x) for x, _ in batches(pictures(5), PLAIN, 0, g)] == [5]  # fewer images than a batch: all of them


def test_calm_epochs_see_neither_mixing_nor_augmentation_nor_dropped_patches():
    config = replace(BUSY, epochs=10, calm=0.3, flip=False, crop=0)
    assert [config.is_calm(epoch) for epoch in range(10)] == [False] * 7 + [True] * 3
    data, g = pictures(), torch.Generator()
    known = {image.numpy().tobytes() for image in normalise(data.images)}
    for epoch, expected in ((6, False), (7, True)):
        images = torch.cat([x for x, _ in batches(data, config, epoch, g)])
        assert all(image.numpy().tobytes() in known for image in images) == expected
    model = ViT(BUSY_MODEL)
    for epoch, rate in ((6, 0.25), (7, 0.0), (0, 0.25)):  # the model comes out of its calm again
        train_one_epoch(model, data, optimizers(model, config), config, epoch, g)
        assert model.patch_drop.rate == rate


def optimizers(model, config):
    return make_optimizers(model, config.optimizer, config.lr, config.weight_decay, config.betas, config.muon_lr,
                           config.muon_decay)


def test_every_step_gets_its_rate_from_the_schedule(monkeypatch):
    rates, set_rate = [], module.set_rate
    monkeypatch.setattr(module, "set_rate", lambda o, factor: rates.append(factor) or set_rate(o, factor))
    run(replace(PLAIN, epochs=4, warmup=0.25, schedule="cosine"))
    assert rates == [learning_rate(step, 12, 1.0, 3, "cosine") for step in range(12)]


def test_the_loss_of_the_labels_is_the_cross_entropy_to_softened_targets():
    model, images = randomise(ViT(TINY), 0.3).double().eval(), torch.randn(5, 3, 8, 8, dtype=torch.float64)
    targets = torch.rand(5, 3, dtype=torch.float64).softmax(dim=1)  # mixed, as mixup makes them
    logits, loss = label_loss(model, images, targets, replace(PLAIN, label_smoothing=0.3))
    assert torch.equal(logits, model(images))
    softened = 0.7 * targets + 0.3 / 3
    expected = -(softened * logits.log_softmax(dim=1)).sum(dim=1).mean()
    torch.testing.assert_close(loss, expected, atol=1e-12, rtol=0)


def test_training_without_an_objective_is_what_it_was_before_there_were_any():
    """The loop of old, written out: forward pass and cross-entropy in it."""
    config = replace(BUSY, ema=0.0, calm=0.0, label_smoothing=0.1, epochs=2)
    torch.manual_seed(0)
    model = ViT(BUSY_MODEL)
    opts, g = optimizers(model, config), torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    model.train()
    for epoch in range(2):
        for i, (images, targets) in enumerate(batches(pictures(), config, epoch, g, layout_for(model))):
            module.set_rate(opts, learning_rate(3 * epoch + i, 6, 1.0, round(config.warmup * 6), "linear"))
            loss = F.cross_entropy(model(images), targets, label_smoothing=0.1)
            model.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), config.clip)
            for optimizer in opts:
                optimizer.step()
    fitted, _ = run(config, BUSY_MODEL)
    for (name, value), other in zip(fitted.named_parameters(), model.parameters(), strict=True):
        assert torch.equal(value, other), name


def test_an_objective_gets_each_batch_and_its_loss_is_the_one_that_is_followed():
    seen = []

    def objective(model, images, targets, config):
        logits, loss = label_loss(model, images, targets, config)
        seen.append((images.shape, targets.shape, config))
        return logits, 3 * loss

    plain, tripled = run(PLAIN), run(PLAIN, objective=objective)
    assert seen == [((8, 3, 8, 8), (8, 3), PLAIN)] * 6
    assert tripled[1][0]["train_loss"] == pytest.approx(3 * plain[1][0]["train_loss"], rel=0.05)
    assert same(plain, run(PLAIN, objective=label_loss)) and not same(plain, tripled)
    stopped = run(replace(PLAIN, clip=0.0), objective=lambda *batch: (batch[0](batch[1]), 0 * batch[0](batch[1]).sum()))
    assert stopped[1][-1]["train_loss"] == 0 and stopped[1][-1]["train_accuracy"] == pytest.approx(1 / 3)


@pytest.mark.parametrize("stem", ["patch", "conv"])  # with batch norm, its running statistics are averaged too
def test_averaged_weights_are_an_exponential_mean_over_the_steps(stem):
    class Recorder(list):
        def update_parameters(self, model):
            self.append({name: value.clone() for name, value in model.state_dict().items()})

    torch.manual_seed(0)
    model, steps, g = ViT(replace(TINY, stem=stem)), Recorder(), torch.Generator().manual_seed(0)
    groups = optimizers(model, PLAIN)
    for epoch in range(2):
        train_one_epoch(model, pictures(), groups, PLAIN, epoch, g, steps)
    assert len(steps) == 6
    mean = steps[0]
    for weights in steps[1:]:
        mean = {name: 0.8 * mean[name] + 0.2 * value for name, value in weights.items()}
    averaged, _ = run(replace(PLAIN, ema=0.8), replace(TINY, stem=stem))
    assert stem == "patch" or any("running_mean" in name for name in mean)
    for name, value in averaged.state_dict().items():
        if value.is_floating_point():  # not batch norm's counter
            torch.testing.assert_close(value, mean[name], msg=name)


def test_compiling_warms_up_without_a_trace(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda model: model)
    config, hybrid = replace(BUSY, epochs=2), replace(BUSY_MODEL, stem="conv")  # its batch norm counts what it sees
    plain, compiled = run(config, hybrid), run(replace(config, compile=True), hybrid)
    assert same(plain, compiled)
    for (name, value), other in zip(plain[0].state_dict().items(), compiled[0].state_dict().values(), strict=True):
        assert torch.equal(value, other), name


@pytest.mark.parametrize("given", ["config", "wrapper", "both"])
def test_a_compiled_run_is_the_plain_one_in_files_and_scores(tmp_path, monkeypatch, given):
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    plain, path = replace(BUSY, epochs=3, calm=0.4), tmp_path / "c.pt"
    config = replace(plain, compile=given != "wrapper")
    expected = run(plain, BUSY_MODEL, validation=pictures(9))
    torch.manual_seed(0)
    model = ViT(BUSY_MODEL)
    passed = model if given == "config" else torch.compile(model)
    rates = []
    model.blocks[0].register_forward_pre_hook(lambda block, x: rates.append(x[0].shape[1]) if block.training else None)
    history = fit(passed, pictures(), config, pictures(9), checkpoint=path)
    assert {5, 4} == set(rates)  # the class token and all four patches in calm epochs, three of them before
    assert not passed.training and not model.training
    for row, row2 in zip(history, expected[1], strict=True):
        assert {name: row[name] for name in row2} == pytest.approx(row2, abs=1e-5)
    for (name, value), other in zip(model.state_dict().items(), expected[0].state_dict().values(), strict=True):
        torch.testing.assert_close(value, other, atol=1e-5, rtol=0, msg=name)
    state = load_checkpoint(path)
    assert state["model"].keys() == model.state_dict().keys()
    assert not any("_orig_mod" in name for name in state["average"])
    again = ViT(BUSY_MODEL)
    fit(again, pictures(), config, checkpoint=path, resume=True)  # a plain model goes on from it
    assert torch.equal(again.head.weight, model.head.weight)


@pytest.mark.parametrize("variables", [{"CXX": "/nonexistent"}, {"PATH": "/nonexistent"}])
def test_compiling_without_a_compiler_is_named(tmp_path, variables):
    code = """
        from common import PLAIN, TINY, pictures
        from dataclasses import asdict, replace
        from vitlib.train import fit
        from vitlib.vit import ViT
        fit(ViT(TINY), pictures(), replace(PLAIN, compile=True))"""
    places = {"PYTHONPATH": os.pathsep.join(map(str, (TESTS.parent, TESTS))), "OMP_NUM_THREADS": "1",
              "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    environment = {name: value for name, value in os.environ.items() if name != "CXX"} | places | variables
    found = subprocess.run([sys.executable, "-c", dedent(code)], env=environment, capture_output=True, text=True)
    assert found.returncode, found.stderr
    last = found.stderr.strip().splitlines()[-1]
    assert last.startswith("ValueError: compile=True does not work on this machine ("), found.stderr
    assert "install a C++ compiler (g++, clang" in last and "compile=False" in last


def test_an_error_that_is_not_the_compilers_keeps_its_own_words(monkeypatch):
    def broken(model):
        def call(images):
            raise RuntimeError("out of memory")
        model.forward = call
        return model
    monkeypatch.setattr(torch, "compile", broken)
    with pytest.raises(RuntimeError, match="^out of memory$"):
        run(replace(PLAIN, compile=True))


@pytest.mark.parametrize("validation", [None, pictures(9)])
def test_fit_ends_in_evaluation_mode_resumed_past_its_end_too(tmp_path, validation):
    path, model, again = tmp_path / "c.pt", ViT(BUSY_MODEL), ViT(BUSY_MODEL)
    fit(model, pictures(), BUSY, validation, checkpoint=path)
    assert not any(part.training for part in model.modules())
    fit(again.train(), pictures(), BUSY, validation, checkpoint=path, resume=True)
    assert not any(part.training for part in again.modules())


def test_predict_and_evaluate_look_at_unaltered_images_in_evaluation_mode():
    model, data = randomise(ViT(replace(TINY, dropout=0.5)), 0.3).train(), pictures(10)
    logits = predict(model, data.images)
    assert model.training
    assert not logits.requires_grad
    torch.testing.assert_close(predict(model, data.images, batch_size=3), logits, atol=1e-6, rtol=1e-6)
    model.eval()
    torch.testing.assert_close(model(normalise(data.images)), logits)
    predict(model, data.images)
    assert not model.training
    right = [int(row.argmax() == label) for row, label in zip(logits, data.labels)]
    scores = evaluate(model, data)
    assert scores["accuracy"] == pytest.approx(sum(right) / 10)
    assert scores["loss"] == pytest.approx(-logits.log_softmax(1)[torch.arange(10), data.labels].mean().item())


def test_validation_scores_are_those_of_the_weights_that_come_out():
    model, history = run(replace(PLAIN, ema=0.9), validation=pictures(9))
    expected = evaluate(model, pictures(9))
    assert {name: history[-1][f"validation_{name}"] for name in expected} == expected
    assert [row["epoch"] for row in history] == [1, 2]


class Stop(Exception):
    """Something that ends a run from outside."""


def stop_after(epochs, monkeypatch):
    def save(path, state):
        save_checkpoint(path, state)
        if len(state["history"]) == epochs:
            raise Stop
    monkeypatch.setattr(module, "save_checkpoint", save)


@pytest.mark.parametrize(("changes", "stem"), [
    ({}, "patch"), ({"ema": 0.0, "optimizer": "adamw"}, "patch"), ({"optimizer": "muon+stem"}, "residual")])
def test_stopping_and_resuming_changes_no_bit(tmp_path, monkeypatch, changes, stem):
    config, model, path = replace(BUSY, **changes), replace(BUSY_MODEL, stem=stem), tmp_path / "c.pt"
    whole = run(config, model)
    stop_after(3, monkeypatch)
    with pytest.raises(Stop):
        run(config, model, checkpoint=path)
    monkeypatch.undo()
    torch.rand(9)
    assert same(whole, run(config, model, checkpoint=path, resume=True))
    assert same(whole, run(config, model, checkpoint=path, resume=True))  # a finished run, resumed


@pytest.mark.parametrize("part", ["data", "torch", "optimizers", "average"])
def test_leaving_any_part_of_the_state_out_would_be_noticed(tmp_path, monkeypatch, part):
    path = tmp_path / "c.pt"
    whole = run(BUSY, BUSY_MODEL)
    stop_after(3, monkeypatch)
    with pytest.raises(Stop):
        run(BUSY, BUSY_MODEL, checkpoint=path)
    monkeypatch.undo()
    state = load_checkpoint(path)
    if part in ("data", "torch"):
        state["random"][part] = torch.Generator().manual_seed(99).get_state()
    elif part == "optimizers":
        state[part] = [o.state_dict() for o in optimizers(ViT(BUSY_MODEL), BUSY)]
    else:
        state[part] = {name: value * 0 for name, value in state[part].items()}
    save_checkpoint(path, state)
    assert not same(whole, run(BUSY, BUSY_MODEL, checkpoint=path, resume=True))


def test_a_checkpoint_of_another_run_or_model_is_refused_by_name(tmp_path):
    path = tmp_path / "c.pt"
    run(PLAIN, checkpoint=path)
    with pytest.raises(ValueError, match=r"was made with lr=0.002, not 0.1, seed=0, not 4; resume with the same"):
        run(replace(PLAIN, lr=0.1, seed=4), checkpoint=path, resume=True)
    with pytest.raises(ValueError, match="was made with dim=16, not 8"):
        run(PLAIN, replace(TINY, dim=8), checkpoint=path, resume=True)
    with pytest.raises(ValueError, match="was made with heads=2, not 4"):  # the same shapes of weights
        run(PLAIN, replace(TINY, heads=4), checkpoint=path, resume=True)
    data = pictures()
    with pytest.raises(ValueError, match="was made with training images=24, not 5, fingerprint of the .*resume with"):
        run(PLAIN, data=data.subset(torch.arange(5)), checkpoint=path, resume=True)
    with pytest.raises(ValueError, match="was made with data=.*, not others; resume with the same"):
        run(PLAIN, data=replace(data, name="others"), checkpoint=path, resume=True)
    other = nn.Sequential(nn.Flatten())
    other.head = nn.Linear(192, 3)
    with pytest.raises(ValueError, match="the checkpoint holds another model: (Missing|Unexpected) key"):
        fit(other, pictures(), PLAIN, checkpoint=path, resume=True)


def test_other_images_of_the_same_name_and_number_are_refused(tmp_path):
    path, data = tmp_path / "c.pt", pictures()
    run(PLAIN, data=data, checkpoint=path)
    for other in (replace(data, images=data.images.flip(0)), replace(data, labels=data.labels.flip(0))):
        with pytest.raises(ValueError, match="made with fingerprint of the images=[0-9a-f]{16}, not [0-9a-f]{16}; res"):
            run(PLAIN, data=other, checkpoint=path, resume=True)


def test_a_checkpoint_of_an_older_version_still_resumes(tmp_path, monkeypatch):
    path = tmp_path / "c.pt"
    whole = run(BUSY, BUSY_MODEL)
    stop_after(3, monkeypatch)
    with pytest.raises(Stop):
        run(BUSY, BUSY_MODEL, checkpoint=path)
    monkeypatch.undo()
    state = load_checkpoint(path)
    for name in ("fingerprint of the images", "frozen parameters"):
        del state["config"][name]
    state["random"]["cuda"] = state["random"].pop("device")
    for part, mark in (("model", "_orig_mod."), ("average", "module._orig_mod.")):  # of a model given compiled
        state[part] = {mark + name.removeprefix("module.") if "n_averaged" not in name else name: value
                       for name, value in state[part].items()}
    save_checkpoint(path, state)
    assert same(whole, run(BUSY, BUSY_MODEL, checkpoint=path, resume=True))


def test_more_epochs_are_refused_with_a_way_to_train_on(tmp_path):
    path = tmp_path / "c.pt"
    run(PLAIN, checkpoint=path)
    with pytest.raises(ValueError, match="made with epochs=2, not 3; .*laid out over all epochs.*finish this one with "
                                         "epochs=2; to train its result further, load the weights .load_weights. and "):
        run(replace(PLAIN, epochs=3), checkpoint=path, resume=True)


@pytest.mark.parametrize(("there", "config"), [("cuda", BUSY), ("mps", replace(BUSY, optimizer="adamw", ema=0.0))])
def test_a_checkpoint_of_another_device_goes_on_and_says_what_is_lost(tmp_path, monkeypatch, capsys, there, config):
    path = tmp_path / "c.pt"
    stop_after(3, monkeypatch)
    with pytest.raises(Stop):
        run(config, BUSY_MODEL, checkpoint=path)
    monkeypatch.undo()
    state = load_checkpoint(path)
    state["config"]["device"] = there
    state["random"] = {"data": torch.zeros(16, dtype=torch.uint8), "torch": state["random"]["torch"],
                       "device": torch.zeros(16, dtype=torch.uint8)}  # as a GPU's generators have it
    save_checkpoint(path, state)
    kept, results = path.read_bytes(), []
    for _ in range(2):
        path.write_bytes(kept)
        torch.rand(5)
        capsys.readouterr()
        results.append(run(config, BUSY_MODEL, checkpoint=path, resume=True))
        said = capsys.readouterr().out.splitlines()[0]
        assert said.startswith(f"the checkpoint was made on {there}, and this is cpu: weights, optimisers and history")
        assert "no longer bit for bit" in said
    assert same(*results)  # the new draws follow from the seed
    assert [row["epoch"] for row in results[0][1]] == [1, 2, 3, 4, 5, 6]
    assert results[0][1][:3] == [{n: v for n, v in row.items() if n != "seconds"} for row in state["history"]]
    capsys.readouterr()
    assert same(results[0], run(config, BUSY_MODEL, checkpoint=path, resume=True))  # now a checkpoint of this device
    assert "made on" not in capsys.readouterr().out


def test_on_another_device_no_generator_repeats_the_first_epochs():
    config, model, g = asdict(PLAIN), ViT(TINY), torch.Generator().manual_seed(0)
    state = snapshot(config | {"device": "cuda"}, model, [], None, g, [{"epoch": 1}, {"epoch": 2}])
    torch.manual_seed(0)
    restore(state, config | {"device": "cpu"}, model, [], None, g)
    assert (g.initial_seed(), torch.initial_seed()) == (2000, 2000)


def test_resuming_with_other_parameters_frozen_is_named(tmp_path):
    path = tmp_path / "c.pt"
    run(PLAIN, checkpoint=path)
    model = ViT(TINY)
    model.blocks.requires_grad_(False)
    with pytest.raises(ValueError, match="made with frozen parameters=0, not [0-9]+; resume with"):
        fit(model, pictures(), PLAIN, checkpoint=path, resume=True)
    state = load_checkpoint(path)
    del state["config"]["frozen parameters"]  # an older version did not say
    save_checkpoint(path, state)
    with pytest.raises(ValueError, match="made while other parameters were trained; freeze the same ones"):
        fit(model, pictures(), PLAIN, checkpoint=path, resume=True)


def test_a_foreign_models_own_config_is_no_part_of_the_checkpoint(tmp_path):
    """It may hold anything, and what is no number or text could not be read back."""
    path = tmp_path / "c.pt"

    def build():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(192, 3))
        model.config = SimpleNamespace(epochs=99, activation=nn.GELU())
        return model

    history = fit(build(), pictures(), PLAIN, checkpoint=path)
    assert fit(build(), pictures(), PLAIN, checkpoint=path, resume=True) == history


def test_resuming_without_a_checkpoint_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=f"no checkpoint {tmp_path}/none.pt; start without resume"):
        run(PLAIN, checkpoint=tmp_path / "none.pt", resume=True)


def test_data_with_other_classes_than_the_model_are_named():
    with pytest.raises(ValueError, match="tells 3 classes apart, the data has 4; build the model with classes=4"):
        run(PLAIN, data=pictures(classes=4))


@pytest.mark.parametrize(("where", "step"), [("loss", 3), ("last update", 5)])  # an epoch has three steps
def test_a_run_that_blows_up_stops_and_keeps_the_last_good_checkpoint(tmp_path, where, step):
    class Bomb(ViT):
        seen = 0

        def forward(self, images):
            self.seen += self.training  # fit shows it one image before the first step
            y = super().forward(images)
            if self.seen >= 4 and where == "loss":
                y = y * float("nan")
            if self.seen == 6 and where == "last update":
                y.register_hook(lambda gradient: gradient * float("nan"))
            return y

    path = tmp_path / "c.pt"
    with pytest.raises(FloatingPointError, match=f"became nan near step {step}; the last checkpoint is kept. Lower"):
        fit(Bomb(TINY), pictures(), replace(PLAIN, epochs=3), checkpoint=path)
    state = load_checkpoint(path)
    assert len(state["history"]) == 1
    assert all(value.isfinite().all() for value in state["model"].values())


def test_a_disk_that_fills_up_leaves_the_last_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "c.pt"
    stop_after(1, monkeypatch)
    with pytest.raises(Stop):
        run(PLAIN, checkpoint=path)
    monkeypatch.undo()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=f"cannot write {path} .No space left on device.*free some space"):
        run(PLAIN, checkpoint=path, resume=True)
    monkeypatch.undo()
    assert os.listdir(tmp_path) == ["c.pt"]
    assert len(load_checkpoint(path)["history"]) == 1
    assert same(run(PLAIN), run(PLAIN, checkpoint=path, resume=True))


def gradients(model, images, labels, parts=1):
    for x, y in zip(images.chunk(parts), labels.chunk(parts)):
        (F.cross_entropy(model(x), y) / parts).backward()
    return {name.removeprefix("module."): p.grad for name, p in model.named_parameters()}


def double_model_and_batch():
    torch.manual_seed(3)
    model = randomise(ViT(TINY)).double()
    return model, torch.randn(8, 3, 8, 8, dtype=torch.float64), torch.arange(8) % 3


def test_micro_batches_add_up_to_one_batch():
    whole, parts = gradients(*double_model_and_batch()), gradients(*double_model_and_batch(), parts=4)
    for name, gradient in whole.items():
        torch.testing.assert_close(parts[name], gradient, atol=1e-12, rtol=1e-10, msg=name)


def worker(rank, folder):
    """One of two processes, each with half of the batch."""
    if sys.platform == "linux":
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=2)
    model, images, labels = double_model_and_batch()
    if rank == 1:
        randomise(model)  # DDP hands out the weights of process 0
    found = gradients(DistributedDataParallel(model), images.chunk(2)[rank], labels.chunk(2)[rank])
    torch.save(found, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


def test_two_processes_find_the_gradient_of_one(tmp_path):
    torch.multiprocessing.spawn(worker, (str(tmp_path),), nprocs=2)
    whole = gradients(*double_model_and_batch())
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert found.keys() == whole.keys()
        for name, gradient in whole.items():
            torch.testing.assert_close(found[name], gradient, atol=1e-12, rtol=1e-10, msg=name)


def test_bf16_stays_within_five_percent_of_the_logits_range():
    model, x = randomise(ViT(replace(TINY, dim=64, heads=4, depth=4, classes=10)), 0.1).eval(), torch.randn(32, 3, 8, 8)
    with torch.no_grad():
        exact = model(x)
        with module.autocast(torch.device("cpu"), "bf16"):
            rough = model(x)
        for precision in ("auto", "fp32"):
            with module.autocast(torch.device("cpu"), precision):
                assert torch.equal(model(x), exact)
    assert rough.dtype == torch.bfloat16
    assert 0 < (rough - exact).abs().max() < 0.05 * (exact.max() - exact.min())
