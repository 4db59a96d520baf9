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
