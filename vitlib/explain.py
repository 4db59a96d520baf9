"""Look inside a trained ViT: attention maps, what sums them up, and what asks the model itself what mattered."""

from copy import deepcopy

import torch
from torch import Tensor
from torch.nn import functional as F

from .vit import ViT


def class_rows(maps: Tensor, grid: tuple[int, int]) -> Tensor:
    """What the class token reads, as pictures: (…, 1+N, 1+N) -> (…, rows, columns).

    The token's attention to itself is left out, so a picture sums to less than 1.
    Raises ValueError when the maps do not hold one class token and the grid's patches. Built in chapter 12.
    """
    rows, columns = grid
    if maps.shape[-2:] != (1 + rows * columns,) * 2:
        raise ValueError(f"maps of shape {tuple(maps.shape)} are not over a class token and {rows}×{columns} patches; "
                         "a model with mean pooling has no class token")
    return maps[..., 0, 1:].unflatten(-1, grid)


def patch_rows(maps: Tensor, query: int, grid: tuple[int, int]) -> Tensor:
    """What patch `query` (numbered row by row from 0) reads: (L, B, h, N, N) -> (L, B, h, rows, columns).

    A class token is left out, as reader and as read. Raises ValueError for a query outside the grid.
    Built in chapter 12.
    """
    prefix = tokens_before(maps, grid)
    if not 0 <= query < grid[0] * grid[1]:
        raise ValueError(f"patch {query} is not one of the {grid[0]}×{grid[1]} patches; count row by row from 0")
    return maps[..., prefix + query, prefix:].unflatten(-1, grid)


def attention_distance(maps: Tensor, grid: tuple[int, int], patch_size: int = 1) -> Tensor:
    """How far each head looks, on average over queries, in pixels: (L, B, h, N, N) -> (L, B, h).

    The distance between patch centres, weighted by attention; a class token is left out and the rest of each
    row rescaled to sum to 1. Source: Dosovitskiy et al. 2021, figure 7 and appendix D.7. Built in chapter 12.
    """
    prefix, (rows, columns) = tokens_before(maps, grid), grid
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    centres = torch.stack([y.flatten(), x.flatten()], dim=1) * float(patch_size)  # (N, 2)
    weights = maps[..., prefix:, prefix:]
    weights = weights / weights.sum(-1, keepdim=True)
    return (weights * torch.cdist(centres, centres).to(maps)).sum(-1).mean(-1)


def rollout(maps: Tensor, residual: float = 0.5) -> Tensor:
    """Follow attention through all layers: (L, B, h, N, N) -> (B, N, N), rows summing to 1.

    Heads are averaged, `residual` of each token is said to pass by on the skip connection, and the layers are
    multiplied, the last on the left. Raises ValueError when residual is not in [0, 1].
    Source: Abnar and Zuidema 2020. Built in chapter 12.
    """
    check_maps(maps)
    if not 0 <= residual <= 1:
        raise ValueError(f"residual is a share in [0, 1], got {residual}")
    total = eye = torch.eye(maps.shape[-1], dtype=maps.dtype, device=maps.device)
    for layer in maps.mean(dim=2):  # (B, N, N), first layer first
        total = (residual * eye + (1 - residual) * layer) @ total
    return total


def gradient_rollout(maps: Tensor, gradients: Tensor) -> Tensor:
    """Rollout of what raised the class: (L, B, h, N, N) twice -> (B, N, N), rows summing to 1.

    Weights count where their gradient is positive; a token that has none keeps only itself.
    Source: Gildenblat 2020, "Exploring explainability for vision transformers", which averages the heads before it
    leaves out the negative. Built in chapter 13.
    """
    check_maps(maps)
    total = eye = torch.eye(maps.shape[-1], dtype=maps.dtype, device=maps.device)
    for layer in (maps * gradients).clamp(min=0).mean(dim=2):  # (B, N, N), first layer first
        mixed = eye + layer
        total = mixed / mixed.sum(-1, keepdim=True) @ total
    return total


def class_relevance(maps: Tensor, gradients: Tensor) -> Tensor:
    """How much of each input token's content speaks for the class: (L, B, h, N, N) twice -> (B, N, N).

    R starts as the identity, and each layer adds mean over heads of (gradient · attention)⁺ times R.
    Source: Chefer, Gur and Wolf 2021, "Generic attention-model explainability", equations 5 and 6.
    Built in chapter 13.
    """
    check_maps(maps)
    total = torch.eye(maps.shape[-1], dtype=maps.dtype, device=maps.device)
    for layer in (maps * gradients).clamp(min=0).mean(dim=2):
        total = total + layer @ total
    return total


