"""Checkers of chapter 16."""

import torch

from ..mae import MAEConfig, MaskedAutoencoder, split_patches
from ..patches import patchify
from ..vit import ViT, ViTConfig
from . import exercise, right, wrong


@exercise
def exercise_1(counts):
    encoder, decoder, judged = counts
    if (encoder, decoder, judged) == (50, 197, 147):
        return right("50 tokens for the large model, 197 for the small one, and 147 patches to be judged by.")
    if encoder == 49:
        return wrong("The encoder reads 49 patches, and the class token, which is never hidden.")
    if encoder == 148 or encoder == 147:
        return wrong("147 patches are hidden. The encoder reads the others.")
    if encoder in (196, 197):
        return wrong("That many tokens has a ViT that sees everything. This encoder reads what is left after masking.")
    if encoder != 50:
        return wrong(f"There are 14 · 14 = 196 patches, and a quarter of them stays, with the class token: not {encoder}.")
    if decoder in (147, 148):
        return wrong("The encoder's 50 is right. The decoder reads the seen patches too: how else would it know the image?")
    if decoder == 196:
        return wrong("The encoder's 50 is right. The class token goes on into the decoder: it has one token more.")
    if decoder != 197:
        return wrong(f"The encoder's 50 is right. In the decoder every patch has a token, and so has the class: not {decoder}.")
    if judged in (196, 197):
        return wrong("The first two are right. The loss leaves out the patches that were seen: to copy them is no art.")
    if judged == 49:
        return wrong("The first two are right. 49 patches were seen; the loss asks for the others.")
    return wrong(f"The first two are right. The loss is taken on the hidden patches, three quarters of 196: not {judged}.")


@exercise
def exercise_2(hidden_mask):
    g = torch.Generator().manual_seed(3)
    noise = torch.rand(6, 20, generator=g)
    given = noise.clone()
    found = hidden_mask(noise, 0.75)
    if not isinstance(found, torch.Tensor) or found.shape != noise.shape:
        shape = tuple(found.shape) if isinstance(found, torch.Tensor) else type(found).__name__
        return wrong(f"Expected one True or False for each patch, (6, 20), got {shape}.")
    if found.dtype != torch.bool:
        return wrong(f"Expected a mask of dtype bool, got {found.dtype}: compare with a number to get one.")
    if not torch.equal(noise, given):
        return wrong("The noise was changed in place: leave the caller's tensor as it is.")
    if torch.equal(found, expected := torch.zeros_like(found).scatter(1, split_patches(noise, 0.75)[1], True)):
        return right("15 of 20 patches in every image, those with the largest noise, in each image others.")
    if torch.equal(found, ~expected):
        return wrong("That is the mask of the patches that stay. True should mean hidden.")
    if (found == found[:1]).all():
        return wrong("All images of the batch have one mask: sort the noise of each image, dim=1.")
    counts = found.sum(dim=1)
    if (counts != counts[0]).any():
        return wrong(f"The images hide {', '.join(map(str, counts.tolist()))} patches. A batch needs the same number in each: "
                     "rank the noise of each image instead of comparing it with the share.")
    if counts[0] == 5:
        return wrong("5 of 20 patches are hidden: 0.75 is the share that is hidden, not the share that stays.")
    if counts[0] != 15:
        return wrong(f"{counts[0]} of 20 patches are hidden, where a share of 0.75 means 15.")
    if torch.equal(found, noise.argsort(dim=1) >= 5):
        return wrong("argsort says which patch comes first, second, …; what rank a patch has is the argsort of that.")
    if torch.equal(found, noise.argsort(dim=1, descending=True).argsort(dim=1) >= 5):
        return wrong("The patches with the smallest noise are hidden. In this chapter they stay.")
    return wrong("15 patches are hidden in each image, but not those with the largest noise.")


