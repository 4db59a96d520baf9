"""Images and weights that a ViT cannot read, refused in words that name the fix."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn


def check_images(images: Tensor, weight: Tensor) -> None:
    """Raise ValueError unless the images are a float batch of rank 4, of the weight's dtype and on its device."""
    if not isinstance(images, Tensor):
        raise ValueError(f"a ViT reads a tensor, got {type(images).__name__}; torch.from_numpy makes one of an array")
    if images.ndim != 4:
        raise ValueError(f"a ViT reads images of shape (B, C, H, W), got {tuple(images.shape)}; "
                         "add the batch axis of a single image with images[None]")
    if not images.is_floating_point():
        raise ValueError(f"a ViT reads normalised floats, got {images.dtype}; call vitlib.data.normalise(images) first")
    if images.device != weight.device:
        raise ValueError(f"the images are on {images.device}, the model is on {weight.device}; "
                         f"call images.to({str(weight.device)!r})")
    if images.dtype != weight.dtype and not torch.is_autocast_enabled(images.device.type):
        raise ValueError(f"the images are {images.dtype}, the weights {weight.dtype}; "
                         f"call images.to({weight.dtype})")


def check_shapes(model: nn.Module, state: Mapping[str, Tensor], strict: bool) -> None:
    """Raise ValueError for the first tensor of `state` that has another shape than the model's.

    Where a strict load fails for its names, they are the cause: PyTorch names them, and the shapes as well.
    """
    own = model.state_dict()
    if strict and own.keys() != state.keys():
        return
    fixes = {"pos_embed": "image size, patch size or the tokens before the patches differ: build the model for them, "
                          "or stretch the codes with vitlib.positions.interpolate_positions",
             "head": "the number of classes differs: build the model with that of the weights, or train a new head: "
                     "leave head.weight and head.bias out and load with strict=False"}
    for name, here in own.items():
        if name in state and state[name].shape != here.shape:
            fix = fixes.get(name.split(".")[0], "the configurations differ: build the model with that of the weights")
            raise ValueError(f"{name} is {tuple(state[name].shape)} in the weights and {tuple(here.shape)} in the "
                             f"model; {fix}")
