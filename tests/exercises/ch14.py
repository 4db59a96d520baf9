"""Wrong answers to the exercises of chapter 14: the name of the mistake, code, and a part of the message it must get."""

LAYERS = "def faulty_layers(ours, theirs, x):\n    "
LOOP = "found = []\n    for n, (our, their) in enumerate(zip(ours, theirs)):\n        y = their(x)\n        "
PAIRED = "def paired_interval(well, ill, t):\n    d = [100 * (a - b) for a, b in zip(well, ill)]\n    "
PSTDEV = "(sum((x - mean(d)) ** 2 for x in d) / len(d)) ** 0.5"

WRONG = {
    "14.1": {
        "zero": ("lowest_loss = 0.0", "given logits"),
        "guess": ("lowest_loss = math.log(2)", "where training starts"),
        "ten classes": ("lowest_loss = math.log(math.e + 9) - 1", "has two"),
        "score not subtracted": ("lowest_loss = math.log(math.e + 1)", "still to be subtracted"),
        "probability": ("lowest_loss = math.e / (math.e + 1)", "minus its logarithm"),
    },
    "14.2": {
        "own output": (LAYERS + "found, z = [], x\n    for n, (our, their) in enumerate(zip(ours, theirs)):\n        z, x = our(z), their(x)\n"
                       "        if not torch.allclose(z, x, atol=1e-5):\n            found.append(n)\n    return found", "innocent"),
        "exact": (LAYERS + LOOP + "if not torch.equal(our(x), y):\n            found.append(n)\n        x = y\n    return found", "rounding"),
        "first only": (LAYERS + LOOP + "if not torch.allclose(our(x), y, atol=1e-5):\n            return [n]\n        x = y\n    return []",
                       "second fault"),
        "from one": (LAYERS + LOOP + "if not torch.allclose(our(x), y, atol=1e-5):\n            found.append(n + 1)\n        x = y\n    return found",
                     "count layers from 0"),
        "those that agree": (LAYERS + LOOP + "if torch.allclose(our(x), y, atol=1e-5):\n            found.append(n)\n        x = y\n    return found",
                             "layers that agree"),
        "one number": (LAYERS + "return 1", "Return a list"),
    },
    "14.3": {
        "unpaired": ("def paired_interval(well, ill, t):\n    half = 100 * t * ((stdev(well) ** 2 + stdev(ill) ** 2) / len(well)) ** 0.5\n"
                     "    middle = 100 * (mean(well) - mean(ill))\n    return middle - half, middle + half", "within each seed"),
        "no root of n": (PAIRED + "return mean(d) - t * stdev(d), mean(d) + t * stdev(d)", "surer by"),
        "no t": (PAIRED + "half = stdev(d) / len(d) ** 0.5\n    return mean(d) - half, mean(d) + half", "multiply it by t"),
        "n": (PAIRED + f"half = t * {PSTDEV} / len(d) ** 0.5\n    return mean(d) - half, mean(d) + half", "n − 1"),
        "shares": (PAIRED + "half = t * stdev(d) / len(d) ** 0.5\n    return (mean(d) - half) / 100, (mean(d) + half) / 100", "in shares"),
        "sign": (PAIRED + "half = t * stdev(d) / len(d) ** 0.5\n    return -mean(d) - half, -mean(d) + half", "sign"),
    },
    "14.4": {
        "no square": ("seeds_needed = 5", "the square"),
        "rounded down": ("seeds_needed = 17", "Round up"),
        "normal": ("seeds_needed = 16", "1.96"),
        "not whole": ("seeds_needed = 17.64", "whole numbers"),
        "no t": ("seeds_needed = 4", "t·s/√n"),
        "many": ("seeds_needed = 100", "just below"),
    },
}
