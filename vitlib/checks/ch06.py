"""Checkers of chapter 6."""

import torch
from torch.nn import functional as F

from ..encoder import EncoderBlock
from . import evidence, exercise, right, wrong


@exercise
def exercise_1(parameters):
    D, M = 768, 3072
    attention, mlp, norms = 4 * D**2 + 4 * D, 2 * D * M + M + D, 4 * D
    if parameters == attention + mlp + norms:
        return right("7,087,872, of which two thirds are the MLP's.")
    if parameters == 12 * D**2:
        return wrong("Those are the matrices alone: add the biases (9 D) and the norms (4 D).")
    if parameters == attention + mlp:
        return wrong("The norms are missing: two of them, each with a weight and a bias of width D.")
    if parameters == attention + mlp + norms // 2:
        return wrong("Two norms have two vectors each, a weight and a bias: 4 D, not 2 D.")
    if parameters in (mlp, mlp + norms):
        return wrong("Attention is missing: qkv and proj, 4 D² + 4 D.")
    if parameters in (attention + mlp + norms - D * M, attention + D * M + M + norms):
        return wrong("The MLP has two matrices, D to M and back from M to D.")
    return wrong(f"Attention {attention:,}, then the MLP's two layers, then two norms: the sum is not {parameters:,}.")


@exercise
def exercise_2(layer_norm):
    g = torch.Generator().manual_seed(0)
    x = 3 * torch.randn(4, 5, 6, generator=g, dtype=torch.float64) + 1
    weight, bias = torch.randn(2, 6, generator=g, dtype=torch.float64)
    eps = 0.5  # large, so that its place shows
    out = layer_norm(x, weight, bias, eps)
    if out.shape != x.shape:
        return wrong(f"(4, 5, 6) should keep its shape, but became {tuple(out.shape)}.")

    def version(dim, correction=0):
        centred = x - x.mean(dim, keepdim=True)
        return centred, x.var(dim, correction=correction, keepdim=True)

    def equals(centred, divisor):
        return torch.allclose(out, centred / divisor * weight + bias, atol=1e-8)

    centred, var = version(-1)
    if equals(centred, (var + eps).sqrt()):
        return right("Each token alone, variance divided by D, eps under the root.")
    if equals(centred, var.sqrt() + eps):
        return wrong("eps belongs under the root, beside the variance: sqrt(var + eps), not sqrt(var) + eps.")
    if equals(centred, var.sqrt()):
        return wrong("eps is not used: a token of equal numbers would be divided by zero.")
    if equals(centred, (version(-1, 1)[1] + eps).sqrt()):
        return wrong("The variance was divided by D - 1: pass correction=0.")
    if torch.allclose(out, centred / (var + eps).sqrt(), atol=1e-8):
        return wrong("Weight and bias are not used: scale and shift at the end.")
    for dim, what in ((0, "the batch: an image depends on the others"), (1, "the tokens instead of each token's numbers"),
                      ((1, 2), "tokens and width together: one mean for the whole image"),
                      ((0, 1), "batch and tokens: that is batch normalisation")):
        centred, var = version(dim)
        if equals(centred, (var + eps).sqrt()) or equals(centred, (version(dim, 1)[1] + eps).sqrt()):
            return wrong(f"Mean and variance run over {what}. Take the last axis only.")
    return wrong("The numbers differ from LayerNorm's: (x - mean) / sqrt(var + eps), over the last axis, then weight and bias.")


@exercise
def exercise_3(mlp):
    g = torch.Generator().manual_seed(0)
    D, M = 6, 8
    x, W1, b1, W2, b2 = (torch.randn(*shape, generator=g, dtype=torch.float64)
                         for shape in ((2, 5, D), (D, M), (M,), (M, D), (D,)))
    out = mlp(x, W1, b1, W2, b2)
    if out.shape != x.shape:
        return wrong(f"(2, 5, 6) should keep its shape, but became {tuple(out.shape)}.")
    first = x @ W1 + b1

    def equals(truth):
        return torch.allclose(out, truth, atol=1e-9, rtol=0)

    if equals(F.gelu(first) @ W2 + b2):
        return right("D to M, GELU, and back: each token by itself.")
    if equals(first @ W2 + b2):
        return wrong("There is no nonlinearity: two linear layers in a row are one linear layer.")
    if equals(F.gelu(F.gelu(first) @ W2 + b2)):
        return wrong("The second layer has a nonlinearity too: only the hidden layer has one.")
    if equals(F.gelu(first, approximate="tanh") @ W2 + b2):
        return wrong("That is the GELU with tanh, off by up to 0.0005: ViT's weights here use the exact one, with erf.")
    if equals(F.relu(first) @ W2 + b2):
        return wrong("That is ReLU. GELU multiplies x by the probability that a normal number lies below it.")
    if equals(F.gelu(x @ W1) @ W2) or equals(F.gelu(x @ W1) @ W2 + b2) or equals(F.gelu(first) @ W2):
        return wrong("A bias is missing: both layers have one.")
    if equals(x + F.gelu(first) @ W2 + b2):
        return wrong("That adds the tokens: the skip connection belongs to the block, not to the MLP.")
    return wrong("The numbers differ from GELU(x W1 + b1) W2 + b2.")


