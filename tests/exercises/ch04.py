"""Wrong answers to the exercises of chapter 4: the name of the mistake, code, and a part of the message it must get."""

MASK = "def masked_attention(q, k, v, keep):\n    s = q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5\n    keep = keep[:, None, :]\n    "
PREVIOUS = "def previous_token(N):\n    c = 10 * N**0.5\n    I = torch.eye(N)\n    "

WRONG = {
    "4.1": {
        "sum": ("received = 16", "sum of the values"),
        "scores as weights": ("received = 48", "softmax comes first"),
        "largest": ("received = 10", "not read more"),
        "median": ("received = 2.5", "equal shares"),
    },
    "4.2": {
        "no effect": (MASK + "return s.softmax(-1) @ v", "no effect"),
        "after the softmax": (MASK + "return (s.softmax(-1) * keep) @ v", "after the softmax"),
        "zero score": (MASK + "return s.masked_fill(~keep, 0.0).softmax(-1) @ v", "minus infinity"),
        "inverted": (MASK + "return s.masked_fill(keep, float('-inf')).softmax(-1) @ v", "wrong way round"),
        "unscaled": (MASK + "return (s * 2).masked_fill(~keep, float('-inf')).softmax(-1) @ v", "square root"),
        "zero times infinity": (MASK + "return (s + (~keep).float() * float('-inf')).softmax(-1) @ v", "0 times infinity"),
    },
    "4.3": {
        "next token": (PREVIOUS + "return torch.diag(torch.ones(N - 1), 1), c * I", "the one after"),
        "itself": (PREVIOUS + "return I, c * I", "reads itself"),
        "too small": (PREVIOUS + "return torch.diag(torch.ones(N - 1), -1), I", "larger"),
        "wrong shape": (PREVIOUS + "return I[:, :2], c * I[:, :2]", "Both matrices"),
        "constant": (PREVIOUS + "return torch.ones(N, N), c * I", "not on the token before"),
    },
    "4.4": {
        "upside down": ("deviation = 8 ** 0.5", "Upside down"),
        "no root": ("deviation = 1 / 8", "square root"),
        "both divisions": ("deviation = 1 / 16", "replaces"),
        "unchanged": ("deviation = 1.0", "not √32"),
    },
}
