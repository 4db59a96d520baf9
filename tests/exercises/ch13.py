"""Wrong answers to the exercises of chapter 13: the name of the mistake, code, and a part of the message it must get."""

FALLS = "def falls(score, x, fill):\n    before, out = score(x), torch.empty_like(x)\n    for n in range(x.shape[1]):\n        "
DRAW = "def paired_interval(a, b):\n    draw = lambda: torch.randint(len(a), (2000, len(a)))\n    q = lambda v, l=.025, h=.975: tuple(v.quantile(torch.tensor([l, h])).tolist())\n    "
SMOOTH = 'evidence = {"smooth": [0.82, 0.83, 0.89, 0.84], "plain": [0.69, 0.66, 0.73, 0.65]}\n'
POOL = "def smooth(pictures):\n    return F."

WRONG = {
    "13.1": {
        "any cover": ("wins_by_chance = 9 / 64", "one half or more"),
        "of the object": ("wins_by_chance = 5 / 9", "any of the 64"),
        "one patch": ("wins_by_chance = 1 / 64", "five would do"),
        "half": ("wins_by_chance = 0.5", "share of hits"),
    },
    "13.2": {
        "sign": (FALLS + "z = x.clone(); z[:, n] = fill; out[:, n] = score(z) - before\n    return out", "before minus"),
        "zero": (FALLS + "z = x.clone(); z[:, n] = 0; out[:, n] = before - score(z)\n    return out", "not by `fill`"),
        "in place": (FALLS + "x[:, n] = fill; out[:, n] = before - score(x)\n    return out", "clone it"),
        "pile up": ("def falls(score, x, fill):\n    before, z, out = score(x), x.clone(), torch.empty_like(x)\n    for n in range(x.shape[1]):\n"
                    "        z[:, n] = fill; out[:, n] = before - score(z)\n    return out", "pile up"),
        "all but one": (FALLS + "z = torch.full_like(x, fill); z[:, n] = x[:, n]; out[:, n] = before - score(z)\n    return out", "all entries but one"),
        "absolute": (FALLS + "z = x.clone(); z[:, n] = fill; out[:, n] = (before - score(z)).abs()\n    return out", "Keep the sign"),
        "one number": ("def falls(score, x, fill):\n    return score(x) - score(torch.full_like(x, fill))", "input's shape"),
    },
    "13.3": {
        "unpaired": (DRAW + "return q(a[draw()].mean(1) - b[draw()].mean(1))", "separately"),
        "single images": (DRAW + "return q(a - b)", "spread of single images"),
        "turned": (DRAW + "return q((b - a)[draw()].mean(1))", "yours is b - a"),
        "upper first": (DRAW + "return q((a - b)[draw()].mean(1))[::-1]", "lower end first"),
        "90 %": (DRAW + "return q((a - b)[draw()].mean(1), .05, .95)", "2.5 %"),
        "not the difference": (DRAW + "return q(a[draw()].mean(1) + 5)", "does not lie between"),
    },
    "13.4": {
        "zeros": (POOL + "avg_pool2d(pictures[:, None], 3, 1, 1)[:, 0]", "do not exist"),
        "sum": (POOL + "avg_pool2d(pictures[:, None], 3, 1, 1, divisor_override=1)[:, 0]", "divide by"),
        "largest": (POOL + "max_pool2d(pictures[:, None], 3, 1, 1)[:, 0]", "take the mean"),
        "wide": (POOL + "avg_pool2d(pictures[:, None], 5, 1, 2, count_include_pad=False)[:, 0]", "larger than 3×3"),
        "smaller": (POOL + "avg_pool2d(pictures[:, None], 3, 1)[:, 0]", "keep the shape"),
    },
    "13.5": {
        "other way round": (SMOOTH + 'claim = "plain is higher"', "other way round"),
        "too careful": (SMOOTH + 'claim = "cannot tell"', "say more than you do"),
        "too few": ('evidence = {"smooth": [0.82, 0.83, 0.89], "plain": [0.69, 0.66, 0.73]}\nclaim = "smooth is higher"', "at least 4"),
        "percent": ('evidence = {"smooth": [82, 83, 89, 84], "plain": [69, 66, 73, 65]}\nclaim = "smooth is higher"', "cannot be such"),
        "other images": ('evidence = {"smooth": [0.82, 0.83, 0.89, 0.84], "plain": [0.55, 0.66, 0.73, 0.65]}\nclaim = "smooth is higher"', "seed 200"),
        "no noise": ('evidence = {"smooth": [0.69, 0.66, 0.73, 0.65], "plain": [0.69, 0.66, 0.73, 0.65]}\nclaim = "cannot tell"', "Did the change"),
    },
}
