import dataclasses
from dataclasses import replace

import numpy as np
import pytest
import torch
from common import TINY, randomise
from torch import nn

from vitlib.attention import MultiHeadAttention
from vitlib.encoder import EncoderBlock
from vitlib.patches import patchify, unpatchify
from vitlib.pooling import SequencePool
from vitlib.positions import interpolate_positions, sincos_2d
from vitlib.rotary import PreparedAttention
from vitlib.vit import PatchDrop, ViT, ViTConfig, evaluating


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
            assert parameter.abs().max() < 0.12, name  # six standard deviations


@pytest.mark.parametrize("pool", ["cls", "mean", "sequence", "distilled"])
def test_every_number_gets_a_gradient_but_the_biases_of_the_keys(pool):
    model = randomise(ViT(replace(TINY, pool=pool, registers=1)), 0.3).double()
    loss = torch.nn.functional.cross_entropy(model(images(6).double()), torch.arange(6) % 3)
    loss.backward()
    for name, parameter in model.named_parameters():
        gradient = parameter.grad
        assert gradient.isfinite().all(), name
        if name == "attn_pool.bias":  # a softmax does not see this either
            assert gradient.abs() < 1e-12
            continue
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


def test_no_classes_gives_what_the_head_would_read():
    for pool in ("cls", "mean", "distilled"):
        whole = randomise(ViT(replace(TINY, pool=pool)), 0.3).eval()
        body = ViT(replace(TINY, pool=pool, classes=0)).eval()
        body.load_state_dict({n: v for n, v in whole.state_dict().items() if not n.startswith("head")})
        x = images(2)
        features = body(x)
        assert features.shape == (2, TINY.dim)
        if pool != "distilled":
            torch.testing.assert_close(whole.head(features), whole(x))


def test_a_distilled_model_answers_with_the_mean_of_two_heads():
    model = randomise(ViT(replace(TINY, pool="distilled")), 0.3).eval()
    x = images(2)
    tokens = model.features(x)
    assert model.prefix == 2 and tokens.shape == (2, 6, TINY.dim)
    torch.testing.assert_close(model(x), (model.head(tokens[:, 0]) + model.head_dist(tokens[:, 1])) / 2)


def test_sequence_pooling_equals_the_compact_transformers_formula_and_with_zeros_the_mean():
    x, pool = torch.randn(2, 5, 8, dtype=torch.float64), randomise(SequencePool(8), 1.0).double()
    scores = nn.functional.linear(x, pool.weight, pool.bias)  # (B, N, 1)
    expected = torch.matmul(scores.softmax(dim=1).transpose(-1, -2), x).squeeze(-2)  # as their code has it
    torch.testing.assert_close(pool(x), expected, atol=1e-12, rtol=0)
    assert pool(x).shape == (2, 8) and (expected - x.mean(dim=1)).abs().max() > 0.1
    nn.init.zeros_(pool.weight)
    torch.testing.assert_close(pool(x), x.mean(dim=1), atol=1e-12, rtol=0)


@pytest.mark.parametrize("registers", [0, 2])
def test_a_model_that_pools_the_sequence_weighs_its_patches_alone(registers):
    model, x = randomise(ViT(replace(TINY, pool="sequence", registers=registers)), 0.3).eval(), images(2)
    tokens = model.features(x)
    assert tokens.shape == (2, registers + 4, 16)
    patches = tokens[:, registers:]
    weights = (patches @ model.attn_pool.weight[0]).softmax(dim=1)[:, :, None]
    torch.testing.assert_close(model(x), model.head((weights * patches).sum(dim=1)), atol=1e-6, rtol=0)
    nn.init.zeros_(model.attn_pool.weight)
    mean = ViT(replace(TINY, pool="mean", registers=registers)).eval()
    mean.load_state_dict({name: v for name, v in model.state_dict().items() if not name.startswith("attn_pool")})
    torch.testing.assert_close(model(x), mean(x), atol=1e-6, rtol=0)


def test_two_heads_answer_each_from_its_token():
    model, x = randomise(ViT(replace(TINY, pool="distilled", registers=1)), 0.3).eval(), images(2)
    tokens = model.features(x)
    expected = torch.stack([model.head(tokens[:, 0]), model.head_dist(tokens[:, 1])], dim=1)
    assert torch.equal(model.both_heads(tokens), expected) and expected.shape == (2, 2, 3)
    assert (expected[:, 0] - expected[:, 1]).abs().max() > 0.1


