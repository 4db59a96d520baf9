"""Wrong answers to the exercises of chapter 9: the name of the mistake, code, and a part of the message it must get."""

GAIN = "def gain_interval(after, before, t):\n    d = [100 * (a - b) for a, b in zip(after, before)]\n    n = len(d)\n    m = sum(d) / n\n    "

RUNS = "adamw_lr = 0.006\nevidence = {'Muon': [ch09.toy('Muon', 0.03, s) for s in range(3)], 'AdamW': [ch09.toy('AdamW', adamw_lr, s) for s in range(3)]}\n"
NORM = "stack / stack.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)"
ROUNDS = ("def newton_schulz(stack):\n    X = {}\n    for _ in range({}):\n        A = X @ X.mT\n"
          "        X = 3.4445 * X + (-4.7750 * A + 2.0315 * A @ A) @ X\n    return X")
AVERAGE, AHEAD = "momentum * average + (1 - momentum) * gradient", "momentum * average + (1 - momentum) * gradient"
SCALE = "max(1, m / n) ** 0.5"
UPDATE = ("def muon_update(gradient, average, momentum=0.95):\n    average = {}\n    ahead = {}\n"
          "    X = newton_schulz(ahead.flatten(1)[None])[0]\n    m, n = X.shape\n    return ({} * X).reshape(gradient.shape), average")
STAGE = ("class StageMuon(Optimizer):\n    def __init__(self, parameters, lr, momentum=0.95):\n"
         "        super().__init__(parameters, {{'lr': lr, 'momentum': momentum}})\n\n    @torch.no_grad()\n    def step(self):\n"
         "        for group in self.param_groups:\n            for p in group['params']:\n                if p.grad is None: continue\n"
         "                s = self.state[p]\n                update, after = muon_update(p.grad, s.get('average', torch.zeros_like(p)), group['momentum'])\n"
         "                s['average'] = after\n                {}")

WRONG = {
    "9.1": {
        "share": ("std = math.sqrt(0.8 * 0.2 / 5000)", "percentage points"),
        "count": ("std = math.sqrt(5000 * 0.8 * 0.2)", "divides it by 5,000"),
        "variance": ("std = 100 * 0.8 * 0.2 / 5000", "square root"),
        "p alone": ("std = 100 * math.sqrt(0.8 / 5000)", "p (1 - p)"),
        "guess": ("std = 2.0", "not 2.0 points"),
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
        "all quadratic": ("epochs = 25", "square of the width"),
        "linear": ("epochs = 50", "four times the work"),
        "inverted": ("epochs = 345", "fewer"),
        "guess": ("epochs = 40", "do not cost the same"),
    },
    "9.5": {
        "too few": ("adamw_lr, claim, evidence = 0.006, 'Muon is higher', {'Muon': [.67, .68], 'AdamW': [.58, .59]}", "at least 3"),
        "no such claim": (RUNS + "claim = 'Muon'", "should be one of"),
        "other names": ("adamw_lr, claim, evidence = 0.006, 'cannot tell', {'a': [.6], 'b': [.5]}", "two lists"),
        "untuned": (RUNS.replace("0.006", "0.0005") + "claim = 'Muon is higher'", "not tuned"),
        "invented": ("adamw_lr, claim, evidence = 0.006, 'Muon is higher', {'Muon': [.95, .96, .97], 'AdamW': [.58, .59, .57]}", "does not reach"),
        "another rate": (RUNS.replace("adamw_lr, s)", "0.0005, s)") + "claim = 'Muon is higher'", "AdamW at 0.006 with seed 0"),
        "more than it bears": ("adamw_lr, claim, evidence = 0.006, 'Muon is higher', {'Muon': [.6, .5, .7], 'AdamW': [.5, .7, .6]}", "do not bear"),
        "per cent": ("adamw_lr, claim, evidence = 0.006, 'Muon is higher', {'Muon': [67, 68, 66], 'AdamW': [58, 59, 57]}", "lies between"),
    },
    "9.6": {
        "no norm": (ROUNDS.format("stack", 5), "before the first round"),
        "one norm": (ROUNDS.format("stack / stack.norm()", 5), "whole stack"),
        "three rounds": (ROUNDS.format(NORM, 3), "3 rounds, not five"),
        "zeros": (ROUNDS.format("stack / stack.norm(dim=(-2, -1), keepdim=True)", 5), "NaN"),
        "svd": ("def newton_schulz(stack):\n    U, S, V = torch.linalg.svd(stack, full_matrices=False)\n    return U @ V", "slow"),
        "in place": ("def newton_schulz(stack):\n    n = stack.norm(dim=(-2, -1), keepdim=True)\n    stack /= n\n    return stack", "somebody's gradient"),
        "transposed": (ROUNDS.format(NORM, 5).replace("return X", "return X.mT"), "with its shape"),
        "signs": (ROUNDS.format(NORM, 5).replace("3.4445", "3.0"), "line by line"),
    },
    "9.7": {
        "turned around": (UPDATE.format("(1 - momentum) * average + momentum * gradient", AHEAD, SCALE), "turned around"),
        "a sum": (UPDATE.format("momentum * average + gradient", AHEAD, SCALE), "a sum"),
        "no average": (UPDATE.format("gradient", AHEAD, SCALE), "new average is not"),
        "no look ahead": (UPDATE.format(AVERAGE, "average", SCALE), "Nesterov"),
        "gradient only": (UPDATE.format(AVERAGE, "gradient", SCALE), "gradient itself"),
        "no factor": (UPDATE.format(AVERAGE, AHEAD, "1"), "it is missing"),
        "factor for all": (UPDATE.format(AVERAGE, AHEAD, "(m / n) ** 0.5"), "lies down"),
        "matrix comes back": (UPDATE.format(AVERAGE, AHEAD, SCALE).replace(".reshape(gradient.shape)", ""), "give it back its own"),
        "wrong axes": (UPDATE.format(AVERAGE, AHEAD, SCALE).replace("ahead.flatten(1)[None])[0]", "ahead.flatten(1).mT[None])[0].mT * 2"), "the update of a gradient"),
    },
    "9.8": {
        "nothing": (STAGE.format("pass"), "where they were"),
        "uphill": (STAGE.format("p.add_(group['lr'] * update)"), "uphill"),
        "no rate": (STAGE.format("p.sub_(update)"), "Even the first step"),
        "no state": (STAGE.format("p.sub_(group['lr'] * update)").replace("s['average'] = after", "pass"), "kept in self.state"),
        "one rate for ever": (STAGE.format("p.sub_(0.1 * update)"), "at every step"),
        "stumbles over no gradient": (STAGE.format("p.sub_(group['lr'] * update)").replace("if p.grad is None: continue", "pass"), "stopped with"),
    },
}
