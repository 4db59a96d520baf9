"""Checkers of chapter 7."""

import dataclasses

import torch

from ..vit import ViT, ViTConfig
from . import exercise, right, wrong

TINY = ViTConfig(image_size=8, patch_size=4, dim=16, depth=2, heads=2)


@exercise
def exercise_1(qkv_parameters):
    mistakes = {
        3 * 768 * 768: "The biases are missing: three times 768 more.",
        768 * 768 + 768: "That is one of three: queries, keys and values each have their matrix.",
        4 * 768 * 768 + 4 * 768: "That counts the output projection as well; qkv goes from D to 3D only.",
        3 * 768 * 64 + 3 * 64: "That is one head; the layer serves all twelve.",
    }
    if qkv_parameters in mistakes:
        return wrong(mistakes[qkv_parameters])
    if qkv_parameters != 3 * 768 * 768 + 3 * 768:
        return wrong(f"{qkv_parameters} is not 768 · 2304 weights and 2304 biases.")
    return right("1,771,776: a linear layer from 768 to 2,304.")


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
