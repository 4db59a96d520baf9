"""Wrong answers to the exercises of chapter 2: the name of the mistake, code, and a part of the message it must get."""

RUNS = "evidence = {"
CUT = "def cut(images, size):\n    B, C, H, W = images.shape\n    "
WINDOWS = "def windows(images, size, step):\n    "
JOIN = "def join(patches, size, step, shape):\n    "
SHUFFLE = "def shuffle_patches(images, P, order):\n    H, W = images.shape[-2:]\n    "

WRONG = {
    "2.1": {
        "swapped": ("patches_and_numbers = (768, 196)", "swapped"),
        "one side": ("patches_and_numbers = (14, 768)", "along one side"),
        "one channel": ("patches_and_numbers = (196, 256)", "one channel"),
        "pixels": ("patches_and_numbers = (50176, 768)", "fit along each side"),
    },
    "2.2": {
        "inverse order": (SHUFFLE + "return unpatchify(patchify(images, P)[:, order.argsort()], P, (H // P, W // P))", "other way"),
        "nothing moved": (SHUFFLE + "return unpatchify(patchify(images, P), P, (H // P, W // P))", "Nothing has moved"),
        "not put together": (SHUFFLE + "return patchify(images, P)[:, order]", "put them together"),
        "batch axis": (SHUFFLE + "return unpatchify(patchify(images, P).flip(0)[:, order], P, (H // P, W // P))", "exchanged"),
        "grid transposed": (SHUFFLE + "return unpatchify(patchify(images, P)[:, order], P, (W // P, H // P)).reshape(images.shape)", "wrong places"),
    },
    "2.3": {
        "just below": ("side = 128", "still below"),
        "tokens for pixels": ("side = 288", "number of tokens"),
        "one product per pair": ("side = 200", "2D products"),
        "side in patches": ("side = 17", "side in patches"),
        "other patches": ("side = 68", "not 4×4"),
    },
    "2.4": {
        "one seed": (RUNS + "'squares': [0.2], 'strips': [0.6]}\nclaim = 'strips is higher'", "at least 3"),
        "a claim of its own": (RUNS + "'squares': [0.2, 0.21, 0.19], 'strips': [0.6, 0.61, 0.63]}\nclaim = 'the bug wins'", "should be one of"),
        "expected, not seen": (RUNS + "'squares': [0.2, 0.21, 0.19], 'strips': [0.6, 0.61, 0.63]}\nclaim = 'squares is higher'", "other way round"),
        "same cut twice": (RUNS + "'squares': [0.2, 0.21, 0.19], 'strips': [0.2, 0.21, 0.19]}\nclaim = 'cannot tell'", "reach the model"),
        "not trained": (RUNS + "'squares': [0.1, 0.09, 0.1], 'strips': [0.11, 0.1, 0.12]}\nclaim = 'cannot tell'", "near chance"),
    },
    "2.5": {
        "sides exchanged": (CUT + "q, p = size\n    return F.unfold(images, (p, q), stride=(p, q)).transpose(1, 2)", "exchanged"),
        "no permute": (CUT + "p, q = size\n    return images.reshape(B, (H // p) * (W // q), C * p * q)", "permute between"),
        "channel last": (CUT + "p, q = size\n    x = images.reshape(B, C, H // p, p, W // q, q).permute(0, 2, 4, 3, 5, 1)\n"
                         "    return x.reshape(B, -1, C * p * q)", "channel first"),
        "down the columns": (CUT + "p, q = size\n    x = images.reshape(B, C, H // p, p, W // q, q).permute(0, 4, 2, 1, 3, 5)\n"
                             "    return x.reshape(B, -1, C * p * q)", "to the right"),
        "square only": (CUT + "return patchify(images, size[1])", "should give (2, 12, 24)"),
    },
    "2.6": {
        "axes not swapped": (WINDOWS + "return F.unfold(images, size, stride=step)", "last axis"),
        "no overlap": (WINDOWS + "return F.unfold(images, size, stride=size).transpose(1, 2)", "do not overlap"),
        "steps exchanged": (WINDOWS + "return F.unfold(images, size, stride=step[::-1]).transpose(1, 2)", "steps are exchanged"),
        "beyond the image": (WINDOWS + "images = F.pad(images, (0, size[1] - 1, 0, size[0] - 1))\n"
                             "    return F.unfold(images, size, stride=step).transpose(1, 2)", "beyond the image"),
        "down the columns": (WINDOWS + "x = F.unfold(images.transpose(2, 3), size[::-1], stride=step[::-1])\n    B, C = images.shape[:2]\n"
                             "    return x.transpose(1, 2).reshape(B, -1, C, size[1], size[0]).transpose(3, 4).flatten(2)", "along the rows"),
        "channel last": (WINDOWS + "x = F.unfold(images, size, stride=step).transpose(1, 2)\n"
                         "    return x.reshape(*x.shape[:2], images.shape[1], -1).transpose(2, 3).flatten(2)", "another order"),
    },
    "2.7": {
        "added up": (JOIN + "return F.fold(patches.transpose(1, 2), shape, size, stride=step)", "added up"),
        "one count for all": (JOIN + "x, n = patches.transpose(1, 2), torch.ones_like(patches).transpose(1, 2)\n    def add(x):\n"
                              "        return F.fold(x, shape, size, stride=step)\n    return add(x) / add(n).max()", "one number"),
        "divided by nothing": (JOIN + "x, n = patches.transpose(1, 2), torch.ones_like(patches).transpose(1, 2)\n    def add(x):\n"
                               "        return F.fold(x, shape, size, stride=step)\n    return add(x) / add(n)", "at least 1"),
        "last one stays": (JOIN + "(p, q), (s, t), (H, W) = size, step, shape\n    B, N, L = patches.shape\n"
                           "    out, n = torch.zeros(B, L // (p * q), H, W), 0\n    for r in range(0, H - p + 1, s):\n"
                           "        for c in range(0, W - q + 1, t):\n"
                           "            out[:, :, r:r + p, c:c + q] = patches[:, n].reshape(B, -1, p, q)\n            n += 1\n"
                           "    return out", "replaced the other"),
        "not swapped back": (JOIN + "x = patches.reshape(len(patches), patches.shape[2], patches.shape[1])\n"
                             "    return F.fold(x, shape, size, stride=step)", "wrong places"),
    },
}