@exercise
def exercise_3(masked_loss):
    g = torch.Generator().manual_seed(4)
    pixels = 3 * torch.randn(3, 8, 12, generator=g, dtype=torch.float64) + torch.randn(3, 8, 1, generator=g).double()
    predicted = torch.randn(3, 8, 12, generator=g, dtype=torch.float64)
    hidden = torch.zeros(3, 8, dtype=torch.bool).scatter(1, torch.rand(3, 8, generator=g).argsort(dim=1)[:, :6], True)
    loss = masked_loss(predicted, pixels, hidden)
    if not isinstance(loss, torch.Tensor) or loss.ndim:
        return wrong("A loss is one number: a tensor without axes.")
    own = pixels - pixels.mean(dim=-1, keepdim=True)

    def mean_error(targets, where=hidden):
        return (predicted - targets).square()[where].mean()

    def over(divisor):
        return own / (divisor + 1e-6).sqrt()

    target = over(pixels.var(dim=-1, keepdim=True))
    everywhere, image = torch.ones_like(hidden), (1, 2)
    whole = (pixels - pixels.mean(image, keepdim=True)) / (pixels.var(image, keepdim=True) + 1e-6).sqrt()
    answers = {
        "The error is taken over all patches. Those that were seen only have to be copied: leave them out.":
            mean_error(target, everywhere),
        "That is the error on the patches that were seen. `hidden` is True where the loss is to be taken.":
            mean_error(target, ~hidden),
        "The targets are plain pixels: take each patch's own mean away and divide by its own standard deviation.": mean_error(pixels),
        "Only the mean is taken away. Divide by the standard deviation as well, or patches with strong edges count for most.":
            mean_error(own),
        "Mean and standard deviation are those of the whole image. Each patch has its own: the last axis alone.": mean_error(whole),
        "The variance was divided by the number of pixels. The published loss divides by one less, as `var` does by itself.":
            mean_error(over(pixels.var(dim=-1, correction=0, keepdim=True))),
        "The patches were divided by their variance, not by its root.": mean_error(own / (pixels.var(dim=-1, keepdim=True) + 1e-6)),
        "The errors of the hidden patches are divided by the number of all patches: the loss would fall with the share.":
            mean_error(target) * hidden.double().mean(),
        "The errors are added up, not averaged.": (predicted - target).square()[hidden].sum(),
    }
    if torch.allclose(loss, mean_error(target), atol=1e-9):
        return right("The mean squared error on the hidden patches, against targets without brightness and contrast.")
    for message, value in answers.items():
        if torch.allclose(loss, value, atol=1e-9):
            return wrong(message)
    return wrong("The number differs from the loss of section 16.4: normalised targets, squared differences, their mean over "
                 "the hidden patches.")


@exercise
def exercise_4(passes):
    if not isinstance(passes, int | float):
        return wrong("Answer with one number of passes.")
    messages = {480: "480 passes use up the time of pre-training. The other model has also been fine-tuned.",
                30: "30 is equal epochs: the rival gets no time for the pre-training.",
                38: "38 adds passes over 45,000 images to passes over 450. Add seconds.",
                830: "830 counts images. One image costs less in pre-training, where the encoder sees a quarter of it.",
                800: "800 counts the images of pre-training. Count the seconds, of both steps.",
                8: "8 is how often pre-training sees its images. The rival sees 450 images in a pass, not 45,000."}
    if abs(passes - 510) < 1:
        return right("216 s and 13.5 s, at 0.45 s a pass: 510 passes. Whether so many do any good is a question for validation.")
    for value, message in messages.items():
        if abs(passes - value) < 1:
            return wrong(message)
    return wrong(f"Seconds of pre-training plus seconds of fine-tuning, over the seconds of one pass: that is not {passes:g}.")


class Peeking(MaskedAutoencoder):
    """Its encoder lets the mean of the whole image into every token."""

    def encode(self, images, kept):
        return super().encode(images + images.mean(dim=(2, 3), keepdim=True), kept)


@exercise
def exercise_5(leaks):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        config = ViTConfig(image_size=16, patch_size=4, dim=16, depth=1, heads=2, pool="mean", positions="sincos")
        tight = MaskedAutoencoder(ViT(config), MAEConfig(dim=8, heads=2)).double().eval()
        for parameter in tight.parameters():
            parameter.data.normal_(0, 0.5)
        images, noise = torch.randn(2, 3, 16, 16, dtype=torch.float64), torch.rand(2, 16, dtype=torch.float64)
    leaky = Peeking(tight.encoder, tight.config).double().eval()
    leaky.load_state_dict(tight.state_dict())
    kept, _ = split_patches(noise, 0.75)
    calls = []
    for model in (tight, leaky):
        for name in ("predict", "forward"):
            watch(model, name, calls)
    given = images.clone()
    with torch.no_grad():
        said = [bool(leaks(model, images, noise)) for model in (tight, leaky)]
    if not torch.equal(images, given):
        return wrong("The images were changed in place: work on a clone.")
    if said == [False, True]:
        return right("Only what is hidden changes, and a healthy model must not notice.")
    tried = [inputs for name, inputs in calls if name == "predict"]
    if len(tried) < 2:
        return wrong("The model was not asked twice. Compare its predictions for two images that differ only where it cannot see.")
    if any(not torch.equal(other, noise) for _, other in tried):
        return wrong("Another noise hides other patches, so the predictions differ anyway. Ask both times with the noise given.")
    if all(torch.equal(other, images) for other, _ in tried):
        return wrong("The model was asked about the same images twice, so it gave the same answer. Change the hidden patches.")
    seen = kept[:, :, None].expand(-1, -1, 48)
    if any(not torch.equal(patchify(other, 4).gather(1, seen), patchify(images, 4).gather(1, seen)) for other, _ in tried):
        return wrong("The patches that the model may see were changed as well, so even a healthy model answers otherwise.")
    if any(name == "forward" for name, _ in calls):
        return wrong("The loss changes with the hidden pixels, because they are its targets. Compare predictions: model.predict.")
    if said == [True, False]:
        return wrong("The answers are the wrong way round: a model leaks when its predictions differ.")
    return wrong(f"Of a healthy model your function says {said[0]}, of one that leaks {said[1]}; expected False and True.")


def watch(model, name, calls):
    """Note what a method of the model is called with."""
    method = getattr(model, name)

    def noted(images, noise):
        calls.append((name, (images.clone(), noise.clone())))
        return method(images, noise)

    setattr(model, name, noted)
