"""Wrong answers to the exercises of chapter 15: the name of the mistake, code, and a part of the message it must get."""

SPLIT = "def split_qkv(qkv):\n    "
FOLD = "def fold_bytes(weight, bias, mean, std):\n    mean, std = mean[:, None, None], std[:, None, None]\n    "
TAKEN = "bias - (weight * mean / std).sum(dim=(1, 2, 3))"
GROUPS = ("def split_by_group(groups, share, seed):\n    names = groups.unique()\n    g = torch.Generator().manual_seed(seed)\n"
          "    order = torch.randperm(len(names), generator=g)\n    n = round(share * len(names))\n    ")
STEPS = "share_of_the_patch_embedding = {}\nfactor_for_a_thousandth = {}"

WRONG = {
    "15.1": {
        "no biases": ("trained_numbers = 3840", "bias too"),
        "a bias for each feature": ("trained_numbers = 384 * 10 + 384", "not to each feature"),
        "ImageNet's classes": ("trained_numbers = 385_000", "1,000 classes"),
        "width of the MLP": ("trained_numbers = 15_370", "inside of an MLP"),
        "the whole model": ("trained_numbers = 21_700_000", "frozen model as well"),
        "one class": ("trained_numbers = 385", "from 384 to 10"),
    },
    "15.2": {
        "inputs": (SPLIT + "return qkv.chunk(3, dim=-1)", "along the inputs"),
        "order": (SPLIT + "q, k, v = qkv.chunk(3)\n    return k, q, v", "You return keys, queries, values"),
        "every third row": (SPLIT + "return qkv[0::3], qkv[1::3], qkv[2::3]", "every third row"),
        "transposed": (SPLIT + "return tuple(part.T for part in qkv.chunk(3))", "transposed"),
        "two": (SPLIT + "return qkv.chunk(2)", "three tensors"),
        "no biases": (SPLIT + "D = qkv.shape[1]\n    return qkv[:D], qkv[D:2 * D], qkv[2 * D:]", "IndexError"),
        "rolled": (SPLIT + "return qkv.roll(1, 0).chunk(3)", "not the three blocks"),
    },
    "15.3": {
        "no bytes": (FOLD + f"return weight / std, {TAKEN}", "255 times as large"),
        "multiplied": (FOLD + f"return weight * std / 255, {TAKEN}", "divides by it"),
        "no bias": (FOLD + "return weight / (255 * std), bias", "mean is missing"),
        "sign": (FOLD + f"return weight / (255 * std), {TAKEN.replace('-', '+')}", "sign of the constant"),
        "mean alone": (FOLD + "return weight / (255 * std), bias - (weight * mean).sum(dim=(1, 2, 3))", "divided by the standard deviation too"),
        "averaged": (FOLD + "return weight / (255 * std), bias - (weight * mean / std).mean(dim=(1, 2, 3))", "do not average"),
        "mean in bytes": (FOLD + "return weight / (255 * std), bias - (weight * mean / std / 255).sum(dim=(1, 2, 3))", "needs no 255"),
        "in place": (FOLD + f"bias = {TAKEN}\n    weight /= 255 * std\n    return weight, bias", "has changed"),
        "one for all": (FOLD + "return weight / (255 * std), bias - (weight * mean / std).sum()", "answers differ"),
    },
    "15.4": {
        "images": ("def split_by_group(groups, share, seed):\n    g = torch.Generator().manual_seed(seed)\n"
                   "    v = torch.rand(len(groups), generator=g) < share\n    return ~v, v", "stands on both sides"),
        "exchanged": (GROUPS + "v = torch.isin(groups, names[order[:n]])\n    return v, ~v", "exchanged"),
        "too many": (GROUPS + "v = torch.isin(groups, names[order[:2 * n]])\n    return ~v, v", "should take three"),
        "overlap": (GROUPS + "v = torch.isin(groups, names[order[:n]])\n    return torch.ones_like(v), v", "in both parts"),
        "lost": (GROUPS + "v = torch.isin(groups, names[order[:n]])\n    return ~v & (groups > 1), v & (groups > 1)", "in neither part"),
        "not shuffled": (GROUPS + "v = torch.isin(groups, names[:n])\n    return ~v, v", "shuffle the groups"),
        "without a seed": (GROUPS + "v = torch.isin(groups, names[torch.randperm(len(names))[:n]])\n    return ~v, v", "same seed"),
        "indices": (GROUPS + "v = torch.isin(groups, names[order[:n]])\n    return (~v).nonzero()[:, 0], v.nonzero()[:, 0]", "should be bool"),
    },
    "15.5": {
        "blocks alone": (STEPS.format("0.75 ** 12", "0.001 ** (1 / 13)"), "one step more"),
        "between blocks": (STEPS.format("0.75 ** 11", "0.001 ** (1 / 13)"), "Count again"),
        "the head too": (STEPS.format("0.75 ** 14", "0.001 ** (1 / 13)"), "full rate"),
        "turned": (STEPS.format("0.75 ** -13", "0.001 ** (1 / 13)"), "Turn the first"),
        "linear": (STEPS.format("0.75 ** 13", "0.001 / 13"), "take a root"),
        "another root": (STEPS.format("0.75 ** 13", "0.001 ** (1 / 12)"), "not a thousandth"),
        "a difference": (STEPS.format("1 - 0.75 * 13", "0.588"), "to the power of the steps"),
    },
}
