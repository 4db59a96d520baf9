"""Training mode, and what of a model stays as it is in it. (Evaluation mode is `vit.evaluating`.)"""

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from .vit import ViT


def training_mode(model: nn.Module, calm: bool = False) -> None:
    """`model.train()`, except that a batch norm whose parameters are all frozen keeps its statistics too.

    In calm epochs a ViT, wherever it stands in the model, leaves out no patches.
    """
    model.train()
    for part in model.modules():
        if isinstance(part, _BatchNorm) and is_frozen(part):
            part.eval()
        if isinstance(part, ViT):
            part.patch_drop.rate = 0.0 if calm else part.config.patch_drop


def is_frozen(part: nn.Module) -> bool:
    """Whether a module has parameters of its own, none of which may change."""
    own = list(part.parameters(recurse=False))
    return bool(own) and not any(p.requires_grad for p in own)
