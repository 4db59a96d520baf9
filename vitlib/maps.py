"""Attention maps of a trained ViT: what a token reads, how far a head looks, what is lost without it, and rollout.

N patches and the `prefix` tokens in front of them (class token, registers) make T tokens, so a map is (T, T): a row for
each query, a column for each key.
"""

from copy import deepcopy

import torch
from torch import Tensor, nn

from .attention import attention
from .patches import check_grid
from .vit import ViT, evaluating


def class_rows(maps: Tensor, grid: tuple[int, int], prefix: int | None = None) -> Tensor:
    """What the class token, token 0, reads of the patches, as pictures: (…, T, T) -> (…, rows, columns).

    Its attention to itself and to registers is left out, so a picture sums to less than 1. `prefix` as in
    `tokens_before`. Raises ValueError when no token stands before the patches, as with mean pooling and no registers.
    Built in chapter 12.
    """
    prefix = tokens_before(maps, grid, prefix, least=1)
    return maps[..., 0, prefix:].unflatten(-1, grid)


def patch_rows(maps: Tensor, query: int, grid: tuple[int, int], prefix: int | None = None) -> Tensor:
    """What patch `query` (numbered row by row from 0) reads of the patches: (…, T, T) -> (…, rows, columns).

    `prefix` as in `tokens_before`; those tokens are left out, as queries and as keys. Raises ValueError for a query
    outside the grid. Built in chapter 12.
    """
    prefix = tokens_before(maps, grid, prefix)
    check_query(query, grid)
    return maps[..., prefix + query, prefix:].unflatten(-1, grid)


def attention_distance(maps: Tensor, grid: tuple[int, int], patch_size: int = 1, prefix: int | None = None) -> Tensor:
    """How far each head looks, on average over queries, in pixels: (L, B, h, T, T) -> (L, B, h).

    The distance between patch centres, weighted by attention; the tokens before the patches (`prefix` as in
    `tokens_before`) are left out and the rest of each row rescaled to sum to 1.
    Source: Dosovitskiy et al. 2021, figure 7 and appendix D.7. Built in chapter 12.
    """
    prefix, (rows, columns) = tokens_before(maps, grid, prefix), grid
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    centres = torch.stack([y.flatten(), x.flatten()], dim=1) * float(patch_size)  # (N, 2)
    weights = maps[..., prefix:, prefix:]
    weights = weights / weights.sum(-1, keepdim=True)
    return (weights * torch.cdist(centres, centres).to(maps)).sum(-1).mean(-1)


def rollout(maps: Tensor, skip: float = 0.5) -> Tensor:
    """Follow attention through all layers: (L, B, h, T, T) -> (B, T, T), rows summing to 1.

    Heads are averaged, `skip` of each token is said to pass by on the skip connection, and the layers are
    multiplied, the last on the left. Raises ValueError when `skip` is not in [0, 1].
    Source: Abnar and Zuidema 2020. Built in chapter 12.
    """
    check_maps(maps)
    if not 0 <= skip <= 1:
        raise ValueError(f"skip is a share in [0, 1], got {skip}")
    total = eye = torch.eye(maps.shape[-1], dtype=maps.dtype, device=maps.device)
    for layer in maps.mean(dim=2):  # (B, T, T), first layer first
        total = (skip * eye + (1 - skip) * layer) @ total
    return total


@torch.no_grad()
def head_outputs(model: ViT, images: Tensor) -> Tensor:
    """What each head hands to the projection, its weights times its values: (B, C, H, W) -> (L, B, h, T, d).

    In evaluation mode. Built in chapter 12.
    """
    with evaluating(model):
        x, outputs = model.embed(images), []
        for block in model.blocks:
            q, k, v = block.attn.split(block.norm1(x))
            outputs.append(attention(q, k, v))
            x = block(x)
    return torch.stack(outputs)


def replace_head(model: ViT, layer: int, head: int, output: Tensor | float) -> ViT:
    """A copy in which a head, whatever it reads, hands on `output`. Layers and heads are counted from 0.

    0 is zero ablation, the head's mean over images (T, d) is mean ablation, and its output for other images (B, T, d)
    is activation patching. Raises ValueError for a head that is not there. Built in chapter 12.
    """
    check_head(model, layer, head)
    copy, d = deepcopy(model), model.config.dim // model.config.heads
    given = torch.as_tensor(output)

    def put(projection: nn.Module, inputs: tuple[Tensor]) -> Tensor:
        x = inputs[0].clone()  # (B, T, D), heads side by side; in the last layer perhaps only the tokens that are read
        x[..., head * d:(head + 1) * d] = given[..., :x.shape[1], :] if given.ndim else given
        return x

    copy.blocks[layer].attn.proj.register_forward_pre_hook(put)
    return copy


def tokens_before(maps: Tensor, grid: tuple[int, int], prefix: int | None = None, least: int = 0) -> int:
    """How many tokens stand before the grid's patches in maps (…, T, T): class token and registers.

    `prefix` is that number, `model.prefix`. Left out, it is found where it is 0 or 1; with registers it must be said,
    so that a wrong grid is noticed. Raises ValueError when maps, grid and prefix do not fit, or it is below `least`.
    """
    check_grid(grid)
    if maps.ndim < 2 or maps.shape[-1] != maps.shape[-2]:
        raise ValueError(f"expected attention maps of shape (…, T, T), got {tuple(maps.shape)}")
    (rows, columns), T = grid, maps.shape[-1]
    found = T - rows * columns
    if found != prefix and (prefix is not None or found not in (0, 1)):
        said = "0 or 1 tokens" if prefix is None else f"prefix={prefix} tokens"
        raise ValueError(f"maps over {T} tokens are not {said} and {rows}×{columns} patches; the grid is image_size // "
                         "patch_size each way, and for a model with registers say prefix=model.prefix")
    if found < least:
        raise ValueError(f"maps over {T} tokens are {rows}×{columns} patches and no class token, as with mean pooling; "
                         "patch_rows and attention_distance need none")
    return found


def check_query(query: int, grid: tuple[int, int]) -> None:
    """Raise ValueError unless `query` is the number of a patch."""
    rows, columns = grid
    if query not in range(rows * columns):
        raise ValueError(f"patch {query!r} is not one of the {rows}×{columns} patches; count row by row from 0 to "
                         f"{rows * columns - 1}")


def check_maps(maps: Tensor, gradients: Tensor | None = None) -> None:
    """Raise ValueError unless the maps are (L, B, h, T, T), and their gradients as large."""
    if maps.ndim != 5 or maps.shape[-1] != maps.shape[-2]:
        raise ValueError("expected attention maps of shape (L, B, h, T, T), as ViT.attention_maps gives, "
                         f"got {tuple(maps.shape)}")
    if gradients is not None and gradients.shape != maps.shape:
        raise ValueError(f"maps {tuple(maps.shape)} need gradients of the same shape, got {tuple(gradients.shape)}; "
                         "attention_gradients gives both")


def check_head(model: ViT, layer: int, head: int) -> None:
    """Raise ValueError unless the model has the head."""
    L, h = model.config.depth, model.config.heads
    if not (0 <= layer < L and 0 <= head < h):
        raise ValueError(f"there is no head {head} in layer {layer}; the model has {L} layers of {h} heads")