@pytest.mark.parametrize(("changes", "kind"), [
    ({}, MultiHeadAttention), ({"positions": "none"}, MultiHeadAttention), ({"qk_norm": True}, PreparedAttention),
    ({"positions": "rope"}, PreparedAttention)])
def test_each_block_has_the_attention_that_the_configuration_asks_for(changes, kind):
    model = ViT(replace(TINY, norm_eps=1e-3, qkv_bias=False, dropout=0.25, **changes))
    for block in model.blocks:
        assert type(block.attn) is kind
        assert (block.attn.heads, block.attn.qkv.bias, block.attn.drop.p) == (2, None, 0.25)
        if "qk_norm" in changes:
            assert [(norm.normalized_shape, norm.eps) for norm in (block.attn.q_norm, block.attn.k_norm)] == [
                ((8,), 1e-3)] * 2
            assert block.attn.q_norm is not block.attn.k_norm


def test_a_block_is_given_another_attention_by_its_argument():
    made = []

    def attention(*arguments):
        made.append(arguments)
        return MultiHeadAttention(*arguments)

    block = EncoderBlock(16, 2, 32, qkv_bias=False, dropout=0.25, attention=attention)
    assert made == [(16, 2, False, 0.25)] and block.attn.qkv.bias is None
    assert type(EncoderBlock(16, 2, 32).attn) is MultiHeadAttention


def test_layer_scale_at_its_start_keeps_a_fresh_block_near_the_identity():
    x = torch.randn(2, 5, 16)
    plain, scaled = EncoderBlock(16, 2, 32).eval(), EncoderBlock(16, 2, 32, layer_scale=1e-5).eval()
    assert (scaled(x) - x).abs().max() < 1e-4 < 1e-2 < (plain(x) - x).abs().max()


def test_drop_path_grows_with_depth():
    model = ViT(replace(TINY, depth=3, drop_path=0.4))
    assert [block.drop_path.rate for block in model.blocks] == pytest.approx([0, 0.2, 0.4])


CHANGES = {"image_size": 16, "patch_size": 2, "stem": "conv", "channels": 1, "classes": 4, "dim": 8, "depth": 3,
           "heads": 4, "mlp_ratio": 2.0, "pool": "mean", "positions": "none", "qkv_bias": False, "dropout": 0.2,
           "drop_path": 0.5, "patch_drop": 0.5, "registers": 2, "layer_scale": 0.1, "norm_eps": 1.0,
           "fc_norm": True, "keep_cls": True, "prefix_positions": False, "qk_norm": True}
ONLY_WITH = {"fc_norm": {"pool": "mean"}, "keep_cls": {"pool": "mean"}}  # refused elsewhere


def outcome(config):
    torch.manual_seed(0)
    model = randomise(ViT(config), 0.3).train()
    return sum(p.numel() for p in model.parameters()), model(images(8, config) * 0 + 1)


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(ViTConfig)])
def test_every_field_of_the_configuration_changes_the_model(field):
    base = replace(TINY, **ONLY_WITH.get(field, {}))
    (count, logits), (count2, logits2) = outcome(base), outcome(replace(base, **{field: CHANGES[field]}))
    assert count != count2 or (logits - logits2).abs().max() > 1e-3


def test_a_configuration_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        TINY.dim = 32


@pytest.mark.parametrize(("field", "value"), [
    ("pool", "max"), ("positions", "spiral"), ("depth", 0), ("dim", -1), ("classes", -1), ("channels", 0),
    ("image_size", 0), ("patch_size", 0), ("heads", 0), ("mlp_ratio", 0.0), ("dropout", 1.0), ("drop_path", -0.1),
    ("patch_drop", 1.5), ("registers", -1), ("layer_scale", -0.1), ("norm_eps", 0.0), ("fc_norm", True),
    ("keep_cls", True)])
def test_a_value_that_no_model_can_have_is_named(field, value):
    with pytest.raises(ValueError, match=f"{field}.*{value}"):
        ViT(replace(TINY, **{field: value}))


NUMBER, SIZE = "a finite number, got", r"a whole number \(int\), got"


