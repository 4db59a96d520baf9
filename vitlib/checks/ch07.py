"""Checkers of chapter 7."""

import dataclasses
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

from ..checkpoint import load_zoo
from ..data import normalise
from ..shapes import shapes
from ..vit import ViT, ViTConfig
from . import exercise, right, wrong
from .evidence import weigh

TINY = ViTConfig(image_size=8, patch_size=4, dim=16, depth=2, heads=2)


@exercise
def exercise_1(more):
    mistakes = {
        0: "No block depends on the number of patches, but one part has a row for each token.",
        576 * 768: "That is a position for each patch of the larger image; the smaller one has 196 of them already.",
        577 * 768: "Those are all positions of the larger image, with the class token's; the smaller one has 197 of them already.",
        380: "So many patches more, and each has a position embedding of width 768.",
        (384**2 - 224**2) * 768: "That is a position for each pixel: there is one for each patch of 16 by 16.",
    }
    if more in mistakes:
        return wrong(mistakes[more])
    if more != (576 - 196) * 768:
        return wrong(f"{more} is not what the position embeddings of 576 patches have more than those of 196.")
    return right("291,840: 380 position embeddings of width 768, and nothing else.")


@exercise
def exercise_2(patch_features):
    images = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    for pool, registers in (("cls", 0), ("mean", 0), ("cls", 2)):
        model = ViT(dataclasses.replace(TINY, pool=pool, registers=registers)).eval()
        for p in model.parameters():
            torch.nn.init.normal_(p, std=0.3)
        with torch.no_grad():
            tokens, out = model.features(images), patch_features(model, images)
            if out.shape != (3, 16):
                return wrong(f"The result has shape {tuple(out.shape)}; one vector of width D an image is (3, 16).")
            if pool == "cls" and torch.allclose(out, tokens.mean(1), atol=1e-5):
                return wrong("The class token is in the mean: leave the first model.prefix tokens out.")
            if pool == "cls" and torch.allclose(out, tokens[:, 0], atol=1e-5):
                return wrong("That is the class token itself, not the mean of the patches.")
            if pool == "mean" and torch.allclose(out, tokens[:, 1:].mean(1), atol=1e-5):
                return wrong("Without a class token the first token is a patch, and you left it out: use model.prefix.")
            if registers and torch.allclose(out, tokens[:, 1:].mean(1), atol=1e-5):
                return wrong("With registers, they are in the mean: leave the first model.prefix tokens out, not only the class token.")
            if not torch.allclose(out, tokens[:, model.prefix:].mean(1), atol=1e-5):
                return wrong("These are not the means of model.features: they come after the last norm, and before the head.")
    return right("The mean of the patches, with and without a class token, and with registers.")


@exercise
def exercise_3(third):
    answer = str(third).strip().lower()
    if answer == "query":
        return wrong("A vector added to all queries adds b · k to each score, a different number for each key: the softmax sees it.")
    if answer == "value":
        return wrong("A vector added to all values is added to every output, because the weights sum to 1: the loss sees it.")
    if answer not in ("key", "keys"):
        return wrong(f"Answer query, key or value, not {third!r}.")
    return right("The keys: what is added to a whole row of scores cancels in the softmax.")