def attention_gradients(model: ViT, images: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    """Attention maps and the gradient of each image's class logit by them, (L, B, h, N, N) each.

    Built in chapter 13.
    """
    x, maps = model.embed(images).detach().requires_grad_(), []  # so that frozen weights do as well
    for block in model.blocks:
        x, weights = block(x, need_weights=True)  # the weights that x is made from, not a copy
        maps.append(weights)
    gradients = torch.autograd.grad(class_logit(model.classify(model.norm(x)), classes).sum(), maps)
    return torch.stack(maps).detach(), torch.stack(gradients)  # both with the first layer first


def class_logit(logits: Tensor, classes: Tensor) -> Tensor:
    """The logit of one class for each image: (B, K), (B,) -> (B,). Built in chapter 13."""
    return logits.gather(1, classes[:, None])[:, 0]


def input_gradient(model: ViT, images: Tensor, classes: Tensor) -> Tensor:
    """How strongly the class logit answers to a pixel, the mean of each patch: (B, C, H, W) -> (B, rows, columns).

    Source: Simonyan et al. 2014. Built in chapter 13.
    """
    images = images.detach().requires_grad_()
    slope, = torch.autograd.grad(class_logit(model(images), classes).sum(), images)
    return F.avg_pool2d(slope.abs().sum(dim=1), model.config.patch_size)


def fills(images: Tensor) -> dict[str, Tensor]:
    """What can be painted over a patch to take it away: (B, C, H, W) -> as many, by name. Built in chapter 13."""
    return {"mean colour": images.mean(dim=(-2, -1), keepdim=True).expand_as(images),
            "blur": F.avg_pool2d(F.pad(images, (7, 7, 7, 7), mode="reflect"), 15, stride=1)}


@torch.no_grad()
def occlusion(model: ViT, images: Tensor, classes: Tensor, fill: Tensor) -> Tensor:
    """How far the class logit falls when one patch is painted over: (B, C, H, W) -> (B, rows, columns).

    `fill` (B, C, H, W) is what to paint. Source: Zeiler and Fergus 2014, section 4.2. Built in chapter 13.
    """
    P = model.config.patch_size
    rows, columns = images.shape[-2] // P, images.shape[-1] // P
    before = class_logit(model(images), classes)
    fall = images.new_empty(len(images), rows, columns)
    for r in range(rows):
        for c in range(columns):
            painted = images.clone()
            painted[..., r * P:(r + 1) * P, c * P:(c + 1) * P] = fill[..., r * P:(r + 1) * P, c * P:(c + 1) * P]
            fall[:, r, c] = before - class_logit(model(painted), classes)
    return fall


@torch.no_grad()
def token_dropping(model: ViT, images: Tensor, classes: Tensor) -> Tensor:
    """How far the class logit falls when one patch's token is left out: (B, C, H, W) -> (B, rows, columns).

    Nothing is painted, so no fill has to be chosen: a ViT can read fewer tokens. Built in chapter 13.
    """
    x = model.embed(images)  # (B, prefix+N, D)
    before = class_logit(model.classify(model.encode(x)), classes)
    fall = []
    for n in range(model.prefix, x.shape[1]):
        rest = torch.cat([x[:, :n], x[:, n + 1:]], dim=1)
        fall.append(before - class_logit(model.classify(model.encode(rest)), classes))
    return torch.stack(fall, dim=1).unflatten(1, (images.shape[-2] // model.config.patch_size, -1))


def pictures(model: ViT, images: Tensor, classes: Tensor) -> dict[str, Tensor]:
    """Every method's answer to "which patches mattered for this class?": (B, rows, columns) for each name.

    Raises ValueError for a model without a class token, or with registers. Built in chapter 13.
    """
    if model.prefix != 1 or model.cls_token is None:
        raise ValueError(f"pictures needs a class token and no registers, got pool={model.config.pool!r} and "
                         f"{model.config.registers} registers; input_gradient, occlusion, token_dropping need neither")
    maps, gradients = attention_gradients(model, images, classes)  # (L, B, h, 1+N, 1+N) each
    grid = tuple(side // model.config.patch_size for side in images.shape[-2:])
    rows = class_rows(maps, grid)  # (L, B, h, rows, columns)
    return {"last layer": rows[-1].mean(dim=1), "all layers": rows.mean(dim=(0, 2)),
            "rollout": class_rows(rollout(maps), grid),
            "gradient rollout": class_rows(gradient_rollout(maps, gradients), grid),
            "class relevance": class_rows(class_relevance(maps, gradients), grid),
            "input gradient": input_gradient(model, images, classes),
            "occlusion": occlusion(model, images, classes, fills(images)["mean colour"]),
            "token dropping": token_dropping(model, images, classes)}


def without_head(model: ViT, layer: int, head: int) -> ViT:
    """A copy whose head says nothing: its values are zero. Layers and heads are counted from 0.

    Raises ValueError for a head that is not there. Source: Michel et al. 2019. Built in chapter 12.
    """
    c = model.config
    if not (0 <= layer < c.depth and 0 <= head < c.heads):
        raise ValueError(f"there is no head {head} in layer {layer}; the model has {c.depth} layers of {c.heads} heads")
    copy, d = deepcopy(model), c.dim // c.heads
    for parameter in copy.blocks[layer].attn.qkv.parameters():  # it stacks queries, keys, values
        parameter.data[2 * c.dim + head * d:][:d] = 0
    return copy


def tokens_before(maps: Tensor, grid: tuple[int, int]) -> int:
    """How many tokens stand before the grid's patches, 0 or 1.

    Raises ValueError when maps and grid do not fit. Built in chapter 12.
    """
    check_maps(maps)
    prefix = maps.shape[-1] - grid[0] * grid[1]
    if prefix not in (0, 1):
        raise ValueError(f"maps over {maps.shape[-1]} tokens do not hold {grid[0]}×{grid[1]} patches, with or without "
                         "a class token; the grid is image_size // patch_size each way")
    return prefix


def check_maps(maps: Tensor) -> None:
    """Raise ValueError unless the maps are (L, B, h, N, N). Built in chapter 12."""
    if maps.ndim != 5 or maps.shape[-1] != maps.shape[-2]:
        raise ValueError("expected attention maps of shape (L, B, h, N, N), as ViT.attention_maps gives, "
                         f"got {tuple(maps.shape)}")
