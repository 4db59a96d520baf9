"""Wrong answers to the exercises of chapter 8: the name of the mistake, code, and a part of the message it must get."""

COSINE = "def cosine_to_floor(step, total, floor):\n    "
CLIP = "def clip_gradients(parameters, limit):\n    length = math.sqrt(sum(p.grad.pow(2).sum().item() for p in parameters))\n    "

WRONG = {
    "8.1": {
        "last batch counted": ("steps_and_warmup = (18 * 391, 352)", "not full"),
        "one epoch": ("steps_and_warmup = (390, 20)", "one epoch"),
        "warm-up of one epoch": ("steps_and_warmup = (7020, 20)", "share of all steps"),
        "ten per cent": ("steps_and_warmup = (7020, 702)", "5 %"),
    },
    "8.2": {
        "no floor": (COSINE + "return (1 + math.cos(math.pi * step / (total - 1))) / 2", "rate 0"),
        "cut off": (COSINE + "return max(floor, (1 + math.cos(math.pi * step / (total - 1))) / 2)", "cut off"),
        "off by one": (COSINE + "return floor + (1 - floor) * (1 + math.cos(math.pi * step / total)) / 2", "does not quite reach"),
        "straight": (COSINE + "return 1 - (1 - floor) * step / (total - 1)", "straight line"),
        "starts low": (COSINE + "return floor", "first step"),
    },
    "8.3": {
        "each by itself": (CLIP + "for p in parameters:\n        p.grad.mul_(limit / p.grad.norm())\n    return length", "by itself"),
        "not in place": (CLIP + "[p.grad * (limit / length) for p in parameters]\n    return length", "unchanged"),
        "stretched": (CLIP + "for p in parameters:\n        p.grad.mul_(limit / length)\n    return length", "stretched"),
        "length after": (CLIP + "for p in parameters:\n        p.grad.mul_(min(1, limit / length))\n    return min(limit, length)", "before clipping"),
        "sum of lengths": (CLIP + "total = sum(p.grad.norm().item() for p in parameters)\n    for p in parameters:\n        p.grad.mul_(limit / total)\n    return length", "root of the sum"),
    },
    "8.4": {
        "zero": ("smallest_loss = 0.0", "infinitely"),
        "true class only": ("smallest_loss = -math.log(0.91)", "nine other classes"),
        "0.9": ("smallest_loss = -math.log(0.9)", "all ten classes"),
        "guess": ("smallest_loss = 0.1", "not the entropy"),
    },
}
