"""What may stand in front of the encoder in place of one cut: stacks of convolutions."""

from itertools import pairwise

from torch import nn

from .patches import PatchEmbed
from .resnet import residual_block


class ConvStem(PatchEmbed):
    """A stack of small convolutions in place of one cut: (B, C, H, W) -> (B, N, D), as PatchEmbed gives.

    Each 3×3 convolution halves the sides, until P pixels have become one token; neighbouring tokens share pixels.
    Raises ValueError when P is no power of 2, and as PatchEmbed does.
    Source: Xiao et al. 2021, "Early convolutions help transformers see better". Built in chapter 10.
    """

    def __init__(self, image_size: int, patch_size: int, channels: int, dim: int):
        super().__init__(image_size, patch_size, channels, dim)
        halvings = patch_size.bit_length() - 1
        if patch_size != 2**halvings:
            raise ValueError(f"a stem halves the sides: patch_size must be a power of 2, got {patch_size}")
        layers: list[nn.Module] = []
        for left in reversed(range(halvings)):
            width = dim // 2**left  # half as many pixels each way, twice as many channels
            layers += [nn.Conv2d(channels, width, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(width), nn.GELU()]
            channels = width
        self.proj = nn.Sequential(*layers, nn.Conv2d(channels, dim, kernel_size=1))


class ResidualStem(ConvStem):
    """A convolutional stem whose first convolution is followed by residual blocks; all but the first halve the sides.

    Shapes and errors are ConvStem's. Source: Dosovitskiy et al. 2021, section 3.1 (hybrids). Built in chapter 10.
    """

    def __init__(self, image_size: int, patch_size: int, channels: int, dim: int):
        super().__init__(image_size, patch_size, channels, dim)
        widths = [layer.num_features for layer in self.proj if isinstance(layer, nn.BatchNorm2d)]
        steps = pairwise(widths[:1] + widths)  # (w0, w0), (w0, w1), …: the first block keeps its input's shape
        blocks = [residual_block(inside, outside) for inside, outside in steps]
        first, last = self.proj[:-1][:3], self.proj[-1]  # convolution, BatchNorm, GELU (none if P = 1); the 1×1
        self.proj = nn.Sequential(*first, *blocks, last)


class PooledStem(ConvStem):
    """The tokeniser of the compact convolutional transformer: (B, C, H, W) -> (B, N, D).

    Each 3×3 convolution keeps the sides, ReLU follows, and a maximum over 3×3 pixels halves them. The first of several
    has 64 channels. Shapes and errors are ConvStem's.
    Source: Hassani et al. 2021, "Escaping the big data paradigm with compact transformers", section 3.1.3.
    Built in chapter 18.
    """

    def __init__(self, image_size: int, patch_size: int, channels: int, dim: int):
        super().__init__(image_size, patch_size, channels, dim)
        halvings, layers = patch_size.bit_length() - 1, []
        if not halvings:
            raise ValueError("a pooled stem halves the sides at least once: patch_size must be 2 or more, got 1")
        for inside, outside in pairwise([channels] + [64] * (halvings - 1) + [dim]):
            layers += [nn.Conv2d(inside, outside, 3, padding=1, bias=False), nn.ReLU(), nn.MaxPool2d(3, 2, padding=1)]
        self.proj = nn.Sequential(*layers)


STEMS = {"patch": PatchEmbed, "conv": ConvStem, "residual": ResidualStem, "pooled": PooledStem}
