"""Wrong answers to the exercises of chapter 3: the name of the mistake, code, and a part of the message it must get."""

CLS = "def add_class_token(x, cls_token, pos_embed):\n    "
ORDER = ("def ignores_order(f, images, order, tolerance=1e-4):\n    rows, columns = images.shape[-2] // 8, images.shape[-1] // 8\n"
         "    shuffled = unpatchify(patchify(images, 8)[:, order], 8, (rows, columns))\n    ")

WRONG = {
    "3.1": {
        "no bias": ("parameters = 48 * 192 + 192 + 65 * 192", "of width 192 is missing"),
        "two parts short": ("parameters = 48 * 192 + 65 * 192", "Two things"),
        "one channel": ("parameters = 16 * 192 + 192 + 192 + 65 * 192", "48 numbers"),
        "projection only": ("parameters = 48 * 192 + 192", "for the codes"),
    },
    "3.2": {
        "at the end": (CLS + "return torch.cat([x, cls_token.expand(len(x), -1, -1)], dim=1) + pos_embed", "stands at the end"),
        "no positions on patches": (CLS + "x = torch.cat([cls_token.expand(len(x), -1, -1), x], dim=1)\n    return torch.cat([x[:, :1] + pos_embed[:, :1], x[:, 1:]], 1)", "patches have no positions"),
        "class token without code": (CLS + "return torch.cat([cls_token.expand(len(x), -1, -1), x + pos_embed[:, 1:]], dim=1)", "no position code"),
        "no class token": (CLS + "return x + pos_embed[:, 1:]", "one token more"),
        "in place": (CLS + "x += 0.0 * x + 1\n    x = torch.cat([cls_token.expand(len(x), -1, -1), x], dim=1)\n    return x + pos_embed", "changed the tokens"),
    },
    "3.3": {
        "mean difference": (ORDER + "return (f(images) - f(shuffled)).abs().mean().item() <= tolerance", "largest difference"),
        "no tolerance": (ORDER + "return (f(images) - f(shuffled)).abs().max().item() <= 1e-4", "not used"),
        "tensor": (ORDER + "return (f(images) - f(shuffled)).abs().max() <= tolerance", "True or False"),
        "inverted": (ORDER + "return (f(images) - f(shuffled)).abs().max().item() > tolerance", "the corner is True"),
    },
    "3.4": {
        "one turn": ("distance = 6", "0.28 short"),
        "half turn": ("distance = 22", "half a turn"),
        "itself": ("distance = 0", "at least 1"),
        "off by one": ("distance = 43", "Off by one"),
        "guess": ("distance = 90", "measure all"),
    },
}
