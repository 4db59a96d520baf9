"""What cannot be trained is refused by name, before the first step; what can be is let through, whatever it is."""

import math
from dataclasses import replace

import pytest
import timm
import torch
from common import PLAIN, TINY, pictures, randomise
from torch import nn
from torchvision.models import VisionTransformer

from vitlib.guards import try_out
from vitlib.modes import training_mode
from vitlib.resnet import resnet18
from vitlib.train import TrainConfig, evaluate, fit, predict
from vitlib.vit import ViT

WITH_NORM = replace(TINY, stem="conv")


class Adapter(nn.Module):
    """Holds a frozen model, and learns a small addition: the shape of many libraries for fine-tuning."""

    def __init__(self, model):
        super().__init__()
        self.base_model = model.requires_grad_(False)
        self.addition = nn.Linear(3, 3)

    def forward(self, images):
        y = self.base_model(images)
        return y + self.addition(y)


FOREIGN = {
    "Sequential": lambda: nn.Sequential(nn.Flatten(), nn.Linear(192, 3)),
    "head of several layers": lambda: resnet_with_deep_head(),
    "timm": lambda: timm.models.VisionTransformer(8, 4, 3, 3, embed_dim=16, depth=1, num_heads=2),
    "torchvision": lambda: VisionTransformer(8, 4, 1, 2, 16, 32, num_classes=3),
    "adapter": lambda: Adapter(randomise(ViT(replace(TINY, patch_drop=0.5)))),
    "compiled": lambda: torch.compile(ViT(TINY), backend="eager")}


def resnet_with_deep_head():
    model = resnet18(width=4, classes=3)
    model.head = nn.Sequential(nn.Linear(32, 8), nn.ReLU(), nn.Linear(8, 3))
    return model


@pytest.mark.parametrize("name", FOREIGN)
def test_any_module_that_gives_logits_trains_and_resumes(name, tmp_path):
    path, config = tmp_path / "c.pt", replace(PLAIN, ema=0.9, calm=0.5)
    torch.manual_seed(0)
    model = FOREIGN[name]()
    history = fit(model, pictures(), config, pictures(9), checkpoint=path)
    assert len(history) == 2
    assert not model.training
    torch.manual_seed(1)
    again = FOREIGN[name]()
    assert fit(again, pictures(), config, pictures(9), checkpoint=path, resume=True) == history
    assert torch.equal(predict(again, pictures().images), predict(model, pictures().images))
    with pytest.raises(ValueError, match="tells 3 classes apart, the data has 4; build the model with classes=4"):
        fit(FOREIGN[name](), pictures(classes=4), config)


def test_calm_epochs_reach_a_vit_inside_another_module():
    rates, model = [], Adapter(ViT(replace(TINY, patch_drop=0.5)))
    model.base_model.register_forward_pre_hook(
        lambda vit, _: rates.append(vit.patch_drop.rate) if vit.training else None)
    fit(model, pictures(8), replace(PLAIN, epochs=2, calm=0.5))
    assert rates == [0.5, 0.0]


class Drawing(nn.Module):
    """Counts its calls in a batch norm while it trains, and draws numbers even in evaluation."""

    def __init__(self):
        super().__init__()
        self.norm, self.counting, self.head = nn.BatchNorm2d(3), nn.BatchNorm2d(3), nn.Linear(192, 3)
        self.norm.eval()  # a part in another mode than the whole

    def forward(self, images):
        return self.head(self.counting(self.norm(images + torch.rand_like(images))).flatten(1))


def test_trying_a_model_out_leaves_no_trace():
    model = Drawing()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    states = torch.get_rng_state()
    logits, fewest = try_out(model, pictures(1).images)
    assert (tuple(logits.shape), fewest, logits.requires_grad) == ((1, 3), 64, False)
    assert torch.equal(torch.get_rng_state(), states)
    assert model.training and not model.norm.training
    assert not model.norm._forward_pre_hooks
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


class Tuple(nn.Linear):
    """Gives logits and something else, as some libraries' models do."""

    def forward(self, images):
        return super().forward(images.flatten(1)), images


@pytest.mark.parametrize(("model", "words"), [
    (nn.Sequential(nn.Flatten(), nn.Linear(7, 3)), r"cannot read images of shape .1, 3, 8, 8. .*resize them"),
    (timm.models.VisionTransformer(16, 4, 3, 3, embed_dim=16, depth=1, num_heads=2),
     r"cannot read images of shape .1, 3, 8, 8. .*[hH]eight .*resize them"),
    (ViT(replace(TINY, image_size=16)), "the model reads images of shape .B, 3, 16, 16.*resize them"),
    (nn.Conv2d(3, 3, 1), r"for one image .1, K.; this one gives shape .1, 3, 8, 8."),
    (Tuple(192, 3), "for one image .1, K.; this one gives a tuple")])
def test_a_model_that_cannot_read_the_images_or_gives_no_logits_is_named(model, words):
    with pytest.raises(ValueError, match=words):
        fit(model, pictures(), PLAIN)


def test_a_model_of_which_nothing_is_trained_is_named():
    with pytest.raises(ValueError, match="no parameter of the model can change: all have requires_grad=False"):
        fit(ViT(TINY).requires_grad_(False), pictures(), PLAIN)
    with pytest.raises(ValueError, match="or there are none; free some"):
        fit(nn.Flatten(), pictures(), PLAIN)


