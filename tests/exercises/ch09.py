"""Wrong answers to the exercises of chapter 9: the name of the mistake, code, and a part of the message it must get."""

GAIN = "def gain_interval(after, before, t):\n    d = [100 * (a - b) for a, b in zip(after, before)]\n    n = len(d)\n    m = sum(d) / n\n    "

WRONG = {
    "9.1": {
        "share": ("deviation = math.sqrt(0.8 * 0.2 / 5000)", "percentage points"),
        "count": ("deviation = math.sqrt(5000 * 0.8 * 0.2)", "divides it by 5,000"),
        "variance": ("deviation = 100 * 0.8 * 0.2 / 5000", "square root"),
        "p alone": ("deviation = 100 * math.sqrt(0.8 / 5000)", "p (1 - p)"),
        "guess": ("deviation = 2.0", "not 2.0 points"),
    },
    "9.2": {
        "no root of n": (GAIN + "h = t * stdev(d)\n    return m - h, m + h", "root of n"),
        "divided by n": (GAIN + "h = t * (sum((x - m) ** 2 for x in d) / n) ** 0.5 / n ** 0.5\n    return m - h, m + h", "n - 1"),
        "unpaired": (GAIN + "h = t * 100 * ((stdev(after) ** 2 + stdev(before) ** 2) / n) ** 0.5\n    return m - h, m + h", "not paired"),
        "shares": (GAIN + "h = t * stdev(d) / n ** 0.5\n    return (m - h) / 100, (m + h) / 100", "hundred times"),
        "turned around": (GAIN + "h = t * stdev(d) / n ** 0.5\n    return -m - h, -m + h", "after minus before"),
    },
    "9.3": {
        "best test": ("def report(runs):\n    return max(run['test'] for run in runs)", "test set has chosen"),
        "best epoch": ("def report(runs):\n    return max(runs, key=lambda run: max(run['validation']))['test']", "weights of that epoch are gone"),
        "validation published": ("def report(runs):\n    return max(max(run['validation']) for run in runs)", "flatters"),
        "mean": ("def report(runs):\n    return mean(run['test'] for run in runs)", "not the run that was chosen"),
    },
    "9.4": {
        "all quadratic": ("passes = 25", "square of the width"),
        "linear": ("passes = 50", "four times the work"),
        "inverted": ("passes = 345", "fewer"),
        "guess": ("passes = 40", "do not cost the same"),
    },
}
