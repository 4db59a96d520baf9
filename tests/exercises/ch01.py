"""Wrong answers to the exercises of chapter 1: the name of the mistake, code, and a part of the message it must get."""

BRIGHT = "def random_brightness(images, s, g):\n    "
RUNS = "evidence = {"
STATS = "def channel_statistics(images):\n    "

WRONG = {
    "1.1": {
        "swapped": ("megabytes = (122.9, 30.7)", "swapped"),
        "one channel": ("megabytes = (10.24, 40.96)", "one channel"),
        "bits for bytes": ("megabytes = (30.7, 245.8)", "four bytes"),
        "mebibytes": ("megabytes = (29.3, 117.2)", "divide by 1e6"),
    },
    "1.2": {
        "order in memory": ("numbers = list(range(8))", "order in memory"),
        "rows and columns swapped": ("numbers = [0, 2, 1, 3, 4, 6, 5, 7]", "permute(0, 2, 1)"),
        "down the columns": ("numbers = [0, 4, 2, 6, 1, 5, 3, 7]", "row by row"),
        "backwards": ("numbers = [7, 3, 6, 2, 5, 1, 4, 0]", "begins [7, 3]"),
        "doubled": ("numbers = [0, 4, 0, 4, 1, 5, 1, 5]", "once"),
    },
    "1.3": {
        "one draw per batch": (BRIGHT + "return (images * (1 - s + 2 * s * torch.rand((), generator=g))).clamp(0, 1)", "same factor"),
        "one draw per pixel": (BRIGHT + "return (images * (1 - s + 2 * s * torch.rand(images.shape, generator=g))).clamp(0, 1)", "one number per image"),
        "not clamped": (BRIGHT + "return images * (1 - s + 2 * s * torch.rand(len(images), 1, 1, 1, generator=g))", "clamp"),
        "generator ignored": (BRIGHT + "return (images * (1 - s + 2 * s * torch.rand(len(images), 1, 1, 1))).clamp(0, 1)", "generator=g"),
        "only brighter": (BRIGHT + "return (images * (1 + s * torch.rand(len(images), 1, 1, 1, generator=g))).clamp(0, 1)", "should fill"),
        "not written": (BRIGHT + "raise NotImplementedError", "no answer yet"),
        "crashes": (BRIGHT + "return images + undefined", "NameError"),
    },
    "1.4": {
        "mean over the batch only": (STATS + "x = images / 255\n    return x.mean(0), x.std(0)", "one number per channel"),
        "bytes": (STATS + "x = images.float()\n    return x.mean((0, 2, 3)), x.std((0, 2, 3))", "divide the pixels by 255"),
        "mean of deviations": (STATS + "x = images / 255\n    return x.mean((0, 2, 3)), x.std((2, 3)).mean(0)", "each image's own"),
        "variance": (STATS + "x = images / 255\n    return x.mean((0, 2, 3)), x.var((0, 2, 3))", "square root"),
        "wrong axes for the spread": (STATS + "x = images / 255\n    return x.mean((0, 2, 3)), x.std((0, 1, 2, 3)).expand(3)", "same axes"),
    },
    "1.5": {
        "per cent for share": ("images_needed = 0.75 * 0.25 / 0.5**2", "0.005"),
        "not squared": ("images_needed = 0.75 * 0.25 / 0.005", "square"),
        "p for p(1-p)": ("images_needed = 0.75 / 0.005**2", "0.75 · 0.25"),
        "far off": ("images_needed = 10_000", "standard error of 0.43"),
    },
    "1.6": {
        "one seed": (RUNS + "'augmented': [0.61], 'plain': [0.5]}\nclaim = 'augmented is higher'", "at least 3"),
        "unpaired": (RUNS + "'augmented': [0.6, 0.61, 0.62], 'plain': [0.5, 0.51]}\nclaim = 'augmented is higher'", "same seeds"),
        "per cent": (RUNS + "'augmented': [60, 61, 62], 'plain': [50, 51, 53]}\nclaim = 'augmented is higher'", "cannot be such"),
        "at chance": (RUNS + "'augmented': [0.1, 0.11, 0.09], 'plain': [0.1, 0.1, 0.12]}\nclaim = 'cannot tell'", "near chance"),
        "more than the runs bear": (RUNS + "'augmented': [0.5, 0.6, 0.4], 'plain': [0.49, 0.5, 0.5]}\nclaim = 'augmented is higher'", "0 lies inside"),
        "less than the runs bear": (RUNS + "'augmented': [0.6, 0.61, 0.62], 'plain': [0.5, 0.51, 0.53]}\nclaim = 'cannot tell'", "say more"),
    },
}
