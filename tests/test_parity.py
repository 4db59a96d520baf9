"""The same numbers as timm, torchvision and PyTorch, every parameter drawn at random.

A fresh ViT hides bugs: torchvision's head is zero, and a wrong GELU changes fp32 outputs by under 1e-4.
"""

from dataclasses import replace

import pytest
import timm
import torch
from common import randomise
from torch import nn
from torchvision.models import VisionTransformer

from vitlib.encoder import EncoderBlock
from vitlib.families import config_of, whose
from vitlib.vit import ViT, ViTConfig

CONFIG = ViTConfig(image_size=16, patch_size=4, dim=24, depth=3, heads=3, classes=7, mlp_ratio=2.0)


def images():
    return torch.randn(3, 3, 16, 16, dtype=torch.float64)


def timm_twin(pool, **changes):
    options = {"img_size": 16, "patch_size": 4, "embed_dim": 24, "depth": 3, "num_heads": 3, "mlp_ratio": 2.0,
               "num_classes": 7}
    if pool == "mean":
        options |= {"global_pool": "avg", "class_token": False, "fc_norm": False}
    return timm.models.VisionTransformer(**options, **changes).double().eval()


@pytest.mark.parametrize("pool", ["cls", "mean"])
@pytest.mark.parametrize(("qkv_bias", "registers"), [(True, 0), (False, 0), (True, 3)])
def test_logits_features_and_names_equal_timms(pool, qkv_bias, registers):
    theirs = randomise(timm_twin(pool, qkv_bias=qkv_bias, reg_tokens=registers))
    ours = ViT(replace(CONFIG, pool=pool, qkv_bias=qkv_bias, registers=registers)).double().eval()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    x = images()
    assert ours(x).abs().max() > 0.1
    torch.testing.assert_close(ours(x), theirs(x), atol=1e-10, rtol=0)
    torch.testing.assert_close(ours.features(x), theirs.forward_features(x), atol=1e-10, rtol=0)


def test_gradients_equal_timms():
    theirs, ours = randomise(timm_twin("cls")), ViT(CONFIG).double()
    ours.load_state_dict(theirs.state_dict())
    x = images()
    for model in (ours, theirs):
        model(x).square().sum().backward()
    expected = dict(theirs.named_parameters())
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name].grad, atol=1e-9, rtol=1e-9)


def from_torchvision(name):
    """torchvision's name for a parameter -> ours."""
    for old, new in (("class_token", "cls_token"), ("encoder.pos_embedding", "pos_embed"),
                     ("conv_proj", "patch_embed.proj"), ("encoder.layers.encoder_layer_", "blocks."),
                     ("encoder.ln.", "norm."), ("ln_1", "norm1"), ("ln_2", "norm2"),
                     ("self_attention.in_proj_", "attn.qkv."), ("self_attention.out_proj", "attn.proj"),
                     ("mlp.0", "mlp.fc1"), ("mlp.3", "mlp.fc2"), ("heads.head", "head")):
        name = name.replace(old, new)
    return name


def test_logits_equal_torchvisions_through_a_key_map():
    theirs = randomise(VisionTransformer(16, 4, 3, 3, 24, 48, num_classes=7).double().eval())
    ours = ViT(CONFIG).double().eval()
    ours.load_state_dict({from_torchvision(name): value for name, value in theirs.state_dict().items()}, strict=True)
    x = images()
    assert ours(x).abs().max() > 0.1
    torch.testing.assert_close(ours(x), theirs(x), atol=1e-10, rtol=0)


def test_block_equals_pytorchs_encoder_layer():
    ours = randomise(EncoderBlock(24, 3, 48)).double().eval()
    theirs = nn.TransformerEncoderLayer(24, 3, 48, dropout=0.0, activation="gelu", layer_norm_eps=1e-6,
                                        batch_first=True, norm_first=True).double().train()
    names = {"norm1": "norm1", "norm2": "norm2", "self_attn.in_proj_": "attn.qkv.", "self_attn.out_proj": "attn.proj",
             "linear1": "mlp.fc1", "linear2": "mlp.fc2"}
    state = {theirs_name + name.removeprefix(ours_name): value for name, value in ours.state_dict().items()
             for theirs_name, ours_name in names.items() if name.startswith(ours_name)}
    theirs.load_state_dict(state, strict=True)
    x = torch.randn(2, 5, 24, dtype=torch.float64) * 3
    torch.testing.assert_close(ours(x), theirs(x), atol=1e-10, rtol=0)


