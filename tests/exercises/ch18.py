"""Wrong answers to the exercises of chapter 18, and a part of the message that each must get."""

POOL = "def weigh(x, w):\n    scores = x @ w\n    return "
TURN = "def turn(x, angles):\n    a, b, cos, sin = x[:, 0::2], x[:, 1::2], angles.cos(), angles.sin()\n    weave = lambda p, q: torch.stack([p, q], -1).flatten(-2)\n    return "
LOSS = "def loss(student, teacher, T):\n    p, q = (teacher / T).softmax(1), (student / T).softmax(1)\n    kl = lambda p, q: (p * (p / q).log()).sum(1).mean()\n    return "
PASSES = "def left_over(total, step, teacher, lessons):\n    return "

WRONG = {
    "18.1": {
        "tokens of a window": ("times = 49", "how many tokens a window holds"),
        "all tokens": ("times = 3136", "Each would read all"),
        "squared": ("times = 64**2", "64²"),
        "windows of a side": ("times = 8", "along each side"),
        "upside down": ("times = 1 / 64", "share that is left"),
        "something else": ("times = 100", "not a factor of 100"),
    },
    "18.2": {
        "mean": (POOL + "x.mean(1)", "plain mean"),
        "softmax over one": (POOL + "(scores[..., None].softmax(-1) * x).sum(1)", "gives ones"),
        "over the batch": (POOL + "(scores.softmax(0)[..., None] * x).sum(1)", "images of the batch"),
        "no softmax": (POOL + "(scores[..., None] * x).sum(1)", "weigh directly"),
        "divided again": (POOL + "(scores.softmax(1)[..., None] * x).mean(1)", "divide by N again"),
        "the best": (POOL + "x[torch.arange(len(x)), scores.argmax(1)]", "one token"),
        "scaled": (POOL + "((scores / x.shape[-1]**0.5).softmax(1)[..., None] * x).sum(1)", "divided by √D"),
        "not pooled": (POOL + "scores.softmax(1)[..., None] * x", "One vector of width D"),
        "something else": (POOL + "x.amax(1)", "The numbers differ"),
    },
    "18.3": {
        "other way": (TURN + "weave(a * cos + b * sin, b * cos - a * sin)", "other way"),
        "halves": ("def turn(x, angles):\n    a, b, cos, sin = x[:, :3], x[:, 3:], angles.cos(), angles.sin()\n    return torch.cat([a * cos - b * sin, a * sin + b * cos], 1)", "Here they are neighbours"),
        "not woven": (TURN + "torch.cat([a * cos - b * sin, a * sin + b * cos], 1)", "weave the two halves"),
        "exchanged": (TURN + "weave(a * sin - b * cos, a * cos + b * sin)", "exchanged"),
        "no minus": (TURN + "weave(a * cos + b * sin, a * sin + b * cos)", "minus is missing"),
        "first only": (TURN + "weave(a * cos - b * sin, b)", "Only the first"),
        "no sines": (TURN + "weave(a * cos, b * cos)", "Half of the turn"),
        "half as wide": (TURN + "a * cos - b * sin", "changes no shape"),
        "something else": (TURN + "x", "The numbers differ"),
    },
    "18.4": {
        "no mask": ("read = 16, 16, 16", "without the mask"),
        "all": ("read = 64, 64, 64", "attention over all"),
        "edge as corner": ("read = 4, 4, 16", "cut once"),
        "middle cut": ("read = 4, 8, 8", "Nothing is cut"),
        "reversed": ("read = 16, 8, 4", "other way round"),
        "corner as edge": ("read = 8, 8, 16", "both directions"),
        "something else": ("read = 1, 2, 3", "does not follow"),
    },
    "18.5": {
        "no factor": (LOSS + "kl(p, q)", "T² is missing"),
        "factor T": (LOSS + "kl(p, q) * T", "T² and not T"),
        "exchanged": (LOSS + "kl(q, p) * T**2", "are exchanged"),
        "student not softened": (LOSS + "kl(p, student.softmax(1)) * T**2", "student's logits"),
        "teacher not softened": (LOSS + "kl(teacher.softmax(1), q) * T**2", "teacher's logits"),
        "mean over classes": (LOSS + "kl(p, q) * T**2 / p.shape[1]", "averaged over the classes"),
        "sum over images": (LOSS + "kl(p, q) * T**2 * len(p)", "added up over the images"),
        "cross-entropy": (LOSS + "torch.nn.functional.cross_entropy(student / T, p) * T**2", "the cross-entropy"),
        "hard": (LOSS + "torch.nn.functional.cross_entropy(student, teacher.argmax(1))", "hard form"),
        "something else": (LOSS + "(p - q).abs().sum()", "it should be"),
    },
    "18.6": {
        "teacher for nothing": (PASSES + "total / step", "not counted"),
        "teacher at the plain price": (PASSES + "(total - lessons) / step", "its own ratio"),
        "multiplied": (PASSES + "(total - lessons * teacher) * step", "divide"),
        "at the student's price": (PASSES + "total / step - lessons", "student's price"),
        "added": (PASSES + "(total + lessons * teacher) / step", "added, not taken off"),
        "step forgotten": (PASSES + "total - lessons * teacher", "divide by its ratio"),
        "divided by the teacher's ratio": (PASSES + "(total - lessons / teacher) / step", "multiplied by t"),
        "something else": (PASSES + "total", "should be 6"),
    },
}
