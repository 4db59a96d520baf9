"""A convolutional network to compare with, and its building block."""

from itertools import pairwise

from torch import nn
from torchvision.models.resnet import BasicBlock


def residual_block(inside: int, outside: int) -> BasicBlock:
    """torchvision's x + two 3×3 convolutions: (B, inside, H, W) -> (B, outside, H, W).

    With twice the channels outside it halves the sides. `devices.layout_for` says why few channels must not lie last.
    Source: He et al. 2016. Built in chapter 10.
    """
    stride = outside // inside
    change = nn.Sequential(nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside))
    return BasicBlock(inside, outside, stride, change if stride == 2 else None)


def resnet18(width: int = 64, classes: int = 10, channels: int = 3) -> nn.Sequential:
    """The residual network of 18 layers in its usual form for small images: (B, C, H, W) -> (B, K).

    A first convolution of 3×3 pixels that skips none, and no pooling after it; for the rest torchvision's model,
    with `width` channels in the first of four stages and twice as many in each further one.
    Source: He et al. 2016, sections 3.3 and 4.2. Built in chapter 10.
    """
    model = nn.Sequential(nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
    for inside, outside in pairwise([width, width, 2 * width, 4 * width, 8 * width]):
        model.append(residual_block(inside, outside)).append(residual_block(outside, outside))
    model.append(nn.AdaptiveAvgPool2d(1)).append(nn.Flatten())  # (B, 8·width)
    model.add_module("head", nn.Linear(8 * width, classes))
    return model
