"""Wrong answers to the exercises of chapter 11: the name of the mistake, code, and a part of the message it must get."""

TIMES = "def ratio_of_times(a, b, rounds, clock=time.perf_counter):\n    "
ONE = TIMES + "def one(f):\n        start = clock()\n        f()\n        return clock() - start\n    "
IMAGES = "def my_images(count, epoch, rank, world):\n    "

WRONG = {
    "11.1": {
        "multiply-add as one": ("cost = (12 * 577 * 768**2 + 2 * 577**2 * 768, 0.111)", "counted a multiplication"),
        "training": ("cost = (3 * (24 * 577 * 768**2 + 4 * 577**2 * 768), 0.111)", "That is training"),
        "linear layers only": ("cost = (24 * 577 * 768**2, 0.111)", "4 T² D"),
        "no class token": ("cost = (24 * 576 * 768**2 + 4 * 576**2 * 768, 0.111)", "class token"),
        "images of 224 pixels": ("cost = (24 * 197 * 768**2 + 4 * 197**2 * 768, 0.041)", "24 patches make a side"),
        "all blocks": ("cost = (12 * (24 * 577 * 768**2 + 4 * 577**2 * 768), 0.111)", "12 blocks"),
        "the other share": ("cost = (24 * 577 * 768**2 + 4 * 577**2 * 768, 0.889)", "the other part"),
        "per cent": ("cost = (24 * 577 * 768**2 + 4 * 577**2 * 768, 11.1)", "between 0 and 1"),
        "one row": ("cost = (6 * 577 * 768**2 + 4 * 577 * 768 + 18 * 768**2, 0.111)", "is not"),
    },
    "11.2": {
        "upside down": (ONE + "a(), b()\n    pairs = [(one(a), one(b)) for _ in range(rounds)]\n    return statistics.median(p[1] for p in pairs) / statistics.median(p[0] for p in pairs)", "Upside down"),
        "first call counted": (ONE + "pairs = [(one(a), one(b)) for _ in range(rounds)]\n    return statistics.median(p[0] for p in pairs) / statistics.median(p[1] for p in pairs)", "first call"),
        "one after the other": (ONE + "a(), b()\n    return statistics.median([one(a) for _ in range(rounds)]) / statistics.median([one(b) for _ in range(rounds)])", "take turns"),
        "mean": (ONE + "a(), b()\n    pairs = [(one(a), one(b)) for _ in range(rounds)]\n    return sum(p[0] for p in pairs) / sum(p[1] for p in pairs)", "not the mean"),
        "its own clock": (TIMES + "a(), b()\n    for _ in range(rounds):\n        a(), b()\n    return 1.7", "calm machine"),
        "one round": (ONE + "a(), b()\n    return one(a) / one(b)", "timed five times"),
        "never called": (TIMES + "return 2.0", "Neither"),
    },
    "11.3": {
        "not shuffled": (IMAGES + "return list(range(count // world * world))[rank::world]", "not shuffled"),
        "the same in each epoch": (IMAGES + "g = torch.Generator().manual_seed(0)\n    return torch.randperm(count, generator=g).tolist()[: count // world * world][rank::world]", "same order"),
        "seed by rank": (IMAGES + "g = torch.Generator().manual_seed(epoch + rank)\n    return torch.randperm(count, generator=g).tolist()[: count // world * world][rank::world]", "in two shares"),
        "no generator": (IMAGES + "return torch.randperm(count).tolist()[: count // world * world][rank::world]", "second time"),
        "all the same": (IMAGES + "g = torch.Generator().manual_seed(epoch)\n    return torch.randperm(count, generator=g).tolist()[: count // world]", "All processes get the same"),
        "left-overs kept": (IMAGES + "g = torch.Generator().manual_seed(epoch)\n    return torch.randperm(count, generator=g).tolist()[rank::world]", "have 7, 7, 6 images"),
        "shared before shuffling": (IMAGES + "g = torch.Generator().manual_seed(epoch)\n    mine = list(range(rank, count // world * world, world))\n    return [mine[i] for i in torch.randperm(len(mine), generator=g)]", "same images for ever"),
    },
    "11.4": {
        "measured share": ("diagnosis = (0.34, 1 / 0.34)", "a quarter of the rest"),
        "above the ideal": ("diagnosis = (0.09, 1 / 0.09)", "9 s above"),
        "the other share": ("diagnosis = (0.88, 1 / 0.88)", "serial share is the rest"),
        "seconds": ("diagnosis = (12, 100 / 12)", "give the share"),
        "four processes": ("diagnosis = (0.12, 100 / 34)", "speed-up of four"),
        "shared part's inverse": ("diagnosis = (0.12, 1 / 0.88)", "1 / 0.12"),
        "guess": ("diagnosis = (0.2, 5)", "would need 40 s"),
    },
    "11.5": {
        "too few rounds": ("claim, evidence = 'fused is higher', {'fused': [900, 910, 905], 'explicit': [800, 801, 802]}", "at least 6"),
        "warm-up counted": ("claim, evidence = 'cannot tell', {'fused': [90] + 6 * [900], 'explicit': [80] + 6 * [800]}", "warm-up"),
        "seconds": ("claim, evidence = 'fused is higher', {'fused': [0.1, 0.11, 0.1, 0.12, 0.1, 0.1], 'explicit': [0.2] * 5 + [0.21]}", "are these seconds"),
        "more than the rounds bear": ("claim, evidence = 'fused is higher', {'fused': [900, 700, 920, 690, 910, 705], 'explicit': [800, 801, 803, 802, 804, 799]}", "0 lies inside"),
        "less than the rounds bear": ("claim, evidence = 'cannot tell', {'fused': [900, 901, 902, 903, 904, 905], 'explicit': [800, 802, 801, 805, 803, 804]}", "say more than you do"),
        "the other way round": ("claim, evidence = 'explicit is higher', {'fused': [900, 901, 902, 903, 904, 905], 'explicit': [800, 802, 801, 805, 803, 804]}", "other way round"),
        "not in pairs": ("claim, evidence = 'fused is higher', {'fused': [900, 901, 902, 903, 904, 905], 'explicit': [800, 802]}", "come in pairs"),
        "one number": ("claim, evidence = 'fused is higher', {'fused': 900, 'explicit': 800}", "stopped with TypeError"),
        "another claim": ("claim, evidence = 'fused', {'fused': [900, 901, 902, 903, 904, 905], 'explicit': [800, 802, 801, 805, 803, 804]}", "should be one of"),
    },
}
