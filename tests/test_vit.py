import dataclasses
from dataclasses import replace

import pytest
import torch
from common import TINY, randomise

from vitlib.patches import patchify, unpatchify
from vitlib.positions import sincos_2d
from vitlib.vit import PatchDrop, ViT, ViTConfig


def images(count=4, config=TINY):
    return torch.randn(count, config.channels, config.image_size, config.image_size)


def test_shapes_of_logits_features_and_maps():
    model, mean = ViT(TINY), ViT(replace(TINY, pool="mean"))
    assert model(images()).shape == (4, 3)
    assert model.features(images()).shape == (4, 5, 16)
    assert mean.features(images()).shape == (4, 4, 16)
    assert model.attention_maps(images()).shape == (2, 4, 2, 5, 5)


def test_attention_maps_are_those_that_each_block_uses():
    model, x = randomise(ViT(TINY)).eval(), images()
    maps, tokens = model.attention_maps(x), model.embed(x)
    torch.testing.assert_close(maps.sum(-1), torch.ones(2, 4, 2, 5))
    for layer, block in enumerate(model.blocks):
        tokens, weights = block(tokens, need_weights=True)
        assert torch.equal(maps[layer], weights)
    torch.testing.assert_close(model.norm(tokens), model.features(x))


@pytest.mark.parametrize("pool", ["cls", "mean"])
def test_the_head_reads_the_class_token_or_the_mean_of_the_patches(pool):
    model, x = randomise(ViT(replace(TINY, pool=pool))).eval(), images()
    tokens = model.features(x)
    pooled = tokens[:, 0] if pool == "cls" else tokens.mean(1)
    torch.testing.assert_close(model(x), model.head(pooled))


def shuffled(x):
    return unpatchify(patchify(x, 4)[:, [2, 0, 3, 1]], 4, (2, 2))


@pytest.mark.parametrize("pool", ["cls", "mean"])
def test_without_positions_the_order_of_the_patches_does_not_matter(pool):
    model, x = randomise(ViT(replace(TINY, positions="none", pool=pool))).eval(), images()
    torch.testing.assert_close(model(shuffled(x)), model(x), atol=1e-5, rtol=0)


@pytest.mark.parametrize("positions", ["learned", "sincos"])
def test_with_positions_the_order_of_the_patches_matters(positions):
    model, x = randomise(ViT(replace(TINY, positions=positions)), 0.3).eval(), images()
    assert (model(shuffled(x)) - model(x)).abs().max() > 1e-3  # 1e-5 without


def test_an_image_does_not_depend_on_its_batch():
    model, x = randomise(ViT(TINY), 0.3).eval(), images(5)
    together = model(x)
    for i in range(5):
        torch.testing.assert_close(model(x[i:i + 1])[0], together[i], atol=1e-5, rtol=0)
    assert (together[0] - together[1]).abs().max() > 0.01


def test_sincos_positions_are_fixed_and_zero_for_the_class_token():
    model = ViT(replace(TINY, positions="sincos"))
    assert not model.pos_embed.requires_grad
    assert torch.equal(model.pos_embed[0], torch.cat([torch.zeros(1, 16), sincos_2d(2, 2, 16)]))
    assert "pos_embed" in model.state_dict()


def test_first_values_follow_the_recipe():
    model = ViT(ViTConfig(registers=2))
    assert torch.equal(model.head.weight, torch.zeros(10, 64))
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            assert (parameter == 0).all(), name
        elif "norm" in name:
            assert (parameter == 1).all(), name
        elif name != "head.weight":
            assert parameter.std().item() == pytest.approx(0.02, rel=0.3), name
            assert parameter.abs().max() < 0.1, name


@pytest.mark.parametrize("pool", ["cls", "mean"])
def test_every_number_gets_a_gradient_but_the_biases_of_the_keys(pool):
    model = randomise(ViT(replace(TINY, pool=pool, registers=1)), 0.3).double()
    loss = torch.nn.functional.cross_entropy(model(images(6).double()), torch.arange(6) % 3)
    loss.backward()
    for name, parameter in model.named_parameters():
        gradient = parameter.grad
        assert gradient.isfinite().all(), name
        if name.endswith("qkv.bias"):  # shifting all keys shifts all scores of a row: softmax does not see it
            query, key, value = gradient.chunk(3)
            assert key.abs().max() < 1e-12 < value.abs().min(), name
            gradient = torch.cat([query, value])
        assert (gradient != 0).all(), name