@pytest.mark.parametrize("part", ["training", "validation"])
def test_images_that_cannot_be_trained_on_are_named(part):
    def attempt(data):
        sets = {"training": pictures(), "validation": pictures(9)} | {part: data}
        fit(ViT(TINY), sets["training"], PLAIN, sets["validation"])

    data = pictures()
    with pytest.raises(ValueError, match=f"there are no {part} images: the set is empty"):
        attempt(data.subset(torch.arange(0)))
    with pytest.raises(ValueError, match="training and validation images have other classes: .*'c'.*'d'|'d'.*'c'"):
        attempt(pictures(classes=4))


def test_a_batch_too_small_for_batch_norm_is_named_and_others_train():
    narrow = replace(WITH_NORM, patch_size=8)  # its last batch norm sees one place of each image
    for data, config in ((pictures(1), PLAIN), (pictures(), replace(PLAIN, batch_size=1))):
        with pytest.raises(ValueError, match="batch norm .* one number for each channel: a batch_size of 1 is too sm"):
            fit(ViT(narrow), data, config)
        fit(ViT(WITH_NORM), data, config)  # four places
        frozen = ViT(narrow)
        frozen.patch_embed.requires_grad_(False)  # it stays in evaluation mode
        fit(frozen, data, config)
    fit(ViT(narrow), pictures(4), replace(PLAIN, batch_size=2))


def test_a_share_too_small_for_batch_norm_is_named(monkeypatch):
    monkeypatch.setattr("vitlib.guards.processes", lambda: 8)
    with pytest.raises(ValueError, match="a batch_size of 1 is too small"):
        fit(ViT(replace(WITH_NORM, patch_size=8)), pictures(), PLAIN)


def test_a_frozen_batch_norm_keeps_its_statistics_and_one_that_learns_does_not():
    for stem in ("conv", "residual"):
        model = randomise(ViT(replace(TINY, stem=stem)))
        model.patch_embed.requires_grad_(False)
        before = {name: value.clone() for name, value in model.patch_embed.state_dict().items()}
        assert any("running_mean" in name for name in before)
        fit(model, pictures(), replace(PLAIN, ema=0.5))
        assert all(torch.equal(value, before[name]) for name, value in model.patch_embed.state_dict().items())
        learning = ViT(replace(TINY, stem=stem))
        start = {name: value.clone() for name, value in learning.state_dict().items() if "running_mean" in name}
        fit(learning, pictures(), PLAIN)
        assert all(not torch.equal(learning.state_dict()[name], value) for name, value in start.items())


def test_training_mode_freezes_a_batch_norm_only_when_all_of_it_is_frozen():
    half, whole, bare = nn.BatchNorm1d(3), nn.BatchNorm1d(3), nn.BatchNorm1d(3, affine=False)
    half.weight.requires_grad_(False)
    whole.requires_grad_(False)
    model = nn.Sequential(half, whole, bare, nn.Dropout(), nn.Linear(3, 3).requires_grad_(False))
    training_mode(model)
    assert [part.training for part in model] == [True, False, True, True, True]



def test_scores_are_taken_where_the_model_is():
    assert predict(ViT(TINY).to("meta"), pictures().images).device.type == "meta"
    data = pictures()
    assert math.isfinite(evaluate(ViT(TINY), data)["loss"])


@pytest.mark.parametrize(("field", "value", "words"), [
    ("epochs", 1.5, "must be a whole number .int., got 1.5"),
    ("epochs", "10", "must be a whole number .int., got '10'"),
    ("batch_size", True, "must be a whole number .int., got True"), ("crop", 1.5, "must be a whole number"),
    ("seed", None, "must be a whole number .int., got None"), ("seed", 2**70, "must lie between"),
    ("lr", float("nan"), "must be a finite number, got nan"), ("lr", float("inf"), "must be a finite number, got inf"),
    ("lr", "fast", "must be a finite number"), ("lr", -1, "must be positive, got -1"),
    ("mixup", float("inf"), "must be a finite number"), ("muon_lr", -0.1, "must not be negative"),
    ("flip", "no", "must be True or False, got 'no'"), ("compile", 1, "must be True or False, got 1"),
    ("optimizer", 3, "must be a string, got 3"), ("betas", 0.9, "must be a tuple of numbers, got 0.9"),
    ("betas", (0.9, "x"), "must be a tuple of numbers"), ("betas", (0.9,), "must be two numbers in 0…1, below 1"),
    ("betas", (2, 3), "must be two numbers"), ("betas", (0.9, 1.0), "must be two numbers"),
    ("drops", (0.9, 0.1), "must be shares .* each later than the one before, got"),
    ("drops", (0.5, 0.5), "must be shares"), ("drops", (0.5, 1.5), "must be shares"),
    ("drop_factor", 0, "must be positive"), ("ema", 1, "must lie in 0…1, below 1, got 1")])
def test_a_setting_of_the_wrong_kind_or_range_is_named(field, value, words):
    with pytest.raises(ValueError, match=f"^{field} {words}"):
        TrainConfig(**{field: value})


def test_settings_of_every_sound_kind_pass():
    TrainConfig(lr=1, warmup=0, betas=(0, 0.5), drops=(0.25, 1), ema=0, seed=-1, clip=0, muon_lr=0, drop_factor=2)