@exercise
def exercise_4(count_mean_pool):
    for change in ({}, {"dim": 32, "depth": 3}, {"patch_size": 2, "mlp_ratio": 2.0, "classes": 7}):
        c = dataclasses.replace(TINY, pool="mean", positions="sincos", **change)
        true = sum(p.numel() for p in ViT(c).parameters() if p.requires_grad)
        N, found = (c.image_size // c.patch_size) ** 2, count_mean_pool(c)
        mistakes = {
            true + c.dim: "One D too many: the class token, or its position code, is still counted.",
            true + c.dim + (1 + N) * c.dim: "Nothing was left out: a model with mean pooling has no class token, and sin-cos codes are not trained.",
            true + N * c.dim: "The codes are there, but fixed: they are not trained.",
            true + (1 + N) * c.dim: "The codes are there, but fixed, and without a class token there is one less.",
            true - c.dim: "One D too few: there is no class token, so no token and no code of it to take off twice.",
        }
        if found in mistakes:
            return wrong(mistakes[found])
        if found != true:
            return wrong(f"For {c.dim=}, {c.depth=}, {c.patch_size=} you count {found}, the model has {true} trained parameters.")
    return right("The same count as the model's, for three configurations.")


@exercise
def exercise_5(claim, evidence, trial):
    verdict = weigh(claim, evidence, more="0.02", less="PyTorch's", between=(0, 10), unit=" nats")
    if not verdict.right:
        return verdict
    again, said = trial("0.02", 0, shapes(2000, seed=1), shapes(1000, seed=3)), float(evidence["0.02"][0])
    if abs(again - said) > 0.1:
        return wrong(f"Seed 0 with 0.02 gives {again:.3f} when it is run again, and your first number is {said:.3f}. Collect what "
                     "trial returns for the two sets above, with the seeds from 0 on.")
    return verdict


@cache
def stage() -> tuple[dict[str, Tensor], Tensor, dict[str, Tensor]]:
    """The weights of a small ViT, all random, images for it, and what its three steps make of them."""
    c = ViTConfig(image_size=12, patch_size=4, dim=16, depth=3, heads=2, classes=5)  # T = 10
    g = torch.Generator().manual_seed(0)
    model = ViT(c).double().eval()
    for p in model.parameters():
        p.data = 0.3 * torch.randn(p.shape, generator=g, dtype=torch.float64)
    images = torch.randn(4, 3, 12, 12, generator=g, dtype=torch.float64)
    with torch.no_grad():
        x = model.embed(images)
        return model.state_dict(), images, {"embed": x, "encode": model.encode(x)}


def same(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and torch.allclose(a.double(), b, atol=1e-7)


@exercise
def exercise_6(embed_images):
    weights, images, true = stage()
    out, x, position = embed_images(dict(weights), images), true["embed"], weights["pos_embed"]
    if out.shape == (4, 9, 16):
        return wrong("There are 9 tokens, one for each patch; the class token is missing.")
    if out.shape != x.shape:
        return wrong(f"The tokens have shape {tuple(out.shape)}; four images of 9 patches, with the class token, are (4, 10, 16).")
    cls = weights["cls_token"].expand(4, -1, -1)
    patches = x[:, 1:] - position[:, 1:]
    mistakes = {
        "These are the tokens without positions: add pos_embed.": torch.cat([cls, patches], 1),
        "The class token has no position embedding here: add pos_embed after it was put in front.":
            torch.cat([cls, x[:, 1:]], 1),
        "The class token stands behind the patches; it comes first.": torch.cat([patches, cls], 1) + position,
        "The bias of the projection is missing.":
            torch.cat([cls, patches - weights["patch_embed.proj.bias"]], 1) + position,
    }
    for message, mistake in mistakes.items():
        if same(out, mistake):
            return wrong(message)
    if not same(out, x):
        return wrong("The shape is right, the numbers are not: is a patch flattened channel first, and are the axes (B, N, D) "
                     "transposed rather than reshaped?")
    return right("The same tokens as model.embed, from four tensors.")


def encoded(weights: dict[str, Tensor], x: Tensor, heads: int = 2, eps: float = 1e-6, act=F.gelu, scaled: bool = True,
            depth: int = 3, last: bool = True, skip: bool = True, transposed: bool = True) -> Tensor:
    """The encoder in the open, with switches for what can go wrong in it."""
    def linear(name: str, x: Tensor) -> Tensor:
        return F.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])

    def norm(name: str, x: Tensor) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"], eps)

    for b in (f"blocks.{n}" for n in range(depth)):
        q, k, v = linear(f"{b}.attn.qkv", norm(f"{b}.norm1", x)).unflatten(2, (3, heads, -1)).permute(2, 0, 3, 1, 4)
        y = (q @ k.transpose(-2, -1) / (q.shape[-1] ** 0.5 if scaled else 1)).softmax(dim=-1) @ v
        y = y.transpose(1, 2).flatten(2) if transposed else y.reshape(x.shape)
        x = skip * x + linear(f"{b}.attn.proj", y)
        x = skip * x + linear(f"{b}.mlp.fc2", act(linear(f"{b}.mlp.fc1", norm(f"{b}.norm2", x))))
    return norm("norm", x) if last else x


@exercise
def exercise_7(encode_tokens):
    weights, _, true = stage()
    x, z = true["embed"], true["encode"]
    out = encode_tokens(dict(weights), x.clone(), 2)
    if out.shape != z.shape:
        return wrong(f"The result has shape {tuple(out.shape)}; an encoder keeps that of its tokens, {tuple(z.shape)}.")
    mistakes = {
        "The last norm is missing.": {"last": False},
        "The skip connections are missing: each branch is added to its input.": {"skip": False},
        "The scores are not divided by the root of the heads' width d.": {"scaled": False},
        "There is one head of full width; split the columns into heads.": {"heads": 1},
        "The heads were merged without turning them back: transpose(1, 2) before flatten(2).": {"transposed": False},
        "The MLP's activation is GELU, and yours is ReLU.": {"act": F.relu},
        "That is the first block only, and then the norm: the model has as many as its names say.": {"depth": 1},
        "The layer norms add 1e-6 to the variance; yours add PyTorch's usual 1e-5.": {"eps": 1e-5},
    }
    for message, fault in mistakes.items():
        if torch.allclose(out, encoded(weights, x, **fault), atol=1e-9):
            return wrong(message)
    if not torch.allclose(out, z, atol=1e-9):
        return wrong("The shape is right, the numbers are not. Compare step by step with model.blocks[0]: norm1, attn, the "
                     "addition, norm2, mlp, the addition.")
    return right("The same tokens as model.encode, to nine digits.")


@exercise
def exercise_8(classify_images):
    model, _ = load_zoo("shapes-tiny")
    images = normalise(shapes(20, seed=7).images)
    with torch.no_grad():
        out, tokens = classify_images(model.state_dict(), images, 4), model.features(images)
        if out.shape != (20, 10):
            return wrong(f"The result has shape {tuple(out.shape)}; 20 images and ten classes are (20, 10).")
        true = model.head(tokens[:, 0])
        if torch.allclose(out, true, atol=1e-4):
            return wrong("These are the logits; a softmax over the classes makes probabilities of them.")
        if torch.allclose(out, true.softmax(0), atol=1e-4):
            return wrong("Each column sums to 1, so the softmax ran over the images: the classes are dim=1.")
        for message, read in (("the mean of all tokens", tokens.mean(1)), ("the last patch, x[:, -1]", tokens[:, -1])):
            if torch.allclose(out, model.head(read).softmax(1), atol=1e-4):
                return wrong(f"You read {message}; this model's head reads the class token.")
    if not torch.allclose(out, true.softmax(1), atol=1e-4):
        return wrong("These are not the model's probabilities, though embed_images and encode_tokens may be right: which row does the head read?")
    return right("A ViT's answer from a dictionary of tensors, without a module.")
