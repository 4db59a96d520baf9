"""Published weights in our ViT: the same logits as timm, torchvision and transformers; every wrong file refused.

No network is asked: models are built from their names with random weights, and hubs are folders of their shape.
"""

import json
import re
import socket
import sys

import pytest
import timm
import torch
import torchvision
import transformers
from common import TINY, randomise
from safetensors.torch import save_file

from vitlib import hub
from vitlib.checkpoint import export_weights
from vitlib.data import normalise
from vitlib.families import config_of, timm_names
from vitlib.hub import facts_of, find_weights
from vitlib.published import adapt, build, fold_normalisation, load_published
from vitlib.vit import ViT

WHOLE = ("vit_tiny_patch16_224", "vit_base_patch16_224")  # at their published depth; the others with one block
TIMM = [f"vit_{size}_patch{patch}_{pixels}" for size, patch, pixels in (
    ("tiny", 16, 224), ("tiny", 16, 384), ("small", 8, 224), ("small", 16, 224), ("small", 16, 384), ("small", 32, 224),
    ("base", 8, 224), ("base", 16, 224), ("base", 16, 384), ("base", 32, 224), ("large", 16, 224), ("large", 32, 384))]
TIMM += ["deit_tiny_patch16_224", "deit_small_patch16_224", "deit_base_patch16_384",
         "deit_tiny_distilled_patch16_224", "deit_base_distilled_patch16_224",  # two heads
         "deit3_small_patch16_224", "deit3_large_patch16_384",  # LayerScale
         "vit_small_patch14_dinov2", "vit_base_patch14_dinov2", "vit_large_patch14_dinov2",
         "vit_small_patch14_reg4_dinov2", "vit_base_patch14_reg4_dinov2",  # registers, positions for patches alone
         "vit_base_patch16_224_miil",  # without qkv_bias
         "vit_base_patch16_gap_224", "vit_medium_patch16_gap_240",  # mean pooling after the last norm
         "vit_base_patch16_reg4_gap_256"]  # fc_norm and registers
OTHERS = {"vit_base_patch16_clip_224": ("norm_pre", "CLIP"), "vit_base_patch16_siglip_224": ("attn_pool", "SigLIP"),
          "vit_small_r26_s32_224": ("patch_embed.backbone", "ResNet"),
          "vit_giant_patch14_dinov2": ("", "MLPs are gated")}


def one_image(side):
    return torch.randn(1, 3, side, side, dtype=torch.float64)


def in_ours(state, heads, eps=1e-6, pool=None):
    """Their weights, in their precision, under our names and in our model."""
    state = timm_names(state)
    return build(state, config_of(state, heads, eps, pool))


def timm_model(name, **options):
    depth = {} if name in WHOLE else {"depth": 1}
    return randomise(timm.create_model(name, num_classes=7, **depth, **options).double().eval(), 0.05)


@pytest.mark.parametrize("name", TIMM)
def test_logits_equal_timms(name):
    theirs, facts = timm_model(name), facts_of(name)
    ours = in_ours(theirs.state_dict(), facts["heads"], facts["eps"], facts["pool"])
    x = one_image(ours.config.image_size)
    with torch.no_grad():
        assert theirs(x).std() > 0.01
        torch.testing.assert_close(ours(x), theirs(x), atol=1e-10, rtol=0)


def test_logits_equal_timms_where_the_class_token_is_kept_and_the_patches_are_averaged():
    theirs = timm_model("vit_tiny_patch16_224", global_pool="avg")
    ours = in_ours(theirs.state_dict(), 3)
    assert ours.config.keep_cls and ours.config.fc_norm and ours.config.pool == "mean"
    x = one_image(224)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x), atol=1e-10, rtol=0)


@pytest.mark.parametrize(("name", "layers"), [("vit_b_16", 12), ("vit_b_32", 1), ("vit_l_16", 1), ("vit_l_32", 1)])
def test_logits_equal_torchvisions(name, layers, monkeypatch):
    build_vit = torchvision.models.vision_transformer._vision_transformer  # the public function does not take a depth
    monkeypatch.setattr(torchvision.models.vision_transformer, "_vision_transformer",
                        lambda **options: build_vit(**options | {"num_layers": layers}))
    theirs = randomise(getattr(torchvision.models, name)(num_classes=7).double().eval(), 0.05)
    ours, x = in_ours(theirs.state_dict(), facts_of(name)["heads"]), one_image(224)
    with torch.no_grad():
        assert theirs(x).std() > 0.01
        torch.testing.assert_close(ours(x), theirs(x), atol=1e-10, rtol=0)


