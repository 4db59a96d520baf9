"""Wrong answers to the exercises of chapter 5, and a part of the message that each must get."""

SPLIT = "def split_heads(x, h):\n    B, N, D = x.shape\n    return "
PARTS = "def contributions(y, weight):\n    B, h, N, d = y.shape\n    D = h * d\n    return "

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
    "5.4": {
        "the right merge": ("mix = (0, [20, 20, 20, 20])", "That is the right merge"),
        "rows, not tokens": ("mix = (1, [80, 81, 82, 83])", "80 to 83 are the rows"),
        "begins at row 20": ("mix = (0, [20, 21, 22, 23])", "begins at row 4"),
        "wrong head": ("mix = (0, [16, 17, 18, 19])", "the head is not 0"),
    },
}