@pytest.mark.parametrize(("field", "value", "words"), [
    ("image_size", (16, 32), rf"{SIZE} \(16, 32\) \(tuple\)"), ("image_size", 16.0, rf"{SIZE} 16.0 \(float\)"),
    ("patch_size", "4", rf"{SIZE} '4' \(str\)"), ("dim", np.int64(16), rf"{SIZE} np.int64\(16\) \(int64\)"),
    ("depth", True, rf"{SIZE} True \(bool\)"), ("registers", None, rf"{SIZE} None \(NoneType\)"),
    ("heads", torch.tensor(2), rf"{SIZE} tensor\(2\) \(Tensor\)"), ("mlp_ratio", "4", rf"{NUMBER} '4' \(str\)"),
    ("mlp_ratio", float("nan"), f"{NUMBER} nan"), ("mlp_ratio", float("inf"), f"{NUMBER} inf"),
    ("dropout", False, f"{NUMBER} False"), ("drop_path", [0.1], NUMBER), ("patch_drop", float("nan"), NUMBER),
    ("pool", ["cls"], r"a string, got \['cls'\] \(list\)"), ("stem", None, "a string, got None"),
    ("qkv_bias", 1, r"True or False, got 1 \(int\)"), ("mlp_ratio", 0.01, "0.01 leaves no width to an MLP of dim 16")])
def test_a_value_of_another_type_is_named(field, value, words):
    with pytest.raises(ValueError, match=f"^{field} .*{words}"):
        replace(TINY, **{field: value})


def test_a_whole_number_is_a_number():
    assert ViT(replace(TINY, mlp_ratio=2, dropout=0)).blocks[0].mlp.fc1.out_features == 32


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


@pytest.mark.parametrize(("bad", "words"), [
    (torch.zeros(2, 3, 8, 8, dtype=torch.float64), r"are torch.float64, the weights torch.float32; .*to\(torch.flo"),
    (torch.zeros(2, 3, 8, 8, dtype=torch.bfloat16), "images are torch.bfloat16, the weights torch.float32"),
    (torch.zeros(2, 3, 8, 8, device="meta"), r"images are on meta, the model is on cpu; call images.to\('cpu'\)"),
    (np.zeros((2, 3, 8, 8), np.float32), "reads a tensor, got ndarray; torch.from_numpy")])
def test_images_of_another_kind_than_the_weights_are_named(bad, words):
    for call in (ViT(TINY), ViT(replace(TINY, stem="conv")).features, ViT(TINY).attention_maps):
        with pytest.raises(ValueError, match=words):
            call(bad)


def test_under_autocast_images_may_have_another_dtype():
    with torch.autocast("cpu", torch.bfloat16):
        assert ViT(TINY)(images().bfloat16()).shape == (4, 3)


def test_evaluating_puts_every_parts_mode_back_also_after_an_error():
    model = ViT(TINY).train()
    model.blocks[1].eval()
    modes = [module.training for module in model.modules()]
    with evaluating(model):
        assert not any(module.training for module in model.modules())
    assert [module.training for module in model.modules()] == modes
    with pytest.raises(KeyError), evaluating(model):
        raise KeyError
    assert [module.training for module in model.modules()] == modes


@pytest.mark.parametrize(("changes", "words"), [
    ({"classes": 5}, r"head.weight is \(5, 16\) in the weights and \(3, 16\) in the model; .*classes.*strict=False"),
    ({"image_size": 16}, r"pos_embed is \(1, 17, 16\) in the weights and \(1, 5, 16\) .*interpolate_positions"),
    ({"patch_size": 2}, r"pos_embed is \(1, 17, 16\) .*tokens before the patches"),
    ({"dim": 32}, r"cls_token is \(1, 1, 32\) .*the configurations differ: build the model with that of the weights"),
    ({"mlp_ratio": 2.0}, r"blocks.0.mlp.fc1.weight is \(32, 16\) .* and \(64, 16\) .*the configurations differ")])
@pytest.mark.parametrize("strict", [True, False])
def test_weights_of_another_shape_are_named_with_the_fix_and_nothing_is_loaded(changes, words, strict):
    model = ViT(TINY)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(ValueError, match=words):
        model.load_state_dict(ViT(replace(TINY, **changes)).state_dict(), strict)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_the_fixes_that_the_errors_name_work():
    large = randomise(ViT(replace(TINY, image_size=16, classes=5, registers=2)))
    model, weights = ViT(replace(TINY, registers=2)), large.state_dict()
    weights["pos_embed"] = interpolate_positions(weights["pos_embed"], (2, 2), model.prefix)
    del weights["head.weight"], weights["head.bias"]
    missing, unexpected = model.load_state_dict(weights, strict=False)
    assert (missing, unexpected) == (["head.weight", "head.bias"], [])
    assert torch.equal(model.blocks[1].attn.qkv.weight, large.blocks[1].attn.qkv.weight)


def test_names_that_differ_are_pytorchs_to_name():
    with pytest.raises(RuntimeError, match="Missing key.*reg_token"):
        ViT(replace(TINY, registers=1)).load_state_dict(ViT(TINY).state_dict())  # pos_embed differs as a consequence