SIZES = {"tiny": (192, 3, 768, 12), "base": (768, 12, 3072, 12), "large": (1024, 16, 4096, 1)}


def hugging_face(kind, size, patch=16, side=224):
    """A model of transformers at a published size, and how to read from it what our model gives."""
    width, heads, hidden, layers = SIZES[size]
    shape = {"hidden_size": width, "num_attention_heads": heads, "num_hidden_layers": layers, "patch_size": patch,
             "image_size": side}
    config = getattr(transformers, re.match("ViT|DeiT|Dinov2(WithRegisters)?", kind)[0] + "Config")
    shape |= {"num_labels": 7} | ({} if "Dinov2" in kind else {"intermediate_size": hidden})
    return randomise(getattr(transformers, kind)(config(**shape)).double().eval(), 0.05)


def answer(model, x):
    out = model(x)
    return out.logits if "logits" in out else out.last_hidden_state[:, 0]


@pytest.mark.parametrize(("kind", "size", "patch", "side"), [
    ("ViTForImageClassification", "tiny", 16, 224), ("ViTForImageClassification", "base", 16, 224),
    ("ViTForImageClassification", "large", 32, 224), ("ViTModel", "base", 16, 224), ("Dinov2Model", "base", 14, 224),
    ("Dinov2Model", "tiny", 14, 518), ("Dinov2WithRegistersModel", "tiny", 14, 224),
    ("DeiTForImageClassificationWithTeacher", "tiny", 16, 224)])
def test_logits_equal_those_of_transformers(kind, size, patch, side):
    theirs, x = hugging_face(kind, size, patch, side), one_image(side)
    eps = theirs.config.layer_norm_eps
    ours = in_ours(theirs.state_dict(), theirs.config.num_attention_heads, eps)  # the names that it has in memory
    with torch.no_grad():
        expected = answer(theirs, x)
        assert expected.std() > 0.01
        torch.testing.assert_close(ours(x), expected, atol=1e-10, rtol=0)


# From here on with small models, in files.
SMALL = {"hidden_size": 32, "num_attention_heads": 2, "num_hidden_layers": 2, "patch_size": 8, "image_size": 32}
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def pixels(count=3, side=32):
    return torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8)


