"""Wrong answers to the exercises of chapter 12: the name of the mistake, code, and a part of the message it must get."""

ENTROPY = "def row_entropy(maps):\n    "
FOLLOW = "def follow(layers):\n    total = torch.eye(layers.shape[-1])\n    for layer in layers:\n        total = "
SKIP = "def with_skip(maps):\n    return "
SHARES = "def as_shares(layers):\n    return "
LOSSES = 'evidence = {"together": [0.265, 0.315, 0.265], "sum": [0.055, 0.075, 0.02]}\n'
POINT = "def win_share(pictures, inside):\n    place = pictures.flatten(1).argmax(1, keepdim=True)\n    share = inside.flatten(1).gather(1, place)\n    "

WRONG = {
    "12.1": {
        "all": ("share_on_patches = 1.0", "to itself"),
        "one token": ("share_on_patches = 1 / 65", "one token"),
        "63 of 64": ("share_on_patches = 63 / 64", "65 tokens"),
        "half": ("share_on_patches = 0.5", "64 of 65"),
    },
    "12.2": {
        "log of zero": (ENTROPY + "return -(maps * maps.log()).sum(-1)", "NaN"),
        "sign": (ENTROPY + "return -torch.special.entr(maps).sum(-1)", "sign"),
        "columns": (ENTROPY + "return torch.special.entr(maps).sum(-2)", "down the columns"),
        "mean": (ENTROPY + "return torch.special.entr(maps).mean(-1)", "not averaged"),
        "bits": (ENTROPY + "return torch.special.entr(maps).sum(-1) / 0.6931472", "bits"),
        "one number": (ENTROPY + "return torch.special.entr(maps).sum()", "one number a row"),
    },
    "12.3": {
        "heads kept": (SKIP + "maps + torch.eye(maps.shape[-1])", "still there"),
        "no skip": (SKIP + "maps.mean(dim=2)", "add the identity"),
        "ones": (SKIP + "maps.mean(dim=2) + 1", "every entry"),
        "sum": (SKIP + "maps.sum(dim=2) + torch.eye(maps.shape[-1])", "are summed"),
        "halved": (SKIP + "(maps.mean(dim=2) + torch.eye(maps.shape[-1])) / 2", "next stage"),
        "images": (SKIP + "maps.mean(dim=1) + torch.eye(maps.shape[-1])", "over the images"),
        "all": (SKIP + "maps.mean(dim=(1, 2)) + torch.eye(maps.shape[-1])", "should be (3, 2, 4, 4)"),
    },
    "12.4": {
        "columns": (SHARES + "layers / layers.sum(dim=-2, keepdim=True)", "rows that are shares"),
        "by two": (SHARES + "layers / 2", "divided by 2"),
        "softmax": (SHARES + "layers.softmax(dim=-1)", "proportions"),
        "other rows": (SHARES + "layers / layers.sum(dim=-1)[..., None, :]", "keepdim"),
        "by all": (SHARES + "layers / layers.sum(dim=(-2, -1), keepdim=True)", "should sum to 1"),
    },
    "12.5": {
        "reverse": (FOLLOW + "total @ layer\n    return total", "in reverse"),
        "average": ("def follow(layers):\n    return layers.mean(0)", "do not average"),
        "entry by entry": ("def follow(layers):\n    return layers.prod(0)", "entry by entry"),
        "first left out": ("def follow(layers):\n    return layers[2] @ layers[1]", "left out"),
        "one image": ("def follow(layers):\n    return layers[2, 0] @ layers[1, 0] @ layers[0, 0]", "one matrix for each image"),
        "stage 1": ("def with_skip(maps):\n    return maps.mean(2)\n" + FOLLOW + "layer @ total\n    return total", "stages 1 and 2"),
    },
    "12.6": {
        "over one half": (POINT + "return (share > 0.5).float().mean().item()", "exactly one half"),
        "any cover": (POINT + "return (share > 0).float().mean().item()", "0.3 is not a win"),
        "mean share": (POINT + "return share.mean().item()", "all or nothing"),
        "count": (POINT + "return (share >= 0.5).float().sum().item()", "divide by"),
        "per image": (POINT + "return share >= 0.5", "one number"),
    },
    "12.7": {
        "too careful": (LOSSES + 'claim = "cannot tell"', "say more than you do"),
        "other way round": (LOSSES + 'claim = "sum is higher"', "other way round"),
        "too few": ('evidence = {"together": [0.265, 0.315], "sum": [0.055, 0.075]}\nclaim = "together is higher"', "at least 3"),
        "percent": ('evidence = {"together": [26.5, 31.5, 26.5], "sum": [5.5, 7.5, 2]}\nclaim = "together is higher"', "cannot be such"),
        "another layer": ('evidence = {"together": [0.6, 0.6, 0.7], "sum": [0.2, 0.2, 0.25]}\nclaim = "together is higher"', "Is it layer 2"),
        "mean": ('evidence = {"together": [0.265, 0.315, 0.265], "sum": [0.014, 0.019, 0.005]}\nclaim = "together is higher"', "for 'sum'"),
    },
}
