"""The convolutional network to compare with is torchvision's, in its usual form for small images."""

import os
import platform
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torchvision
from common import TINY, pictures, randomise
from torch import nn

from vitlib.devices import layout_for
from vitlib.resnet import resnet18
from vitlib.train import TrainConfig, fit, train_one_epoch
from vitlib.vit import ViT


def torchvisions() -> nn.Module:
    theirs = torchvision.models.resnet18(num_classes=10)
    theirs.conv1, theirs.maxpool = nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.Identity()
    return randomise(theirs)


def test_logits_equal_torchvisions_with_the_stem_for_small_images():
    theirs, ours = torchvisions().double(), resnet18().double()
    ours.load_state_dict(dict(zip(ours.state_dict(), theirs.state_dict().values(), strict=True)))
    x = torch.randn(4, 3, 32, 32, dtype=torch.float64)
    for mode in (True, False):  # batch statistics, then running ones
        assert torch.allclose(ours.train(mode)(x), theirs.train(mode)(x), atol=1e-10)
    assert ours(x).abs().max() > 0.1
    assert sum(p.numel() for p in ours.parameters()) == 11_173_962


@pytest.mark.parametrize("width", [4, 16])
def test_width_scales_every_stage(width):
    model = resnet18(width=width, classes=7, channels=1)
    assert model(torch.zeros(2, 1, 32, 32)).shape == (2, 7)
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert sorted({c.out_channels for c in convolutions}) == [width, 2 * width, 4 * width, 8 * width]
    assert sum(c.kernel_size == (3, 3) for c in convolutions) == 17  # and the linear layer: eighteen


@pytest.mark.parametrize(("model", "layout"), [
    (resnet18(width=4), torch.contiguous_format), (resnet18(width=8), torch.channels_last),
    (ViT(TINY), torch.channels_last),
    (ViT(replace(TINY, stem="residual", patch_size=4, dim=8)), torch.contiguous_format),
    (ViT(replace(TINY, stem="residual", patch_size=4, dim=16)), torch.channels_last)])
def test_images_lie_channels_last_where_no_convolution_forbids_it(model, layout):
    assert layout_for(model) == layout
    seen = []
    model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    data = pictures(classes=model.head.out_features)
    optimizers = [torch.optim.SGD(model.parameters())]
    train_one_epoch(model, data, optimizers, TrainConfig(batch_size=8), 0, torch.Generator())
    assert len(seen) == 3 and all(images.is_contiguous(memory_format=layout) for images in seen)


def test_the_loop_trains_it():
    torch.manual_seed(0)
    history = fit(resnet18(width=4, classes=3), pictures(40, size=16), TrainConfig(epochs=3, batch_size=8))
    assert history[-1]["train_loss"] < history[0]["train_loss"]


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="oneDNN's AVX2 paths are those of x86-64")
def test_the_loop_trains_it_on_a_processor_with_avx2_only():
    """There oneDNN corrupts the memory of a process that trains few channels, last in memory: see layout_for."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"{__file__}::test_the_loop_trains_it"]
    environment = os.environ | {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "OMP_NUM_THREADS": "1"}
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_ADDOPTS"):
        environment.pop(name, None)
    done = subprocess.run(command, cwd=Path(__file__).parents[1], env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and "1 passed" in done.stdout, (done.returncode, done.stdout[-2000:])