def test_patch_drop_keeps_the_class_token_and_a_share_drawn_for_each_image():
    x = torch.arange(1.0, 18).expand(50, 17)[:, :, None]  # token i holds i + 1
    kept = PatchDrop(0.5, prefix=1).train()(x)[:, :, 0]
    assert kept.shape == (50, 9)
    assert (kept[:, 0] == 1).all()
    assert all(len(set(row.tolist())) == 9 and row.max() <= 17 for row in kept)
    assert len({tuple(sorted(row.tolist())) for row in kept}) > 40
    assert torch.equal(PatchDrop(0.5, prefix=1).eval()(x), x)


def test_drop_path_grows_with_depth():
    model = ViT(replace(TINY, depth=3, drop_path=0.4))
    assert [block.drop_path.rate for block in model.blocks] == pytest.approx([0, 0.2, 0.4])


CHANGES = {"image_size": 16, "patch_size": 2, "stem": "conv", "channels": 1, "classes": 4, "dim": 8, "depth": 3,
           "heads": 4, "mlp_ratio": 2.0, "pool": "mean", "positions": "none", "qkv_bias": False, "dropout": 0.2,
           "drop_path": 0.5, "patch_drop": 0.5, "registers": 2}


def outcome(config):
    torch.manual_seed(0)
    model = randomise(ViT(config), 0.3).train()
    return sum(p.numel() for p in model.parameters()), model(images(8, config) * 0 + 1)


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(ViTConfig)])
def test_every_field_of_the_configuration_changes_the_model(field):
    (count, logits), (count2, logits2) = outcome(TINY), outcome(replace(TINY, **{field: CHANGES[field]}))
    assert count != count2 or (logits - logits2).abs().max() > 1e-3


def test_a_configuration_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        TINY.dim = 32


@pytest.mark.parametrize(("field", "value"), [
    ("pool", "max"), ("positions", "rope"), ("depth", 0), ("dim", -1), ("classes", 0), ("channels", 0),
    ("image_size", 0), ("patch_size", 0), ("heads", 0), ("mlp_ratio", 0.0), ("dropout", 1.0), ("drop_path", -0.1),
    ("patch_drop", 1.5), ("registers", -1)])
def test_a_value_that_no_model_can_have_is_named(field, value):
    with pytest.raises(ValueError, match=f"{field}.*{value}"):
        ViT(replace(TINY, **{field: value}))


def test_parts_that_do_not_fit_together_are_named():
    with pytest.raises(ValueError, match="dim 16 .* 3 heads"):
        ViT(replace(TINY, heads=3))
    with pytest.raises(ValueError, match="patch_size 3 does not divide image_size 8"):
        ViT(replace(TINY, patch_size=3))
    with pytest.raises(ValueError, match="4 divides, got 6; use 8"):
        ViT(replace(TINY, dim=6, positions="sincos"))


@pytest.mark.parametrize(("bad", "words"), [
    (torch.zeros(2, 3, 16, 16), r"\(B, 3, 8, 8\), got \(2, 3, 16, 16\); resize"),
    (torch.zeros(2, 1, 8, 8), r"\(B, 3, 8, 8\), got \(2, 1, 8, 8\)"),
    (torch.zeros(3, 8, 8), r"got \(3, 8, 8\); .*images\[None\]"),
    (torch.zeros(2, 3, 8, 8, dtype=torch.uint8), "got torch.uint8; call vitlib.data.normalise"),
    (torch.zeros(2, 3, 8, 8, dtype=torch.int64), "got torch.int64; call")])
def test_images_that_the_model_cannot_read_are_named(bad, words):
    for call in (ViT(TINY), ViT(TINY).features, ViT(TINY).attention_maps):
        with pytest.raises(ValueError, match=words):
            call(bad)