@exercise
def exercise_4(run_block):
    g = torch.Generator().manual_seed(0)
    block = EncoderBlock(16, 2, 32).double().eval()
    x = torch.randn(2, 5, 16, generator=g, dtype=torch.float64)
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=g, dtype=torch.float64))
        attn, mlp, norm1, norm2 = block.attn, block.mlp, block.norm1, block.norm2
        out = run_block(block, x)
        middle, summed = x + attn(norm1(x)), norm1(x + attn(x))
        answers = {
            "right": middle + mlp(norm2(middle)),
            "That is post-norm: in pre-norm a branch reads the norm, and the sum is left as it is.":
                norm2(summed + mlp(summed)),
            "The first skip connection is missing: attention's result is added to x.":
                attn(norm1(x)) + mlp(norm2(attn(norm1(x)))),
            "The second skip connection is missing: the MLP's result is added to the first sum.": mlp(norm2(middle)),
            "The second addition took the block's input: add to the first sum.": x + mlp(norm2(middle)),
            "The MLP read the block's input: let it read the first sum.": middle + mlp(norm2(x)),
            "The MLP read the sum as it is: it reads a normalised copy.": middle + mlp(middle),
            "norm1 was used twice: the MLP reads norm2.": middle + mlp(norm1(middle)),
            "The residual stream was overwritten by its norm: keep x, and give the branch a normalised copy.":
                norm2(norm1(x) + attn(norm1(x))) + mlp(norm2(norm1(x) + attn(norm1(x)))),
        }
    for message, answer in answers.items():
        if out.shape == answer.shape and torch.allclose(out, answer, atol=1e-9):
            if message == "right":
                return right("Your block equals the library's, from tensors and one attention.")
            return wrong(message)
    if out.shape != x.shape:
        return wrong(f"Tokens keep their shape {tuple(x.shape)}; yours became {tuple(out.shape)}.")
    return wrong("The numbers differ from the library's block: are stages 1 and 2 right, and the matrices transposed?")


@exercise
def exercise_5(result_norm):
    torch_state = torch.get_rng_state()
    torch.manual_seed(0)
    block, x = EncoderBlock(16, 2, 32).double().eval(), torch.randn(2, 5, 16, dtype=torch.float64)
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.normal_(0, 0.5)
        torch.set_rng_state(torch_state)
        attn, mlp, norm1, norm2 = block.attn, block.mlp, block.norm1, block.norm2
        out = result_norm(block, x)
        middle = x + norm1(attn(x))
        summed = norm1(x + attn(x))
        answers = {
            "right": middle + norm2(mlp(middle)),
            "That is pre-norm, the norm on what a branch reads. Here it stands on what a branch returns.": block(x),
            "That is post-norm, the norm of the sum. Here the norm is taken first, and the sum after it.":
                norm2(summed + mlp(summed)),
            "The MLP read the block's input: let it read the sum that attention has already been added to.":
                middle + norm2(mlp(x)),
            "The second addition took the block's input: add to the sum that attention has already been added to.":
                x + norm2(mlp(middle)),
            "The skip connections are missing: each branch's normalised result is added to x.": norm2(mlp(norm1(attn(x)))),
            "norm1 was used twice: the MLP's result belongs to norm2.": middle + norm1(mlp(middle)),
        }
    for message, answer in answers.items():
        if out.shape == answer.shape and torch.allclose(out, answer, atol=1e-9):
            if message == "right":
                return right("Each branch's result is normalised, then added; nothing stands on the residual stream.")
            return wrong(message)
    if out.shape != x.shape:
        return wrong(f"Tokens keep their shape {tuple(x.shape)}; yours became {tuple(out.shape)}.")
    return wrong("The numbers differ: x + norm1(attn(x)) first, then add norm2 of the MLP of that.")


@exercise
def exercise_6(claim, losses):
    post, pre = "post-norm's loss", "pre-norm's loss"
    if isinstance(losses, dict) and set(losses) == {post, pre}:
        values = [float(value) for side in losses.values() for value in side]
        if values and 2.25 < min(values) and max(values) < 2.5:
            return wrong("All losses are near 2.30, which is guessing among ten classes. So nothing was learned that could "
                         "be compared: take another learning rate.")
    return evidence.weigh(claim, losses, post, pre, between=(0, 20), unit=" nats")
