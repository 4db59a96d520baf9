"""Wrong answers to the exercises of chapter 1: the name of the mistake, code, and a part of the message it must get."""

BRIGHT = "def random_brightness(images, s, g):\n    "
STATS = "def channel_statistics(images):\n    "

WRONG = {
    "1.1": {
        "swapped": ("megabytes = (122.9, 30.7)", "swapped"),
        "one channel": ("megabytes = (10.24, 40.96)", "one channel"),
        "bits for bytes": ("megabytes = (30.7, 245.8)", "four bytes"),
        "mebibytes": ("megabytes = (29.3, 117.2)", "divide by 1e6"),
    },
    "1.2": {
        "one draw a batch": (BRIGHT + "return (images * (1 - s + 2 * s * torch.rand((), generator=g))).clamp(0, 1)", "same factor"),
        "one draw a pixel": (BRIGHT + "return (images * (1 - s + 2 * s * torch.rand(images.shape, generator=g))).clamp(0, 1)", "one number an image"),
        "not clamped": (BRIGHT + "return images * (1 - s + 2 * s * torch.rand(len(images), 1, 1, 1, generator=g))", "clamp"),
        "generator ignored": (BRIGHT + "return (images * (1 - s + 2 * s * torch.rand(len(images), 1, 1, 1))).clamp(0, 1)", "generator=g"),
        "only brighter": (BRIGHT + "return (images * (1 + s * torch.rand(len(images), 1, 1, 1, generator=g))).clamp(0, 1)", "should fill"),
        "not written": (BRIGHT + "raise NotImplementedError", "no answer yet"),
        "crashes": (BRIGHT + "return images + undefined", "NameError"),
    },
    "1.3": {
        "mean over the batch only": (STATS + "x = images / 255\n    return x.mean(0), x.std(0)", "one number a channel"),
        "bytes": (STATS + "x = images.float()\n    return x.mean((0, 2, 3)), x.std((0, 2, 3))", "divide the pixels by 255"),
        "mean of deviations": (STATS + "x = images / 255\n    return x.mean((0, 2, 3)), x.std((2, 3)).mean(0)", "each image's own"),
        "variance": (STATS + "x = images / 255\n    return x.mean((0, 2, 3)), x.var((0, 2, 3))", "square root"),
    },
    "1.4": {
        "per cent for share": ("images_needed = 0.75 * 0.25 / 0.5**2", "0.005"),
        "not squared": ("images_needed = 0.75 * 0.25 / 0.005", "square"),
        "p for p(1-p)": ("images_needed = 0.75 / 0.005**2", "0.75 · 0.25"),
        "far off": ("images_needed = 10_000", "standard error of 0.43"),
    },
}
