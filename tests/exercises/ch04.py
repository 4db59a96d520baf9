"""Wrong answers to the exercises of chapter 4: the name of the mistake, code, and a part of the message it must get."""

MASK = "def masked_attention(q, k, v, keep):\n    s = q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5\n    keep = keep[:, None, :]\n    "
PREVIOUS = "def previous_token(N):\n    c = 10 * N**0.5\n    I = torch.eye(N)\n    "
LOOK_UP = "def soft_look_up(query, keys, values, tau):\n    s = keys @ query\n    "
CROSS = "def cross_attention(x, context, Wq, Wk, Wv, keep):\n    "
HARD = "if tau == 0:\n        return values[s.argmax()]\n    "
LOSSES = "divided, undivided = [0.07, 0.08, 0.08, 0.06], [0.84, 0.61, 0.36, 0.90]\n"  # four runs of each side, rounded
REAL = "divided, undivided = ([final_loss(side, seed) for seed in range(3)] for side in (True, False))\n"
EVIDENCE = 'evidence = {"divided": divided, "undivided": undivided}\n'

WRONG = {
    "4.1": {
        "sum": ("received = 16", "sum of the values"),
        "scores as weights": ("received = 48", "softmax comes first"),
        "largest": ("received = 10", "not read more"),
        "median": ("received = 2.5", "equal shares"),
    },
    "4.2": {
        "upside down": ("std_of_scores = 2.0", "Upside down"),
        "no root": ("std_of_scores = 1 / 4", "square root"),
        "both divisions": ("std_of_scores = 48 ** -0.5", "replaces"),
        "unchanged": ("std_of_scores = 1.0", "right division"),
        "undivided": ("std_of_scores = 12 ** 0.5", "not √12"),
    },
    "4.3": {
        "next token": (PREVIOUS + "return torch.diag(torch.ones(N - 1), 1), c * I", "the one after"),
        "itself": (PREVIOUS + "return I, c * I", "reads itself"),
        "too small": (PREVIOUS + "return torch.diag(torch.ones(N - 1), -1), I", "larger"),
        "wrong shape": (PREVIOUS + "return I[:, :2], c * I[:, :2]", "Both matrices"),
        "constant": (PREVIOUS + "return torch.ones(N, N), c * I", "not on the token before"),
    },
    "4.4": {
        "one run": (LOSSES + 'divided, undivided = divided[:1], undivided[:1]\nclaim = "undivided is higher"\n' + EVIDENCE, "how much chance does"),
        "the other way": (LOSSES + 'claim = "divided is higher"\n' + EVIDENCE, "other way round"),
        "too careful": (LOSSES + 'claim = "cannot tell"\n' + EVIDENCE, "say more than you do"),
        "a claim of one's own": (LOSSES + 'claim = "it helps"\n' + EVIDENCE, "should be one of"),
        "no pairs": (LOSSES + 'undivided = undivided[:3]\nclaim = "undivided is higher"\n' + EVIDENCE, "same seeds"),
        "invented": ('divided, undivided = [0.1, 0.11, 0.1], [1.9, 1.8, 1.9]\nclaim = "undivided is higher"\n' + EVIDENCE, "Begin with seed 0"),
        "one seed for all": (REAL.replace("(side, seed)", "(side, 0)") + 'claim = "undivided is higher"\n' + EVIDENCE, "Did the seed reach"),
        "the same on both sides": (REAL.replace("(side, seed)", "(True, seed)") + 'claim = "cannot tell"\n' + EVIDENCE, "Did the change reach"),
    },
    "4.5": {
        "times the temperature": (LOOK_UP + HARD + "return (s * tau).softmax(-1) @ values", "do not multiply"),
        "no temperature": (LOOK_UP + HARD + "return s.softmax(-1) @ values", "no effect"),
        "no softmax": (LOOK_UP + HARD + "return s / tau @ values", "softmax comes first"),
        "distance": (LOOK_UP + HARD + "return (-(keys - query).square().sum(-1) / (2 * tau)).softmax(-1) @ values", "by distance"),
        "no hard look-up": (LOOK_UP + "return (s / tau).softmax(-1) @ values", "nan"),
        "always hard": (LOOK_UP + "return values[s.argmax()]", "not softmax"),
        "the mean at 0": (LOOK_UP + "return (s / tau if tau else 0 * s).softmax(-1) @ values", "For tau = 0"),
        "weights": (LOOK_UP + "return (s / tau).softmax(-1)", "width of a value"),
    },
    "4.6": {
        "no effect": (MASK + "return s.softmax(-1) @ v", "no effect"),
        "after the softmax": (MASK + "return (s.softmax(-1) * keep) @ v", "after the softmax"),
        "zero score": (MASK + "return s.masked_fill(~keep, 0.0).softmax(-1) @ v", "minus infinity"),
        "inverted": (MASK + "return s.masked_fill(keep, float('-inf')).softmax(-1) @ v", "wrong way round"),
        "unscaled": (MASK + "return (s * 2).masked_fill(~keep, float('-inf')).softmax(-1) @ v", "square root"),
        "zero times infinity": (MASK + "return (s + (~keep).float() * float('-inf')).softmax(-1) @ v", "0 times infinity"),
    },
    "4.7": {
        "self-attention": (CROSS + "return masked_attention(x @ Wq, x @ Wk, x @ Wv, keep)", "never read"),
        "the context alone": (CROSS + "return masked_attention(context @ Wq, context @ Wk, context @ Wv, keep)", "no part"),
        "exchanged sequences": (CROSS + "return masked_attention(context @ Wq, x @ Wk, x @ Wv, keep)", "are exchanged: x"),
        "values of x": (CROSS + "return masked_attention(x @ Wq, context @ Wk, x @ Wv, keep)", "values come with the keys"),
        "exchanged matrices": (CROSS + "return masked_attention(x @ Wq, context @ Wv, context @ Wk, keep)", "Wk and Wv"),
        "no mask": (CROSS + "return masked_attention(x @ Wq, context @ Wk, context @ Wv, torch.ones_like(keep))", "hand `keep` on"),
        "wrong width": (CROSS + "return masked_attention(x @ Wq / 2**0.5, context @ Wk, context @ Wv, keep)", "√6"),
    },
}
