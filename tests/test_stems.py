from itertools import pairwise

import pytest
import torch
from common import randomise
from torch import nn
from torch.nn import functional as F
from torchvision.models.resnet import BasicBlock

from vitlib.patches import PatchEmbed
from vitlib.stems import ConvStem, PooledStem, ResidualStem
from vitlib.vit import ViT, ViTConfig


def test_a_stem_gives_tokens_where_patches_would_be_and_neighbours_share_pixels():
    stem = ConvStem(32, 4, 3, 24).eval()
    x = torch.randn(2, 3, 32, 32)
    assert stem(x).shape == PatchEmbed(32, 4, 3, 24)(x).shape == (2, 64, 24)
    assert stem.num_patches == 64
    changed = x.clone()
    changed[:, :, 11, 11] += 1  # the last pixel of the patch in row 2, column 2
    moved = ((stem(changed) - stem(x)).abs().amax(dim=(0, 2)) > 1e-6).reshape(8, 8).nonzero()
    assert moved.tolist() == [[2, 2], [2, 3], [3, 2], [3, 3]]  # the patches below and to the right see it too


def test_a_stem_needs_a_patch_size_that_is_a_power_of_two():
    with pytest.raises(ValueError, match="power of 2, got 6"):
        ConvStem(36, 6, 3, 24)
    with pytest.raises(ValueError, match="does not divide"):
        ConvStem(32, 5, 3, 24)
    with pytest.raises(ValueError, match="reads images of shape"):
        ConvStem(32, 4, 3, 24)(torch.randn(2, 3, 16, 16))


@pytest.mark.parametrize(("P", "widths"), [(1, []), (2, [24]), (4, [12, 24]), (8, [6, 12, 24])])
def test_a_residual_stem_has_a_block_for_each_halving_after_the_first_convolution(P, widths):
    stem = ResidualStem(32, P, 3, 24)
    assert stem(torch.randn(2, 3, 32, 32)).shape == (2, (32 // P) ** 2, 24)
    blocks = [layer for layer in stem.proj if isinstance(layer, BasicBlock)]
    assert [(block.conv1.in_channels, block.conv1.out_channels, block.stride) for block in blocks] == [
        (inside, outside, 1 if inside == outside else 2) for inside, outside in pairwise(widths[:1] + widths)]
    plain = [m for m in ConvStem(32, P, 3, 24).proj if isinstance(m, nn.Conv2d)]
    assert [str(stem.proj[0]), str(stem.proj[-1])] == [str(plain[0]), str(plain[-1])]
    assert len(stem.proj) == (4 if widths else 1) + len(blocks)


def test_a_residual_stem_sees_further_and_needs_a_power_of_two():
    def reach(stem):
        x = torch.randn(1, 3, 32, 32, requires_grad=True)
        stem.eval()(x)[0, 27].sum().backward()
        return (x.grad[0].abs().sum(dim=0) > 0).nonzero().aminmax(dim=0)
    low, high = reach(ResidualStem(32, 4, 3, 24))
    assert (high - low + 1).tolist() == [23, 23]  # kernels 3, 3, 3, 3, 3 with strides 2, 1, 1, 2, 1
    low, high = reach(ConvStem(32, 4, 3, 24))
    assert (high - low + 1).tolist() == [7, 7]
    with pytest.raises(ValueError, match="power of 2, got 6"):
        ResidualStem(36, 6, 3, 24)


@pytest.mark.parametrize(("P", "widths"), [(2, [24]), (4, [64, 24]), (8, [64, 64, 24])])
def test_a_pooled_stem_is_convolution_relu_and_maximum_for_each_halving(P, widths):
    stem = randomise(PooledStem(32, P, 3, 24))
    kinds = [type(layer) for layer in stem.proj]
    assert kinds == [nn.Conv2d, nn.ReLU, nn.MaxPool2d] * len(widths)
    convolutions = [layer for layer in stem.proj if isinstance(layer, nn.Conv2d)]
    assert [(c.in_channels, c.out_channels) for c in convolutions] == list(pairwise([3, *widths]))
    x = torch.randn(2, 3, 32, 32)
    y = x
    for convolution in convolutions:
        y = F.max_pool2d(F.conv2d(y, convolution.weight, padding=1).relu(), 3, stride=2, padding=1)
    assert stem(x).shape == PatchEmbed(32, P, 3, 24)(x).shape == (2, (32 // P) ** 2, 24)
    assert stem.num_patches == (32 // P) ** 2
    torch.testing.assert_close(stem(x), y.flatten(2).mT, atol=1e-6, rtol=0)


def test_a_pooled_stem_equals_vit_pytorchs_tokeniser():
    cct = pytest.importorskip("vit_pytorch.cct", reason="its compact transformer: pip install -e '.[bench]'")
    theirs = cct.Tokenizer(3, 1, 1, n_conv_layers=2, n_input_channels=3, n_output_channels=24, in_planes=64,
                           activation=nn.ReLU, conv_bias=False)
    ours, x = randomise(PooledStem(32, 4, 3, 24)), torch.randn(2, 3, 32, 32)
    for layer, other in zip([m for m in theirs.modules() if isinstance(m, nn.Conv2d)], ours.proj[::3], strict=True):
        layer.load_state_dict(other.state_dict(), strict=True)
    torch.testing.assert_close(ours(x), theirs(x), atol=1e-6, rtol=0)


def test_a_pooled_stem_halves_at_least_once():
    with pytest.raises(ValueError, match="at least once: patch_size must be 2 or more, got 1"):
        PooledStem(32, 1, 3, 24)
    with pytest.raises(ValueError, match="power of 2, got 6"):
        PooledStem(36, 6, 3, 24)
    with pytest.raises(ValueError, match="does not divide"):
        PooledStem(32, 5, 3, 24)
    with pytest.raises(ValueError, match="reads images of shape"):
        PooledStem(32, 4, 3, 24)(torch.randn(2, 3, 16, 16))
    with pytest.raises(ValueError, match="patch_size must be 2 or more, got 1"):
        ViT(ViTConfig(stem="pooled", patch_size=1))