def their_way(images, mean=MEAN, std=STD):
    return (images.float() / 255 - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A folder of published weights, an empty cache of the hub, and no network."""
    monkeypatch.setenv("VITLIB_DATA", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))

    def no_network(*_, **__):
        raise OSError("network is unreachable")

    monkeypatch.setattr(socket, "create_connection", no_network)
    monkeypatch.setattr(socket.socket, "connect", no_network)
    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    (tmp_path / "published").mkdir()
    return tmp_path / "published"


def saved_by_transformers(folder, kind="ViTForImageClassification", **changes):
    """A folder as the hub has it, and the model in it."""
    config = getattr(transformers, re.match("ViT|DeiT|Dinov2(WithRegisters)?", kind)[0] + "Config")
    sizes = SMALL | ({} if "Dinov2" in kind else {"intermediate_size": 64}) | changes
    model = randomise(getattr(transformers, kind)(config(**sizes)).eval(), 0.1)
    model.save_pretrained(folder)
    numbers = json.dumps({"image_mean": MEAN, "image_std": STD})
    (folder / "preprocessor_config.json").write_text(numbers, encoding="utf-8")
    return model


@pytest.mark.parametrize("kind", ["ViTForImageClassification", "ViTModel", "Dinov2Model", "Dinov2WithRegistersModel",
                                  "DeiTForImageClassificationWithTeacher"])
def test_a_folder_of_the_hub_gives_their_answer_to_raw_pixels(kind, home):
    """Names in files, the heads of config.json, mean and deviation: all of it, with our own `normalise`."""
    theirs = saved_by_transformers(home / "someone" / "model", kind)
    images = pixels()
    with torch.no_grad():
        expected, found = answer(theirs, their_way(images)), load_published("someone/model")(normalise(images))
    assert expected.std() > 0.01
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-4)


def tiny_timm(name="vit_tiny_patch16_224", side=64, **options):
    return randomise(timm.create_model(name, depth=2, img_size=side, **options).eval(), 0.1)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_bare_file_named_after_its_model_is_enough(suffix, home):
    theirs = tiny_timm(num_classes=5)
    if suffix == ".pth":
        torch.save({"model": theirs.state_dict(), "epoch": 3}, home / "vit_tiny_patch16_224.pth")  # as DeiT's files are
    else:
        save_file(theirs.state_dict(), home / "vit_tiny_patch16_224.safetensors")
    images, ours = pixels(2, 64), load_published("vit_tiny_patch16_224")
    assert ours.config.classes == 5 and not ours.training
    with torch.no_grad():
        torch.testing.assert_close(ours(normalise(images)), theirs(their_way(images, [0.5] * 3, [0.5] * 3)),
                                   atol=2e-5, rtol=1e-4)


def test_a_folder_of_timms_on_the_hub(home):
    theirs = tiny_timm("vit_small_patch14_dinov2", 56, num_classes=0)
    folder = home / "timm" / "mine"
    folder.mkdir(parents=True)
    save_file(theirs.state_dict(), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({
        "architecture": "vit_small_patch14_dinov2", "num_classes": 0, "global_pool": "token",
        "pretrained_cfg": {"mean": MEAN, "std": STD}}), encoding="utf-8")
    images, ours = pixels(2, 56), load_published("timm/mine")
    with torch.no_grad():
        torch.testing.assert_close(ours(normalise(images)), theirs(their_way(images)), atol=2e-5, rtol=1e-4)


def test_the_hubs_own_cache_is_read_without_a_network(home):
    folder = home.parent / "hub" / "models--someone--model"
    theirs = saved_by_transformers(folder / "snapshots" / "abc")
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("abc", encoding="utf-8")
    images = pixels()
    with torch.no_grad():
        torch.testing.assert_close(load_published("someone/model")(normalise(images)), theirs(their_way(images)).logits,
                                   atol=2e-5, rtol=1e-4)


def test_folding_equals_normalising_their_way():
    first, images = torch.nn.Conv2d(3, 8, 4, stride=4), pixels(2, 8)
    expected = first(their_way(images))
    fold_normalisation(first, MEAN, STD)
    found = first(normalise(images))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-5)
    assert expected.std() > 0.1


def test_another_size_stretches_the_codes_as_timm_does():
    theirs = tiny_timm("vit_small_patch14_dinov2", 56, num_classes=0, dynamic_img_size=True)
    ours = adapt(in_ours(theirs.double().state_dict(), 6), image_size=84)
    x = one_image(84)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x), atol=1e-6, rtol=1e-6)  # codes are stretched in float32
    assert ours.config.image_size == 84


def test_new_classes_start_undecided_and_the_rest_is_kept():
    model = randomise(ViT(TINY)).eval()
    ours = adapt(model, classes=6)
    x = torch.randn(2, 3, 8, 8)
    assert torch.equal(ours(x), torch.zeros(2, 6))
    assert torch.equal(ours.features(x), model.features(x))
    ours.blocks[0].mlp.fc1.weight.data.zero_()
    assert model.blocks[0].mlp.fc1.weight.abs().sum() > 0  # a copy
    assert all(p.requires_grad for p in ours.parameters())


@pytest.mark.parametrize("pool", ["cls", "mean", "distilled"])
@pytest.mark.parametrize("positions", ["learned", "sincos", "none"])
def test_every_kind_of_model_can_be_adapted(pool, positions):
    from dataclasses import replace
    model = ViT(replace(TINY, pool=pool, positions=positions, registers=1))
    ours = adapt(model, classes=0, image_size=16)
    assert ours(torch.randn(2, 3, 16, 16)).shape == (2, 16)
    fresh = ViT(replace(TINY, pool=pool, positions=positions, registers=1, image_size=16))
    if positions == "sincos":
        assert torch.equal(ours.pos_embed, fresh.pos_embed)
    if positions == "learned":
        assert torch.equal(ours.pos_embed[:, :model.prefix], model.pos_embed[:, :model.prefix])


def test_a_mix_up_of_mean_and_deviation_would_show():
    """What folding is for: with the wrong numbers the logits differ by much more than rounding."""
    theirs = tiny_timm(num_classes=5)
    images = pixels(4, 64)
    with torch.no_grad():
        right, wrong = theirs(their_way(images)), theirs(their_way(images, [0.5] * 3, [0.5] * 3))
    assert (right - wrong).abs().max() > 1e-2


# Bad input: one clear line each.
def fails(source, match, error=ValueError, **options):
    with pytest.raises(error, match=match):
        load_published(source, **options)


@pytest.mark.parametrize("name", OTHERS)
def test_other_families_are_named(name, home):
    key, family = OTHERS[name]
    model = timm.create_model(name, depth=1) if "r26" not in name else timm.create_model(name)
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, home / "other.safetensors")
    fails("other", f"{key}.*{family}", like=name)


@pytest.mark.parametrize(("model", "words"), [
    ("resnet18", "no plain ViT.*ResNet"), ("swin_tiny_patch4_window7_224", "BEiT or Swin"),
    ("convnext_atto", "ConvNeXt"), ("beit_base_patch16_224", "BEiT")])
def test_no_vit_at_all_is_named(model, words, home):
    save_file({k: v.contiguous() for k, v in timm.create_model(model).state_dict().items()}, home / "other.safetensors")
    fails("other", words, like="vit_base_patch16_224")


def test_a_bare_file_asks_which_model_it_is_like(home):
    save_file(tiny_timm().state_dict(), home / "mine.safetensors")
    fails("mine", "heads.*mean and standard deviation.*like='vit_small_patch14_dinov2'")
    assert load_published("mine", like="vit_tiny_patch16_224").config.heads == 3


def test_heads_that_cannot_be(home):
    save_file(tiny_timm().state_dict(), home / "mine.safetensors")
    fails("mine", "192 wide.*384 wide", like="vit_small_patch32_224")


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("content", [b"", b"nonsense", None])
def test_a_damaged_file_is_named_and_left_as_it_is(suffix, content, home):
    path = home / f"vit_tiny_patch16_224{suffix}"
    if content is None:
        torch.save(tiny_timm().state_dict(), path) if suffix == ".pth" else save_file(tiny_timm().state_dict(), path)
        content = path.read_bytes()[:-1000]
    path.write_bytes(content)
    fails("vit_tiny_patch16_224", "damaged, cut short or no file of weights")
    assert path.read_bytes() == content


def test_nothing_is_unpickled(home):
    class Bomb:
        def __reduce__(self):
            return (print, ("opened",))
    torch.save({"model": Bomb()}, home / "vit_tiny_patch16_224.pth")
    fails("vit_tiny_patch16_224", "could run code.*convert it")


def test_a_missing_and_a_left_over_key_are_named(home):
    state = tiny_timm().state_dict()
    save_file(state | {"extra.weight": torch.zeros(2)}, home / "vit_tiny_patch16_224.safetensors")
    fails("vit_tiny_patch16_224", "holds extra.weight")
    del state["blocks.1.mlp.fc2.bias"]
    save_file(state, home / "vit_tiny_patch16_224.safetensors")
    fails("vit_tiny_patch16_224", "lacks blocks.1.mlp.fc2.bias")


def test_a_second_head_that_is_missing(home):
    saved_by_transformers(home / "someone" / "deit", "DeiTForImageClassification")
    fails("someone/deit", "lacks head_dist.bias.*distilled")
    assert load_published("someone/deit", classes=3).config.pool == "distilled"


def test_a_head_of_both_class_token_and_mean(home):
    saved_by_transformers(home / "someone" / "dino", "Dinov2ForImageClassification")
    fails("someone/dino", r"head.weight is \(2, 64\).*classes=")
    assert load_published("someone/dino", classes=4)(normalise(pixels())).shape == (3, 4)


@pytest.mark.parametrize("act", ["gelu_new", "quick_gelu"])
def test_another_activation_is_refused(act, home):
    saved_by_transformers(home / "someone" / "model", hidden_act=act)
    fails("someone/model", act)


def test_names_that_no_one_knows(home):
    fails("vit_tiny_patch16_22", "neither timm nor torchvision.*vit_tiny_patch16_224")
    fails("vit_tiny_patch16_224", "has a model 'vit_tinny'; the nearest", like="vit_tinny")
    fails("swin_tiny_patch4_window7_224", "not a plain Vision Transformer")
    fails("no/such.safetensors", "there is no file of weights no/such.safetensors", FileNotFoundError)


@pytest.mark.parametrize(("name", "file"), [
    ("deit_tiny_patch16_224", "deit_tiny_patch16_224.safetensors"), ("vit_b_16", "vit_b_16.pth"),
    ("google/vit-base", "google/vit-base")])
def test_without_a_network_one_line_names_the_file_that_would_do(name, file, home):
    with pytest.raises(FileNotFoundError) as caught:
        find_weights(name)
    message = str(caught.value)
    assert "\n" not in message and "https://" in message and str(home / file) in message
    assert not list(home.rglob("*.safetensors")) and not list(home.rglob("*.pth"))


def test_a_download_that_is_cut_short_leaves_nothing(home, monkeypatch):
    def cut(url, path, hash_prefix):
        raise RuntimeError(f"invalid hash value (expected {hash_prefix}…)")
    monkeypatch.setattr(torch.hub, "download_url_to_file", cut)
    fails("vit_b_16", "could not be fetched", FileNotFoundError)
    assert not list(home.iterdir())


def test_a_configuration_that_is_no_json(home):
    saved_by_transformers(home / "someone" / "model")
    (home / "someone" / "model" / "config.json").write_text("{", encoding="utf-8")
    fails("someone/model", "config.json is damaged")


@pytest.mark.parametrize(("size", "words"), [(30, "use 28 or 42"), (0, "image_size must be positive"),
                                             (-14, "image_size must be positive")])
def test_a_size_that_the_patches_do_not_divide(size, words, home):
    save_file(tiny_timm("vit_small_patch14_dinov2", 56).state_dict(), home / "vit_small_patch14_dinov2.safetensors")
    fails("vit_small_patch14_dinov2", words, image_size=size)
    assert load_published("vit_small_patch14_dinov2", image_size=28).config.image_size == 28


def test_published_names_are_those_that_torchvision_has():
    assert all(hasattr(torchvision.models, name) for name in hub.TORCHVISION)


# What a hostile reader tried.
def folder_of(home, config, state=None, preprocessor=None, name="someone/odd"):
    folder = home / name
    folder.mkdir(parents=True)
    save_file(state or tiny_timm(num_classes=5).state_dict(), folder / "model.safetensors")
    for file, content in (("config.json", config), ("preprocessor_config.json", preprocessor)):
        if content is not None:
            (folder / file).write_text(json.dumps(content), encoding="utf-8")
    return name


HEADS = {"num_attention_heads": 3, "hidden_size": 192, "layer_norm_eps": 1e-6}


@pytest.mark.parametrize(("preprocessor", "words"), [
    ({"image_mean": 0.5, "image_std": 0.5}, "mean must be 3 numbers"),
    ({"image_mean": [0.5]}, "mean must be 3 numbers"),
    ({"image_mean": [123.7, 116.3, 103.5]}, "for pixels in 0…1"), ({"image_std": [0, 0, 0]}, "std must be 3 numbers"),
    ({"do_rescale": False}, "not divided by 255"), ({"rescale_factor": 1 / 127.5}, "not divided by 255"),
    (None, "does not say with which mean and standard deviation it was trained; name")])
def test_a_mean_and_a_deviation_that_cannot_be(preprocessor, words, home):
    fails(folder_of(home, HEADS, preprocessor=preprocessor), words)


def test_images_that_are_not_normalised_at_all(home):
    theirs = tiny_timm(num_classes=5)
    name, images = folder_of(home, HEADS, theirs.state_dict(), {"do_normalize": False}), pixels(2, 64)
    with torch.no_grad():
        torch.testing.assert_close(load_published(name)(normalise(images)), theirs(images / 255), atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("config", [{"architecture": 3}, {}, None])
def test_a_configuration_that_says_nothing(config, home):
    fails(folder_of(home, config), "does not say how many heads its model has nor with which mean")


def test_timms_configuration_without_numbers_takes_those_of_its_model(home):
    name = folder_of(home, {"architecture": "vit_tiny_patch16_224", "pretrained_cfg": None})
    assert load_published(name).config.heads == 3


@pytest.mark.parametrize(("change", "words"), [
    ({"patch_embed.proj.weight": torch.zeros(192, 3, 16, 16, 1)}, "5 axes, not 4"),
    ({"patch_embed.proj.weight": torch.zeros(192, 1, 16, 16)}, "mean must be 1 numbers, one a channel"),
    ({"head.weight": torch.tensor(1.0)}, "head.weight has 0 axes"),
    ({"pos_embed": torch.zeros(197, 192)}, "2 axes, not 3"), ({"blocks.0.mlp.fc1.weight": None}, "lacks blocks.0"),
    ({"blocks.x.w": torch.zeros(1)}, "blocks.x.w, which names no block"),
    ({"blocks.1.mlp.fc1.weight": torch.zeros(5, 192)}, "model.safetensors: blocks.1.mlp.fc1.weight"),
    ({"head.bias": torch.zeros(5, dtype=torch.int8)}, "head.bias is torch.int8; quantised")])
def test_parts_of_odd_shapes(change, words, home):
    state = tiny_timm(num_classes=5).state_dict() | change
    fails(folder_of(home, HEADS, {name: value for name, value in state.items() if value is not None}, {}), words)


@pytest.mark.parametrize("kind", ["BeitModel", "DPTForDepthEstimation"])
def test_other_families_of_transformers(kind, home):
    config = getattr(transformers, kind.replace("Model", "").replace("ForDepthEstimation", "") + "Config")
    small = {"hidden_size": 32, "num_attention_heads": 2, "num_hidden_layers": 1, "intermediate_size": 64}
    if "DPT" in kind:
        small |= {"backbone_out_indices": [0] * 4, "neck_hidden_sizes": [8] * 4, "fusion_hidden_size": 8}
    state = getattr(transformers, kind)(config(**small)).state_dict()
    state = {name: value.float().contiguous() for name, value in state.items() if value.is_floating_point()}
    fails(folder_of(home, HEADS | {"hidden_size": 32}, state, {}), "someone/odd.*(lacks|no plain ViT|holds)")


@pytest.mark.parametrize(("names", "words"), [
    (["model-00001-of-2.safetensors", "model.safetensors.index.json"], "several parts"), ([], "but nothing"),
    (["weights.h5"], "but weights.h5")])
def test_a_folder_without_weights_that_can_be_read(names, words, home):
    (home / "mine").mkdir()
    for name in names:
        (home / "mine" / name).write_bytes(b"x")
    fails("mine", words, FileNotFoundError)


@pytest.mark.parametrize("source", ["model.pt", "runs/x.ckpt", "https://host/x.safetensors", "/no/where", "~/none"])
def test_what_looks_like_a_file_is_not_asked_of_a_hub(source, home):
    fails(source, "there is no file of weights", FileNotFoundError)


def test_a_name_that_no_file_can_have(home):
    fails("x" * 400, "neither timm nor torchvision")


def test_a_tag_that_timm_does_not_know(home):
    fails("vit_small_patch14_dinov2.nope", "nope.*without what follows the dot")


def test_without_timm_one_line_says_so(home, monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    fails("deit_tiny_patch16_224", "pip install timm")


def test_a_data_folder_that_is_a_file(home, monkeypatch):
    (home.parent / "file").write_bytes(b"")
    monkeypatch.setenv("VITLIB_DATA", str(home.parent / "file"))
    fails("vit_b_16", "VITLIB_DATA names the folder", NotADirectoryError)


def test_our_own_file_says_who_reads_it(home):
    export_weights(ViT(TINY), home / "ours.safetensors")
    fails("ours", "load_weights reads it", like="vit_tiny_patch16_224")


@pytest.mark.parametrize("wrap", [
    lambda s: s, lambda s: {"model_ema": s}, lambda s: {"module." + n: v for n, v in s.items()}])
def test_old_files_and_what_training_code_puts_around_weights(wrap, home):
    theirs, path = tiny_timm(num_classes=5), home / "vit_tiny_patch16_224.pth"
    torch.save(wrap(theirs.state_dict()), path, _use_new_zipfile_serialization=False)
    images, mean = pixels(2, 64), [0.5] * 3
    with torch.no_grad():
        torch.testing.assert_close(load_published(path)(normalise(images)), theirs(their_way(images, mean, mean)),
                                   atol=2e-5, rtol=1e-4)


def test_a_file_without_tensors(home):
    torch.save({"epoch": 3}, home / "vit_tiny_patch16_224.pth")
    fails("vit_tiny_patch16_224", "no tensors by name, but epoch")


def test_a_repository_in_the_cache_without_its_configuration(home):
    folder = home.parent / "hub" / "models--someone--bare"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("abc", encoding="utf-8")
    (folder / "snapshots" / "abc").mkdir(parents=True)
    save_file(tiny_timm(num_classes=5).state_dict(), folder / "snapshots" / "abc" / "model.safetensors")
    fails("someone/bare", "could not be fetched|does not say how many heads")
