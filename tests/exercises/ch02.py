"""Wrong answers to the exercises of chapter 2: the name of the mistake, code, and a part of the message it must get."""

OVERLAP = "def overlapping_patches(images, P, S):\n    "
SHUFFLE = "def shuffle_patches(images, P, order):\n    H, W = images.shape[-2:]\n    "

WRONG = {
    "2.1": {
        "swapped": ("patches_and_numbers = (768, 196)", "swapped"),
        "one side": ("patches_and_numbers = (14, 768)", "along one side"),
        "one channel": ("patches_and_numbers = (196, 256)", "one channel"),
        "pixels": ("patches_and_numbers = (50176, 768)", "fit along each side"),
    },
    "2.2": {
        "axes not swapped": (OVERLAP + "return F.unfold(images, P, stride=S)", "last axis"),
        "stride P": (OVERLAP + "return F.unfold(images, P, stride=P).transpose(1, 2)", "do not overlap"),
        "channel last": (OVERLAP + "x = images.unfold(2, P, S).unfold(3, P, S)\n    B, C = x.shape[:2]\n"
                         "    return x.permute(0, 2, 3, 4, 5, 1).reshape(B, -1, C * P * P)", "another order"),
        "columns first": (OVERLAP + "x = images.unfold(2, P, S).unfold(3, P, S)\n    B, C = x.shape[:2]\n"
                          "    return x.permute(0, 3, 2, 1, 4, 5).reshape(B, -1, C * P * P)", "reading order"),
    },
    "2.3": {
        "inverse order": (SHUFFLE + "return unpatchify(patchify(images, P)[:, order.argsort()], P, (H // P, W // P))", "other way"),
        "nothing moved": (SHUFFLE + "return unpatchify(patchify(images, P), P, (H // P, W // P))", "Nothing has moved"),
        "not put together": (SHUFFLE + "return patchify(images, P)[:, order]", "put them together"),
        "batch axis": (SHUFFLE + "return unpatchify(patchify(images, P).flip(0)[:, order], P, (H // P, W // P))", "exchanged"),
        "grid transposed": (SHUFFLE + "return unpatchify(patchify(images, P)[:, order], P, (W // P, H // P)).reshape(images.shape)", "wrong places"),
    },
    "2.4": {
        "equal, not more": ("side = 96", "cost the same"),
        "tokens for pixels": ("side = 576", "number of tokens"),
        "one product a pair": ("side = 140", "2D products"),
        "side in patches": ("side = 25", "side in patches"),
    },
}
