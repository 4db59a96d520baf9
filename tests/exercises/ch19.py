"""Wrong answers to the exercises of chapter 19, and a part of the message that each must get."""

INT8 = "def int8(w):\n    top = w.abs().amax(dim=1, keepdim=True)\n    s = torch.where(top > 0, top / 127, torch.ones_like(top))\n    "
GROUPS = ("def merge_groups(x, size, group, groups):\n    goes = F.one_hot(group, groups).to(x.dtype).T\n"
          "    n, count = goes @ size, goes.sum(dim=1)\n    ")
SCORES = "def proportional_weights(q, k, size):\n    s = q @ k.T / q.shape[-1] ** 0.5\n    return "
FRONT = "def worth_a_look(rows):\n    rows = sorted(rows, key=lambda row: row[1])\n    "
BEATEN = "any(f >= fast and l <= lost and (f > fast or l < lost) for _, f, l in rows)"

WRONG = {
    "19.1": {
        "no limit": ("tokens_left = (117, 101, 5)", "forgets the limit"),
        "exchanged": ("tokens_left = (101, 117, 11)", "exchanged"),
        "attention after merging": ("tokens_left = (101, 101, 11)", "still reads what block 5 left"),
        "MLP before merging": ("tokens_left = (117, 117, 11)", "after the block's own merge"),
        "one block too many": ("tokens_left = (101, 85, 11)", "five blocks have merged"),
        "no class token": ("tokens_left = (116, 100, 10)", "class token is read as well"),
        "class token lost at the end": ("tokens_left = (117, 101, 10)", "and the class token"),
        "half a token a pair": ("tokens_left = (157, 149, 101)", "not r / 2"),
        "another end": ("tokens_left = (117, 101, 21)", "The first two are right"),
        "something else": ("tokens_left = (1, 2, 3)", "Before block b"),
    },
    "19.2": {
        "floats": (INT8 + "return (w / s).round(), s", "torch.int8, a byte each"),
        "per tensor": ("def int8(w):\n    s = w.abs().max() / 127\n    return (w / s).round().to(torch.int8), s", "whole matrix"),
        "columns": ("def int8(w):\n    s = w.abs().amax(dim=0, keepdim=True) / 127\n    return (w / s).round().to(torch.int8), s", "columns"),
        "flat scale": (INT8 + "return (w / s).round().to(torch.int8), s[:, 0]", "should be (D_out, 1)"),
        "zero row": ("def int8(w):\n    s = w.abs().amax(dim=1, keepdim=True) / 127\n    return (w / s).nan_to_num().round().to(torch.int8), s", "scale 1"),
        "upside down": (INT8 + "return (w / s).round().to(torch.int8), 1 / s", "wrong way round"),
        "128": (INT8 + "s = torch.where(top > 0, top / 128, s)\n    return (w / s).round().to(torch.int8), s", "which int8 does not hold"),
        "with the sign": (INT8 + "m = w.amax(dim=1, keepdim=True)\n    s = torch.where(m > 0, m / 127, torch.ones_like(m))\n    return (w / s).round().to(torch.int8), s", "without its sign"),
        "255": (INT8 + "s = torch.where(top > 0, top / 255, s)\n    return (w / s).round().to(torch.int8), s", "values wrap round"),
        "cut off": (INT8 + "return (w / s).to(torch.int8), s", "cut off"),
        "rounded down": (INT8 + "return (w / s).floor().to(torch.int8), s", "rounded down"),
        "too coarse": (INT8 + "s = 4 * s\n    return (w / s).round().to(torch.int8), s", "is the most"),
    },
    "19.3": {
        "unweighted": (GROUPS + "return goes @ x / count[:, None], n", "Each token weighs the same"),
        "sums": (GROUPS + "return goes @ (x * size[:, None]), n", "Those are sums"),
        "divided by tokens": (GROUPS + "return goes @ (x * size[:, None]) / count[:, None], n", "number of tokens"),
        "unweighted, divided by sizes": (GROUPS + "return goes @ x / n[:, None], n", "not weighted, and yet"),
        "sizes counted": (GROUPS + "return goes @ (x * size[:, None]) / n[:, None], count", "count tokens"),
        "sizes averaged": (GROUPS + "return goes @ (x * size[:, None]) / n[:, None], n / count", "were averaged"),
        "largest size": (GROUPS + "return goes @ (x * size[:, None]) / n[:, None], (goes * size).amax(dim=1)", "largest size"),
        "sizes of columns": (GROUPS + "return goes @ (x * size[:, None]) / n[:, None], n[:, None]", "sizes (groups,)"),
        "other sizes": (GROUPS + "return goes @ (x * size[:, None]) / n[:, None], n + 1", "sizes of the groups are"),
        "squared": (GROUPS + "return goes @ (x * size[:, None] ** 2) / n[:, None], n", "the means are not"),
    },
    "19.4": {
        "no sizes": (SCORES + "s.softmax(-1)", "no effect"),
        "sizes as they are": (SCORES + "(s + size).softmax(-1)", "as they are"),
        "scores times sizes": (SCORES + "(s * size).softmax(-1)", "were multiplied by the sizes"),
        "after the softmax": (SCORES + "s.softmax(-1) * size", "no longer sums to 1"),
        "log scaled": (SCORES + "(s + size.log() / q.shape[-1] ** 0.5).softmax(-1)", "divided by √d as well"),
        "not scaled": (SCORES + "(q @ k.T + size.log()).softmax(-1)", "not divided by √d"),
        "base 2": (SCORES + "(s + size.log2()).softmax(-1)", "base 2"),
        "subtracted": (SCORES + "(s - size.log()).softmax(-1)", "subtracted"),
        "over queries": (SCORES + "(s + size.log()).softmax(0)", "runs over the queries"),
        "another size": (SCORES + "(s + size.roll(1).log()).softmax(-1)", "The numbers differ"),
        "one row": (SCORES + "(s + size.log()).softmax(-1)[:1]", "make (5, 5)"),
    },
    "19.5": {
        "rows": (FRONT + f"return [(name, fast, lost) for name, fast, lost in rows if not {BEATEN}]", "names alone"),
        "order": (FRONT + f"return [name for name, fast, lost in rows[::-1] if not {BEATEN}]", "from slow to fast"),
        "equals beat": (FRONT + "return [n for n, fast, lost in rows if not any(f >= fast and l <= lost for m, f, l in rows if m != n)]", "do not beat each other"),
        "strictly in both": (FRONT + "return [n for n, fast, lost in rows if not any(f > fast and l < lost for _, f, l in rows)]", "as good in one"),
        "all": (FRONT + "return [row[0] for row in rows]", "No row was left out"),
        "upside down": (FRONT + "return [n for n, fast, lost in rows if not any(f <= fast and l >= lost and (f, l) != (fast, lost) for _, f, l in rows)]", "yours leaves"),
        "slow is good": (FRONT + "return [n for n, fast, lost in rows if not any(f <= fast and l <= lost and (f, l) != (fast, lost) for _, f, l in rows)]", "wrong way round"),
        "fastest": (FRONT + "top = max(row[1] for row in rows)\n    return [row[0] for row in rows if row[1] == top]", "fastest alone"),
        "least lost": (FRONT + "low = min(row[2] for row in rows)\n    return [row[0] for row in rows if row[2] == low and row[1] > 1]", "lose least"),
    },
}
