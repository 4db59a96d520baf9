"""Ask a trained ViT which patches its answer came from, by gradients, by painting over and by leaving out."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn import functional as F

from .maps import check_maps, class_rows, rollout
from .vit import ViT, evaluating


def gradient_rollout(maps: Tensor, gradients: Tensor) -> Tensor:
    """Rollout of what raised the class: (L, B, h, T, T) twice -> (B, T, T), rows summing to 1.

    Weights count where their gradient is positive; a token that has none keeps only itself.
    Source: Gildenblat 2020, "Exploring explainability for vision transformers", which averages the heads before it
    leaves out the negative. Built in chapter 13.
    """
    check_maps(maps, gradients)
    total = eye = torch.eye(maps.shape[-1], dtype=maps.dtype, device=maps.device)
    for layer in (maps * gradients).clamp(min=0).mean(dim=2):  # (B, T, T), first layer first
        mixed = eye + layer
        total = mixed / mixed.sum(-1, keepdim=True) @ total
    return total


def class_relevance(maps: Tensor, gradients: Tensor) -> Tensor:
    """How much of each input token's content speaks for the class: (L, B, h, T, T) twice -> (B, T, T).

    R starts as the identity, and each layer adds mean over heads of (gradient · attention)⁺ times R.
    Source: Chefer, Gur and Wolf 2021, "Generic attention-model explainability", equations 5 and 6.
    Built in chapter 13.
    """
    check_maps(maps, gradients)
    total = torch.eye(maps.shape[-1], dtype=maps.dtype, device=maps.device)
    for layer in (maps * gradients).clamp(min=0).mean(dim=2):
        total = total + layer @ total
    return total


def attention_gradients(model: ViT, images: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    """Attention maps and the gradient of each image's class logit by them, (L, B, h, T, T) each.

    In evaluation mode, and also where gradients are switched off. Built in chapter 13.
    """
    with differentiable(model):
        x, maps = model.embed(images.clone()).detach().requires_grad_(), []  # so that frozen weights do as well
        for block in model.blocks:
            x, weights = block(x, need_weights=True)  # the weights that x is made from, not a copy
            maps.append(weights)
        gradients = torch.autograd.grad(class_logit(model.classify(model.norm(x)), classes).sum(), maps)
    return torch.stack(maps).detach(), torch.stack(gradients)  # both with the first layer first


def class_logit(logits: Tensor, classes: Tensor) -> Tensor:
    """The logit of one class for each image: (B, K), (B,) -> (B,).

    Raises ValueError for classes of another shape or dtype, or out of range. Built in chapter 13.
    """
    check_classes(logits, classes)
    return logits.gather(1, classes[:, None].clone())[:, 0]


def input_gradient(model: ViT, images: Tensor, classes: Tensor) -> Tensor:
    """How strongly the class logit answers to a pixel, the mean of each patch: (B, C, H, W) -> (B, rows, columns).

    In evaluation mode, and also where gradients are switched off. Source: Simonyan et al. 2014. Built in chapter 13.
    """
    with differentiable(model):
        images = images.detach().clone().requires_grad_()
        slope, = torch.autograd.grad(class_logit(model(images), classes).sum(), images)
    return F.avg_pool2d(slope.abs().sum(dim=1, keepdim=True), model.config.patch_size)[:, 0]


def fills(images: Tensor) -> dict[str, Tensor]:
    """What can be painted over a patch to take it away: (B, C, H, W) -> as many, by name.

    Raises ValueError for images of less than 8×8 pixels. Built in chapter 13.
    """
    check_blur(images)
    return {"mean colour": images.mean(dim=(-2, -1), keepdim=True).expand_as(images),
            "blur": F.avg_pool2d(F.pad(images, (7, 7, 7, 7), mode="reflect"), 15, stride=1)}


@torch.no_grad()
def occlusion(model: ViT, images: Tensor, classes: Tensor, fill: Tensor) -> Tensor:
    """How far the class logit falls when one patch is painted over: (B, C, H, W) -> (B, rows, columns).

    `fill` (B, C, H, W) is what to paint. In evaluation mode. Raises ValueError for a fill of another shape.
    Source: Zeiler and Fergus 2014, section 4.2. Built in chapter 13.
    """
    check_fill(images, fill)
    P = model.config.patch_size
    rows, columns = images.shape[-2] // P, images.shape[-1] // P
    fall = images.new_empty(len(images), rows, columns)
    with evaluating(model):
        before = class_logit(model(images), classes)
        for r in range(rows):
            for c in range(columns):
                painted = images.clone()
                painted[..., r * P:(r + 1) * P, c * P:(c + 1) * P] = fill[..., r * P:(r + 1) * P, c * P:(c + 1) * P]
                fall[:, r, c] = before - class_logit(model(painted), classes)
    return fall


@torch.no_grad()
def token_dropping(model: ViT, images: Tensor, classes: Tensor) -> Tensor:
    """How far the class logit falls when one patch's token is left out: (B, C, H, W) -> (B, rows, columns).

    Nothing is painted, so no fill has to be chosen: a ViT can read fewer tokens. In evaluation mode. Raises ValueError
    for a model of one patch. Built in chapter 13.
    """
    check_droppable(model)
    fall = []
    with evaluating(model):
        x = model.embed(images)  # (B, T, D)
        before = class_logit(model.classify(model.encode(x)), classes)
        for n in range(model.prefix, x.shape[1]):
            rest = torch.cat([x[:, :n], x[:, n + 1:]], dim=1)
            fall.append(before - class_logit(model.classify(model.encode(rest)), classes))
    return torch.stack(fall, dim=1).unflatten(1, (images.shape[-2] // model.config.patch_size, -1))


def pictures(model: ViT, images: Tensor, classes: Tensor) -> dict[str, Tensor]:
    """Every method's answer to "which patches mattered for this class?": (B, rows, columns) for each name.

    In evaluation mode. Raises ValueError for a model without a class token. Built in chapter 13.
    """
    check_class_token(model)
    maps, gradients = attention_gradients(model, images, classes)  # (L, B, h, T, T) each
    grid = tuple(side // model.config.patch_size for side in images.shape[-2:])

    def read(maps: Tensor) -> Tensor:
        return class_rows(maps, grid, model.prefix)

    rows = read(maps)  # (L, B, h, rows, columns)
    return {"last layer": rows[-1].mean(dim=1), "all layers": rows.mean(dim=(0, 2)),
            "rollout": read(rollout(maps)),
            "gradient rollout": read(gradient_rollout(maps, gradients)),
            "class relevance": read(class_relevance(maps, gradients)),
            "input gradient": input_gradient(model, images, classes),
            "occlusion": occlusion(model, images, classes, fills(images)["mean colour"]),
            "token dropping": token_dropping(model, images, classes)}


def check_classes(logits: Tensor, classes: Tensor) -> None:
    """Raise ValueError unless there is one class, a whole number below K, for each row of the logits (B, K)."""
    B, K = logits.shape
    if classes.shape != (B,) or classes.dtype != torch.int64:
        raise ValueError(f"{B} images need classes of shape ({B},) in int64, got {tuple(classes.shape)} in "
                         f"{classes.dtype}; logits.argmax(dim=1) gives the predicted ones")
    if B and not 0 <= classes.min() <= classes.max() < K:
        raise ValueError(f"classes run from {classes.min()} to {classes.max()}, and the model tells 0 to {K - 1} apart")


@contextmanager
def differentiable(model: ViT) -> Iterator[None]:
    """Evaluation mode with gradients, also under `torch.no_grad` and `torch.inference_mode`.

    Raises ValueError for a model made under `torch.inference_mode`: its weights can have none. Inside, inputs must be
    clones, because tensors made under it can have none either.
    """
    if any(parameter.is_inference() for parameter in model.parameters()):
        raise ValueError("the model was made under torch.inference_mode, so its weights let no gradient through; "
                         "build or load it outside, and keep torch.inference_mode for calling it")
    with evaluating(model), torch.inference_mode(False), torch.enable_grad():
        yield


def check_class_token(model: ViT) -> None:
    """Raise ValueError for a model whose answer is not read from a class token."""
    if model.config.pool in ("mean", "sequence"):
        raise ValueError("pictures draws what the class token reads, and this model has none, as with "
                         f"pool={model.config.pool!r}; input_gradient, occlusion and token_dropping do without")


def check_blur(images: Tensor) -> None:
    """Raise ValueError unless the images are (B, C, H, W) and large enough for a blur of 15 pixels."""
    if images.ndim != 4 or min(images.shape[-2:]) < 8:
        raise ValueError(f"fills wants images (B, C, H, W) of 8×8 pixels or more, got {tuple(images.shape)}; "
                         "the blur mirrors 7 pixels beyond each side")


def check_fill(images: Tensor, fill: Tensor) -> None:
    """Raise ValueError unless the fill is one for each image, and as large."""
    if fill.shape != images.shape:
        raise ValueError(f"the fill must have the images' shape {tuple(images.shape)}, got {tuple(fill.shape)}; "
                         "one colour needs fill.expand_as(images)")


def check_droppable(model: ViT) -> None:
    """Raise ValueError for a model of one patch."""
    if model.patch_embed.num_patches < 2:
        raise ValueError("the model cuts an image into one patch: without it nothing is left to read; "
                         "build it with a smaller patch_size")
