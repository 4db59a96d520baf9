"""Wrong answers to the exercises of chapter 14: the name of the mistake, code, and a part of the message it must get."""

LAYERS = "def faulty_layers(ours, theirs, x):\n    "
LOOP = "found = []\n    for n, (our, their) in enumerate(zip(ours, theirs)):\n        y = their(x)\n        "
PAIR = "high, low = early_cost('scale', 5e-3, 0), early_cost('scale', 1e-3, 0)\n"
FLIP = ("from itertools import product\n\ndef flip_test(d):\n    seen = abs(sum(d))\n"
        "    sums = [sum(a * b for a, b in zip(c, d)) for c in product((1, -1), repeat=len(d))]\n    ")

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
        "one side": (FLIP + "return sum(s >= seen for s in sums) / len(sums)", "one side only"),
        "ties left out": (FLIP + "return sum(abs(s) > seen for s in sums) / len(sums)", "ties"),
        "count": (FLIP + "return sum(abs(s) >= seen for s in sums)", "That is a count"),
        "observed left out": (FLIP + "return (sum(abs(s) >= seen for s in sums) - 1) / len(sums)", "one of the choices"),
        "order": ("from itertools import permutations\n\ndef flip_test(d):\n    every = [sum(p) for p in permutations(d)]\n"
                  "    return sum(abs(s) >= sum(d) for s in every) / len(every)", "Flip signs"),
        "signs only": ("from itertools import product\n\ndef flip_test(d):\n    plus = abs(sum(1 if x > 0 else -1 for x in d))\n"
                       "    every = [abs(sum(c)) for c in product((1, -1), repeat=len(d))]\n    return sum(s >= plus for s in every) / len(every)",
                       "number of plus signs"),
    },
    "14.4": {
        "no square": ("seeds_needed = 5", "the square"),
        "rounded down": ("seeds_needed = 17", "Round up"),
        "normal": ("seeds_needed = 16", "1.96"),
        "not whole": ("seeds_needed = 17.64", "whole numbers"),
        "no t": ("seeds_needed = 4", "t·s/√n"),
        "many": ("seeds_needed = 100", "just below"),
    },
    "14.5": {
        "one pair": (PAIR + "evidence = {'high rate': [high], 'low rate': [low]}\nclaim = 'high rate is higher'", "at least 3"),
        "no such claim": (PAIR + "evidence = {'high rate': [high] * 3, 'low rate': [low] * 3}\nclaim = 'yes'", "should be one of"),
        "unpaired": (PAIR + "evidence = {'high rate': [high, 0.5, 0.6, 0.4], 'low rate': [low, 0.1, 0.2]}\nclaim = 'cannot tell'",
                     "come in pairs"),
        "swapped": (PAIR + "evidence = {'high rate': [low, 0.1, 0.2], 'low rate': [high, 0.5, 0.6]}\nclaim = 'low rate is higher'",
                    "each other's place"),
        "invented": ("evidence = {'high rate': [3.0, 3.1, 2.9], 'low rate': [1.0, 1.1, 0.9]}\nclaim = 'high rate is higher'",
                     "At seed 0"),
        "too sure": (PAIR + "evidence = {'high rate': [high, -0.9, 0.9], 'low rate': [low, 0.9, -0.9]}\nclaim = 'high rate is higher'",
                     "do not bear your claim"),
        "wrong names": (PAIR + "evidence = {'high': [high] * 3, 'low': [low] * 3}\nclaim = 'cannot tell'", "two lists"),
    },
}
