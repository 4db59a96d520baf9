"""Wrong answers to the exercises of chapter 3: the name of the mistake, code, and a part of the message it must get."""

RUNS = "evidence = {"
WAVES = ("def waves(positions, D, base=10000.0):\n    a = positions.float()[:, None] * base ** -(2 * torch.arange(D // 2) / D)\n    ")
GRID = "def grid_codes(rows, columns, D, base=10000.0):\n    n = torch.arange(rows * columns)\n    "
RESIZE = ("def resize_codes(codes, old, new, prefix=0):\n    kept, grid = codes[:, :prefix], codes[:, prefix:]\n"
          "    grid = grid.reshape(1, *old, -1).permute(0, 3, 1, 2)\n    ")
BACK = "    return torch.cat([kept, x.flatten(2).transpose(1, 2)], dim=1)"
CLS = "def add_class_token(x, cls_token, pos_embed):\n    "
ORDER = ("def ignores_order(f, images, order, tolerance=1e-4):\n    rows, columns = images.shape[-2] // 8, images.shape[-1] // 8\n"
         "    shuffled = unpatchify(patchify(images, 8)[:, order], 8, (rows, columns))\n    ")

WRONG = {
    "3.1": {
        "no bias": ("parameters = 192 * 48 + 48 + 17 * 48", "of width 48 is missing"),
        "two parts short": ("parameters = 192 * 48 + 17 * 48", "Two things"),
        "one channel": ("parameters = 64 * 48 + 48 + 48 + 17 * 48", "192 numbers"),
        "projection only": ("parameters = 192 * 48 + 48", "for the positions"),
    },
    "3.2": {
        "at the end": (CLS + "return torch.cat([x, cls_token.expand(len(x), -1, -1)], dim=1) + pos_embed", "stands at the end"),
        "no positions on patches": (CLS + "x = torch.cat([cls_token.expand(len(x), -1, -1), x], dim=1)\n    return torch.cat([x[:, :1] + pos_embed[:, :1], x[:, 1:]], 1)", "patch tokens have no positions"),
        "class token without code": (CLS + "return torch.cat([cls_token.expand(len(x), -1, -1), x + pos_embed[:, 1:]], dim=1)", "no position embedding"),
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
        "one period": ("distance = 6", "0.28 short"),
        "half a period": ("distance = 22", "half a period"),
        "itself": ("distance = 0", "at least 1"),
        "off by one": ("distance = 43", "Off by one"),
        "guess": ("distance = 90", "measure all"),
    },
    "3.5": {
        "two seeds": (RUNS + "'codes': [0.2, 0.21], 'none': [0.3, 0.31]}\nclaim = 'none is higher'", "at least 3"),
        "a claim of its own": (RUNS + "'codes': [0.2, 0.21, 0.22], 'none': [0.3, 0.31, 0.29]}\nclaim = 'codes hurt'", "should be one of"),
        "as expected, not as seen": (RUNS + "'codes': [0.2, 0.21, 0.22], 'none': [0.3, 0.31, 0.29]}\nclaim = 'codes is higher'", "other way round"),
        "positions never passed": (RUNS + "'codes': [0.3, 0.31, 0.29], 'none': [0.3, 0.31, 0.29]}\nclaim = 'cannot tell'", "reach the model"),
        "per cent": (RUNS + "'codes': [20, 21, 22], 'none': [30, 31, 29]}\nclaim = 'none is higher'", "cannot be such"),
        "not trained": (RUNS + "'codes': [0.1, 0.09, 0.11], 'none': [0.1, 0.1, 0.1]}\nclaim = 'cannot tell'", "near chance"),
    },
    "3.6": {
        "not alternating": (WAVES + "return torch.cat([a.sin(), a.cos()], dim=1)", "alternate"),
        "cosine first": (WAVES + "return torch.stack([a.cos(), a.sin()], dim=2).flatten(1)", "cosines come first"),
        "half the exponent": (WAVES.replace("2 * torch", "torch") + "return torch.stack([a.sin(), a.cos()], dim=2).flatten(1)", "half as fast"),
        "base ignored": (WAVES.replace("base **", "1e4 **") + "return torch.stack([a.sin(), a.cos()], dim=2).flatten(1)", "use the argument"),
        "counted from one": (WAVES.replace("positions.float()", "(positions + 1.0)") + "return torch.stack([a.sin(), a.cos()], dim=2).flatten(1)", "sin 1 = 0.84"),
        "one column each": (WAVES + "return a.sin()", "should give (7, 12)"),
    },
    "3.7": {
        "full width twice": (GRID + "return torch.cat([waves(n // columns, D, base), waves(n % columns, D, base)], dim=1)", "full width"),
        "exchanged": (GRID + "return torch.cat([waves(n % columns, D // 2, base), waves(n // columns, D // 2, base)], dim=1)", "exchanged"),
        "down the columns": (GRID + "return torch.cat([waves(n % rows, D // 2, base), waves(n // rows, D // 2, base)], dim=1)", "down the columns"),
        "square in mind": (GRID + "return torch.cat([waves(n // rows, D // 2, base), waves(n % rows, D // 2, base)], dim=1)", "not of rows"),
        "one direction": (GRID + "return waves(n, D, base)", "n // columns"),
        "base lost": (GRID + "return torch.cat([waves(n // columns, D // 2), waves(n % columns, D // 2)], dim=1)", "not passed on"),
    },
    "3.8": {
        "prefix lost": (RESIZE + "x = F.interpolate(grid, size=new, mode='bilinear')\n    return x.flatten(2).transpose(1, 2)", "are gone"),
        "nearest": (RESIZE + "x = F.interpolate(grid, size=new)\n" + BACK, "nearest"),
        "corners aligned": (RESIZE + "x = F.interpolate(grid, size=new, mode='bilinear', align_corners=True)\n" + BACK, "align_corners=True"),
        "bicubic": (RESIZE + "x = F.interpolate(grid, size=new, mode='bicubic')\n" + BACK, "bicubic"),
        "grid transposed": (RESIZE.replace("*old", "*old[::-1]") + "x = F.interpolate(grid, size=new, mode='bilinear')\n" + BACK, "exchanged"),
        "poured": (RESIZE.replace("reshape(1, *old, -1).permute(0, 3, 1, 2)", "reshape(1, -1, *old)")
                   + "x = F.interpolate(grid, size=new, mode='bilinear')\n" + BACK, "poured"),
    },
}
