"""Wrong answers to the exercises of chapter 12: the name of the mistake, code, and a part of the message it must get."""

ENTROPY = "def row_entropy(maps):\n    "
FOLLOW = "def follow(maps):\n    total = torch.eye(maps.shape[-1])\n    for layer in maps:\n        total = "
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
        "reverse": (FOLLOW + "total @ layer\n    return total", "in reverse"),
        "average": ("def follow(maps):\n    return maps.mean(0)", "do not average"),
        "entry by entry": ("def follow(maps):\n    return maps.prod(0)", "entry by entry"),
        "residual": (FOLLOW + "(0.5 * torch.eye(len(total)) + 0.5 * layer) @ total\n    return total", "residual path"),
    },
    "12.4": {
        "over one half": (POINT + "return (share > 0.5).float().mean().item()", "exactly one half"),
        "any cover": (POINT + "return (share > 0).float().mean().item()", "0.3 is not a win"),
        "mean share": (POINT + "return share.mean().item()", "all or nothing"),
        "count": (POINT + "return (share >= 0.5).float().sum().item()", "divide by"),
        "per image": (POINT + "return share >= 0.5", "one number"),
    },
}