def ours_for(theirs):
    """The ViT whose configuration is that of timm's model, as far as the names of its weights tell."""
    weights = theirs.state_dict()
    dim, token = theirs.embed_dim, "cls_token" in weights
    return ViT(ViTConfig(
        image_size=theirs.patch_embed.img_size[0], patch_size=theirs.patch_embed.patch_size[0], classes=7, dim=dim,
        depth=len(theirs.blocks), heads=theirs.blocks[0].attn.num_heads, pool="cls" if token else "mean",
        mlp_ratio=weights["blocks.0.mlp.fc1.weight"].shape[0] / dim, qkv_bias="blocks.0.attn.qkv.bias" in weights,
        registers=weights["reg_token"].shape[1] if "reg_token" in weights else 0)).double().eval()


PUBLISHED = [f"vit_{size}_patch{patch}_{pixels}" for size, patch, pixels in (
    ("tiny", 16, 224), ("tiny", 16, 384), ("small", 8, 224), ("small", 16, 224), ("small", 16, 384), ("small", 32, 224),
    ("small", 32, 384), ("base", 8, 224), ("base", 16, 224), ("base", 16, 384), ("base", 32, 224), ("base", 32, 384))]
PUBLISHED += ["deit_tiny_patch16_224", "deit_small_patch16_224", "deit_base_patch16_224", "deit_base_patch16_384",
              "vit_base_patch16_224_miil",  # without qkv_bias
              "vit_base_patch16_gap_224", "vit_base_patch16_siglip_gap_224"]  # mean pooling after the last norm
OTHERS = {"deit_tiny_distilled_patch16_224": "dist_token", "deit3_small_patch16_224": "ls1.gamma",
          "vit_small_patch14_dinov2": "ls1.gamma", "vit_base_patch16_clip_224": "norm_pre.weight",
          "vit_base_patch16_reg4_gap_256": "fc_norm.weight", "vit_base_patch16_siglip_224": "attn_pool",
          "vit_small_r26_s32_224": "patch_embed.backbone", "flexivit_small": "pos_embed"}


def one_block(name):
    """A published model cut to one block, so that the large ones cost little, and without its weights."""
    return timm.create_model(name, pretrained=False, depth=1, num_classes=7).double().eval()


@pytest.mark.parametrize("name", PUBLISHED)
def test_plain_published_models_load_strictly_and_give_the_same_logits(name):
    theirs = randomise(one_block(name))
    ours = ours_for(theirs)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    c = ours.config
    x = torch.randn(1, 3, c.image_size, c.image_size, dtype=torch.float64)
    with torch.no_grad():
        assert theirs(x).std() > 0.05
        torch.testing.assert_close(ours(x), theirs(x), atol=1e-10, rtol=0)


@pytest.mark.parametrize("name", OTHERS)
def test_models_with_other_parts_do_not_load_and_a_key_gives_them_away(name):
    theirs = one_block(name)
    with pytest.raises((RuntimeError, ValueError), match=OTHERS[name]):
        ours_for(theirs).load_state_dict(theirs.state_dict(), strict=True)


def test_normalised_queries_do_not_load():
    theirs = timm_twin("cls", qk_norm=True)
    with pytest.raises(RuntimeError, match="attn.q_norm.weight"):
        ViT(CONFIG).load_state_dict(theirs.state_dict(), strict=True)


@pytest.mark.parametrize("pool", ["cls", "mean"])
def test_normalised_queries_load_where_the_configuration_has_them_and_it_is_read_off_the_weights(pool):
    theirs = randomise(timm_twin(pool, qk_norm=True), 0.3)
    config = replace(CONFIG, pool=pool, qk_norm=True)
    assert config_of(theirs.state_dict(), heads=3) == config
    ours = ViT(config).double().eval()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    x = images()
    assert ours(x).abs().max() > 0.1
    torch.testing.assert_close(ours(x), theirs(x), atol=1e-10, rtol=0)
    with pytest.raises(RuntimeError, match="attn.q_norm.weight"):
        ours.load_state_dict(timm_twin(pool).state_dict(), strict=True)
    assert whose(theirs.state_dict()) == ""  # no other family's, as it was once


def test_registers_without_positions_do_not_load():
    theirs = timm_twin("cls", reg_tokens=3, no_embed_class=True)
    with pytest.raises(ValueError, match=r"pos_embed is \(1, 16, 24\) in the weights and \(1, 20, 24\) in the model"):
        ViT(replace(CONFIG, registers=3)).load_state_dict(theirs.state_dict(), strict=True)


def test_one_that_loads_and_yet_differs_has_another_gelu():
    """What the docstring of ViT says of some of SigLIP's models: names do not tell how GELU is computed."""
    theirs = randomise(one_block("vit_base_patch32_siglip_gap_256"))
    ours, x = ours_for(theirs), torch.randn(1, 3, 256, 256, dtype=torch.float64)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    assert 1e-7 < (ours(x) - theirs(x)).abs().max() < 1e-3
    for block in theirs.blocks:
        block.mlp.act = nn.GELU()
    torch.testing.assert_close(ours(x), theirs(x), atol=1e-10, rtol=0)
