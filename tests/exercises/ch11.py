"""Wrong answers to the exercises of chapter 11: the name of the mistake, code, and a part of the message it must get."""

TIMES = "def ratio_of_times(a, b, rounds, clock=time.perf_counter):\n    "
ONE = TIMES + "def one(f):\n        start = clock()\n        f()\n        return clock() - start\n    "
IMAGES = "def my_images(count, epoch, rank, world):\n    "

WRONG = {
    "11.1": {
        "multiply-add as one": ("cost = (12 * 197 * 768**2 + 2 * 197**2 * 768, 0.041)", "counted a multiplication"),
        "training": ("cost = (3 * (24 * 197 * 768**2 + 4 * 197**2 * 768), 0.041)", "That is training"),
        "linear layers only": ("cost = (24 * 197 * 768**2, 0.041)", "4 N² D"),
        "no class token": ("cost = (24 * 196 * 768**2 + 4 * 196**2 * 768, 0.041)", "class token"),
        "all blocks": ("cost = (12 * (24 * 197 * 768**2 + 4 * 197**2 * 768), 0.041)", "12 blocks"),
        "the other share": ("cost = (24 * 197 * 768**2 + 4 * 197**2 * 768, 0.959)", "the other part"),
        "per cent": ("cost = (24 * 197 * 768**2 + 4 * 197**2 * 768, 4.1)", "between 0 and 1"),
        "one row": ("cost = (6 * 197 * 768**2 + 4 * 197 * 768 + 18 * 768**2, 0.041)", "is not"),
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
}
