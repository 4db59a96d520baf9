"""Wrong answers to the exercises of chapter 5, and a part of the message that each must get."""

SPLIT = "def split_heads(x, h):\n    B, N, D = x.shape\n    return "
PARTS = "def contributions(y, weight):\n    B, h, N, d = y.shape\n    D = h * d\n    return "
ATTEND = "def attend(x, qkv, h):\n    q, k, v = (split_heads(part, h) for part in qkv(x).chunk(3, -1))\n    return "
MERGE = "def multi_head(x, qkv, proj, h):\n    y = attend(x, qkv, h)\n    return "
ONE, FOUR = "the loss with one head", "the loss with four heads"


def weigh(claim: str, one: list[float], four: list[float]) -> str:
    return f"claim, evidence = {claim!r}, {{{ONE!r}: {one}, {FOUR!r}: {four}}}"


WRONG = {
    "5.1": {
        "biases forgotten": ("parameters = (4 * 768**2, 4 * 768**2)", "biases are missing"),
        "qkv alone": ("parameters = (3 * 768**2 + 3 * 768, 3 * 768**2 + 3 * 768)", "qkv alone"),
        "half the heads, half the parameters": ("parameters = (2_362_368, 1_181_184)", "each twice as wide"),
        "times the heads": ("parameters = (12 * 2_362_368, 6 * 2_362_368)", "does not multiply or divide"),
        "something else": ("parameters = (768, 768)", "that is not 768"),
    },
    "5.2": {
        "no transpose": (SPLIT + "x.reshape(B, N, h, D // h)", "swap axes 1 and 2"),
        "poured": (SPLIT + "x.reshape(B, h, N, D // h)", "pours numbers across tokens"),
        "every h-th column": (SPLIT + "x.reshape(B, N, D // h, h).permute(0, 3, 1, 2)", "every h-th column"),
        "heads last": (SPLIT + "x.reshape(B, N, h, D // h).permute(0, 1, 3, 2)", "should become (2, 3, 5, 4)"),
        "tokens reversed": (SPLIT + "x.reshape(B, N, h, D // h).transpose(1, 2).flip(2)", "Head 0 of token 0"),
    },
    "5.3": {
        "divided by √D": (ATTEND + "(q @ k.transpose(-2, -1) / x.shape[-1] ** 0.5).softmax(-1) @ v", "divided by √D"),
        "not divided": (ATTEND + "(q @ k.transpose(-2, -1)).softmax(-1) @ v", "were not divided"),
        "softmax over queries": (
            ATTEND + "(q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5).softmax(-2) @ v", "runs over the queries"),
        "keys first": (ATTEND + "attention(k, q, v)", "changed places"),
        "never split": ("def attend(x, qkv, h):\n    return attention(*qkv(x).chunk(3, -1))", "never split"),
        "heads before kinds": (
            "def attend(x, qkv, h):\n    y = split_heads(qkv(x), h)\n    return attention(*y.chunk(3, -1))",
            "sorted by kind, then by head"),
        "queries as values": (ATTEND + "attention(q, k, q)", "check the order of q, k and v"),
        "heads last": (ATTEND + "attention(q, k, v).transpose(1, 2)", "should be (B, h, N, d)"),
    },
    "5.4": {
        "no transpose": (MERGE + "proj(y.reshape(x.shape))", "a change of query 3 alone moves outputs [1, 2, 4]"),
        "no projection": (MERGE + "y.transpose(1, 2).reshape(x.shape)", "proj was not applied"),
        "no bias": (MERGE + "y.transpose(1, 2).reshape(x.shape) @ proj.weight.T", "bias of proj is missing"),
        "heads reversed": (MERGE + "proj(y.flip(1).transpose(1, 2).reshape(x.shape))", "reverse order"),
        "interleaved": (MERGE + "proj(y.permute(0, 2, 3, 1).reshape(x.shape))", "interleaved"),
        "tokens added": (MERGE + "x + proj(y.transpose(1, 2).reshape(x.shape))", "belongs to the block"),
        "not merged": (MERGE + "y", "should keep its shape"),
        "projected twice": (MERGE + "proj(proj(y.transpose(1, 2).reshape(x.shape)))", "numbers differ"),
    },
    "5.5": {
        "rows instead of columns": (PARTS + "y @ weight.reshape(h, d, D)", "You took rows"),
        "every h-th column": (PARTS + "y @ weight.reshape(D, d, h).permute(2, 1, 0)", "every h-th column"),
        "summed already": (PARTS + "y.transpose(1, 2).reshape(B, N, D) @ weight.T", "sum over heads already"),
        "the whole output in each head": (
            PARTS + "(y.transpose(1, 2).reshape(B, 1, N, D) @ weight.T).expand(B, h, N, D)", "h times the layer"),
        "heads exchanged": (
            PARTS + "(y @ weight.reshape(D, h, d).permute(1, 2, 0)).roll(1, 1)", "The sum is right, the parts are not"),
        "heads meet each other's columns": (
            PARTS + "y @ weight.reshape(D, h, d).permute(1, 2, 0).flip(0)", "do not give y Wᵀ"),
    },
    "5.6": {
        "one run": (weigh(f"{ONE} is higher", [1.9], [1.5]), "make at least 3"),
        "unequal runs": (weigh(f"{ONE} is higher", [1.9, 1.8, 1.9], [1.5, 1.4]), "the same seeds"),
        "not trained": (weigh("cannot tell", [2.31, 2.30, 2.32], [2.30, 2.31, 2.33]), "which is guessing"),
        "accuracies in percent": (weigh(f"{FOUR} is higher", [31, 30, 33], [45, 44, 46]), "cannot be such a measurement"),
        "seed after the model": (weigh(f"{ONE} is higher", [1.9] * 3, [1.5] * 3), "Did the seed reach"),
        "more than the runs say": (weigh(f"{ONE} is higher", [1.9, 1.4, 1.6], [1.5, 1.6, 1.7]), "do not bear your claim"),
        "the other way round": (weigh(f"{FOUR} is higher", [1.9, 1.8, 1.9], [1.5, 1.4, 1.6]), "the other way round"),
        "another claim": (weigh("four heads win", [1.9, 1.8, 1.9], [1.5, 1.4, 1.6]), "it should be one of"),
    },
}
