"""Images, weights and configurations that no ViT can have, refused in words that name the fix."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from .settings import check_types
from .stems import STEMS


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


def check_config(c) -> None:
    """Raise ValueError for a value that no ViT can have."""
    check_types(c)
    for name, known in (("stem", STEMS), ("pool", ("cls", "mean", "sequence", "distilled")),
                        ("positions", ("learned", "sincos", "rope", "none"))):
        if getattr(c, name) not in known:
            raise ValueError(f"{name}={getattr(c, name)!r} is not one of {', '.join(known)}")
    for name in ("image_size", "patch_size", "channels", "dim", "depth", "heads", "mlp_ratio", "norm_eps"):
        if getattr(c, name) <= 0:
            raise ValueError(f"{name} must be positive, got {getattr(c, name)}")
    if c.dim * c.mlp_ratio < 1:
        raise ValueError(f"mlp_ratio {c.mlp_ratio} leaves no width to an MLP of dim {c.dim}; use 1 / dim or more")
    for name in ("classes", "registers", "layer_scale"):
        if getattr(c, name) < 0:
            raise ValueError(f"{name} must be 0 (none) or more, got {getattr(c, name)}")
    for name in ("fc_norm", "keep_cls"):
        if getattr(c, name) and c.pool != "mean":
            raise ValueError(f"{name}=True belongs to pool='mean', got pool={c.pool!r}")
    if c.positions == "rope" and c.patch_drop:
        raise ValueError(f"positions='rope' turns each patch by its place, which patch_drop={c.patch_drop} would mix "
                         "up; use patch_drop=0, or positions that are added to the tokens")
    for name in ("dropout", "drop_path", "patch_drop"):
        if not 0 <= getattr(c, name) < 1:
            raise ValueError(f"{name} is a probability in [0, 1), got {getattr(c, name)}")
