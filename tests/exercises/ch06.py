"""Wrong answers to the exercises of chapter 6, and a part of the message that each must get."""

NORM = "def layer_norm(x, weight, bias, eps):\n    "
BLOCK = "def result_norm(block, x):\n    "


def norm(dim: str, correction: int = 0) -> str:
    return (NORM + f"mean, var = x.mean({dim}, keepdim=True), x.var({dim}, correction={correction}, keepdim=True)\n"
            "    return (x - mean) / (var + eps).sqrt() * weight + bias")


MLP = "def mlp(x, W1, b1, W2, b2):\n    return "
RUN = ("def norm(n, x):\n    return layer_norm(x, n.weight, n.bias, n.eps)\n\n"
       "def run_block(block, x):\n    n1, n2, fc1, fc2 = block.norm1, block.norm2, block.mlp.fc1, block.mlp.fc2\n"
       "    ff = lambda x: mlp(x, fc1.weight.T, fc1.bias, fc2.weight.T, fc2.bias)\n    ")
POST, PRE = "post-norm's loss", "pre-norm's loss"


def weigh(claim: str, post: list[float], pre: list[float]) -> str:
    return f"claim, evidence = {claim!r}, {{{POST!r}: {post}, {PRE!r}: {pre}}}"


WRONG = {
    "6.1": {
        "matrices alone": ("parameters = 12 * 768**2", "matrices alone"),
        "no norms": ("parameters = 12 * 768**2 + 9 * 768", "norms are missing"),
        "norms without bias": ("parameters = 12 * 768**2 + 11 * 768", "4 D, not 2 D"),
        "no attention": ("parameters = 8 * 768**2 + 5 * 768", "Attention is missing"),
        "one matrix in the MLP": ("parameters = 8 * 768**2 + 13 * 768", "two matrices"),
        "something else": ("parameters = 1000", "the sum is not 1,000"),
    },
    "6.2": {
        "over the batch": (norm("0"), "an image depends on the others"),
        "over the tokens": (norm("1"), "instead of each token's numbers"),
        "over tokens and width": (norm("(1, 2)"), "one mean for the whole image"),
        "batch normalisation": (norm("(0, 1)"), "batch normalisation"),
        "unbiased variance": (norm("-1", 1), "correction=0"),
        "eps outside the root": (
            NORM + "return (x - x.mean(-1, keepdim=True)) / (x.std(-1, correction=0, keepdim=True) + eps) * weight + bias",
            "under the root"),
        "eps forgotten": (
            NORM + "return (x - x.mean(-1, keepdim=True)) / x.std(-1, correction=0, keepdim=True) * weight + bias",
            "eps is not used"),
        "no weight and bias": (
            NORM + "return (x - x.mean(-1, keepdim=True)) / (x.var(-1, correction=0, keepdim=True) + eps).sqrt()",
            "Weight and bias are not used"),
        "mean left in": (
            NORM + "return x / (x.var(-1, correction=0, keepdim=True) + eps).sqrt() * weight + bias",
            "The numbers differ from LayerNorm's"),
    },
    "6.3": {
        "no nonlinearity": (MLP + "(x @ W1 + b1) @ W2 + b2", "no nonlinearity"),
        "two nonlinearities": (MLP + "torch.nn.functional.gelu(torch.nn.functional.gelu(x @ W1 + b1) @ W2 + b2)",
                               "The second layer has a nonlinearity"),
        "tanh": (MLP + "torch.nn.functional.gelu(x @ W1 + b1, approximate='tanh') @ W2 + b2", "GELU with tanh"),
        "ReLU": (MLP + "(x @ W1 + b1).relu() @ W2 + b2", "That is ReLU"),
        "no second bias": (MLP + "torch.nn.functional.gelu(x @ W1 + b1) @ W2", "A bias is missing"),
        "tokens added": (MLP + "x + torch.nn.functional.gelu(x @ W1 + b1) @ W2 + b2", "belongs to the block"),
        "stays wide": (MLP + "torch.nn.functional.gelu(x @ W1 + b1)", "should keep its shape"),
        "sigmoid": (MLP + "torch.sigmoid(x @ W1 + b1) @ W2 + b2", "The numbers differ"),
    },
    "6.4": {
        "post-norm": (RUN + "x = norm(n1, x + block.attn(x))\n    return norm(n2, x + ff(x))", "That is post-norm"),
        "no first skip": (RUN + "x = block.attn(norm(n1, x))\n    return x + ff(norm(n2, x))", "first skip connection is missing"),
        "no second skip": (RUN + "x = x + block.attn(norm(n1, x))\n    return ff(norm(n2, x))", "second skip connection is missing"),
        "the second sum starts over": (
            RUN + "y = x + block.attn(norm(n1, x))\n    return x + ff(norm(n2, y))", "second addition took"),
        "the MLP reads the input": (
            RUN + "return x + block.attn(norm(n1, x)) + ff(norm(n2, x))", "The MLP read the block's input"),
        "no second norm": (RUN + "x = x + block.attn(norm(n1, x))\n    return x + ff(x)", "the sum as it is"),
        "one norm twice": (RUN + "x = x + block.attn(norm(n1, x))\n    return x + ff(norm(n1, x))", "norm1 was used twice"),
        "stream overwritten": (RUN + "x = norm(n1, x)\n    x = norm(n2, x + block.attn(x))\n    return x + ff(x)",
                               "overwritten by its norm"),
        "matrices not transposed": (
            RUN + "x = x + block.attn(norm(n1, x))\n    return x + mlp(norm(n2, x), fc2.weight, fc1.bias, fc1.weight, fc2.bias)",
            "matrices transposed"),
    },
    "6.5": {
        "pre-norm": (BLOCK + "return block(x)", "That is pre-norm"),
        "post-norm": (BLOCK + "x = block.norm1(x + block.attn(x))\n    return block.norm2(x + block.mlp(x))", "That is post-norm"),
        "the MLP reads the input": (
            BLOCK + "return x + block.norm1(block.attn(x)) + block.norm2(block.mlp(x))", "The MLP read the block's input"),
        "the second sum starts over": (
            BLOCK + "y = x + block.norm1(block.attn(x))\n    return x + block.norm2(block.mlp(y))", "second addition took"),
        "no skip connections": (
            BLOCK + "return block.norm2(block.mlp(block.norm1(block.attn(x))))", "skip connections are missing"),
        "one norm twice": (
            BLOCK + "x = x + block.norm1(block.attn(x))\n    return x + block.norm1(block.mlp(x))", "norm1 was used twice"),
        "no norms": (BLOCK + "x = x + block.attn(x)\n    return x + block.mlp(x)", "The numbers differ"),
    },
    "6.6": {
        "one run": (weigh(f"{POST} is higher", [2.1], [1.5]), "make at least 3"),
        "unequal runs": (weigh(f"{POST} is higher", [2.1, 2.2, 2.1], [1.5, 1.4]), "the same seeds"),
        "rate too small": (weigh("cannot tell", [2.31, 2.30, 2.32], [2.29, 2.30, 2.28]), "take another learning rate"),
        "seed without effect": (weigh(f"{POST} is higher", [2.1] * 3, [1.5] * 3), "Did the seed reach"),
        "same order twice": (weigh("cannot tell", [2.1, 2.0, 2.2], [2.1, 2.0, 2.2]), "Did the change reach"),
        "more than the runs say": (weigh(f"{POST} is higher", [1.9, 1.4, 1.6], [1.5, 1.6, 1.7]), "do not bear your claim"),
        "the other way round": (weigh(f"{PRE} is higher", [2.1, 2.2, 2.1], [1.5, 1.4, 1.6]), "the other way round"),
    },
}
