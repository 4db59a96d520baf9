"""Wrong answers to the exercises of chapter 16, and a part of the message that each must get."""

MASK = "def hidden_mask(noise, share):\n    "
LOSS = "def masked_loss(predicted, pixels, hidden):\n    "
TARGET = "t = (pixels - pixels.mean(-1, keepdim=True)) / (pixels.var(-1, keepdim=True) + 1e-6).sqrt()\n    "
LEAKS = "def leaks(model, images, noise):\n    "
CHANGE = ("hidden = split_patches(noise, model.config.mask)[1]\n    P = model.encoder.config.patch_size\n"
          "    pixels = patchify(images, P)\n"
          "    other = pixels.scatter(1, hidden[:, :, None].expand(-1, -1, pixels.shape[-1]), 5.0)\n"
          "    side = int(noise.shape[1] ** 0.5)\n    other = unpatchify(other, P, (side, side))\n    ")


def mask(rank: str) -> str:
    return MASK + f"N = noise.shape[1]\n    n = N - round(N * share)\n    return {rank}"


WRONG = {
    "16.1": {
        "no class token in the encoder": ("counts = (49, 197, 147)", "the class token, which is never hidden"),
        "the hidden ones": ("counts = (147, 197, 147)", "The encoder reads the others"),
        "everything": ("counts = (197, 197, 147)", "a ViT that sees everything"),
        "half": ("counts = (99, 197, 147)", "not 99"),
        "the decoder reads the hidden alone": ("counts = (50, 147, 147)", "reads the seen patches too"),
        "no class token in the decoder": ("counts = (50, 196, 147)", "one token more"),
        "the decoder reads what the encoder does": ("counts = (50, 50, 147)", "not 50"),
        "loss on all": ("counts = (50, 197, 196)", "to copy them is no art"),
        "loss on the seen": ("counts = (50, 197, 49)", "49 patches were seen"),
        "something else": ("counts = (50, 197, 100)", "not 100"),
    },
    "16.2": {
        "those that stay": (mask("noise.argsort(1).argsort(1) < n"), "True should mean hidden"),
        "one mask": (mask("(noise[:1].argsort(1).argsort(1) >= n).expand_as(noise)"), "All images of the batch have one mask"),
        "a threshold": (MASK + "return noise < share", "The images hide"),
        "the share that stays": (mask("noise.argsort(1).argsort(1) >= N - n"), "not the share that stays"),
        "one argsort": (mask("noise.argsort(1) >= n"), "the argsort of that"),
        "the smallest": (mask("noise.argsort(1, descending=True).argsort(1) >= n"), "In this chapter they stay"),
        "numbers": (mask("(noise.argsort(1).argsort(1) >= n).float()"), "dtype bool"),
        "indices": (mask("noise.argsort(1)[:, n:]"), "Expected one True or False"),
        "one too few": (mask("noise.argsort(1).argsort(1) > n"), "14 of 20 patches"),
        "along the batch": (mask("noise.argsort(0).argsort(0) >= 2"), "patches. A batch needs the same number"),
        "the first ones": (mask("(torch.arange(N) + torch.arange(len(noise))[:, None]) % N >= n"), "but not those"),
        "in place": (MASK + "noise.zero_()\n    return noise > share", "changed in place"),
    },
    "16.3": {
        "all patches": (LOSS + TARGET + "return (predicted - t).square().mean()", "over all patches"),
        "the seen": (LOSS + TARGET + "return (predicted - t).square()[~hidden].mean()", "on the patches that were seen"),
        "plain pixels": (LOSS + "return (predicted - pixels).square()[hidden].mean()", "plain pixels"),
        "mean alone": (
            LOSS + "return (predicted - pixels + pixels.mean(-1, keepdim=True)).square()[hidden].mean()", "Only the mean"),
        "whole image": (
            LOSS + "t = (pixels - pixels.mean((1, 2), keepdim=True)) / (pixels.var((1, 2), keepdim=True) + 1e-6).sqrt()\n"
            "    return (predicted - t).square()[hidden].mean()", "of the whole image"),
        "biased variance": (
            LOSS + TARGET.replace("var(-1,", "var(-1, correction=0,") + "return (predicted - t).square()[hidden].mean()",
            "divides by one less"),
        "no root": (LOSS + TARGET.replace(".sqrt()", "") + "return (predicted - t).square()[hidden].mean()", "not by its root"),
        "over all patches": (
            LOSS + TARGET + "return ((predicted - t).square().mean(-1) * hidden).sum() / hidden.numel()", "the number of all"),
        "a sum": (LOSS + TARGET + "return (predicted - t).square()[hidden].sum()", "added up"),
        "one for each": (LOSS + TARGET + "return (predicted - t).square().mean(-1)", "one number"),
        "absolute": (LOSS + TARGET + "return (predicted - t).abs()[hidden].mean()", "The number differs"),
    },
    "16.4": {
        "pre-training alone": ("passes = 8 * 45_000 * 0.6 / 450", "has also been fine-tuned"),
        "equal epochs": ("passes = 30", "equal epochs"),
        "passes added": ("passes = 8 + 30", "Add seconds"),
        "images": ("passes = (8 * 45_000 + 30 * 450) / 450", "830 counts images"),
        "images of the pre-training": ("passes = 8 * 45_000 / 450", "800 counts"),
        "its passes": ("passes = 8", "not 45,000"),
        "something else": ("passes = 100", "not 100"),
    },
    "16.5": {
        "never": (LEAKS + "return False", "not asked twice"),
        "another noise": (
            LEAKS + "p = model.predict(images, noise)[0]\n    q = model.predict(images, 1 - noise)[0]\n"
            "    return not torch.allclose(p, q)", "Another noise"),
        "the same images": (
            LEAKS + "p = model.predict(images, noise)[0]\n    q = model.predict(images.clone(), noise)[0]\n"
            "    return not torch.allclose(p, q)", "the same images twice"),
        "everything changed": (
            LEAKS + "p = model.predict(images, noise)[0]\n    q = model.predict(images + 1, noise)[0]\n"
            "    return not torch.allclose(p, q)", "may see were changed as well"),
        "the loss": (LEAKS + CHANGE + "return not torch.allclose(model(images, noise), model(other, noise))",
                     "because they are its targets"),
        "the wrong way round": (
            LEAKS + CHANGE + "return torch.allclose(model.predict(images, noise)[0], model.predict(other, noise)[0])",
            "wrong way round"),
        "always": (LEAKS + CHANGE + "model.predict(images, noise), model.predict(other, noise)\n    return True",
                   "says True, of one that leaks True"),
        "in place": (LEAKS + "images.zero_()\n    return True", "changed in place"),
    },
}
