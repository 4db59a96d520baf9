"""Wrong answers to the exercises of chapter 6, and a part of the message that each must get."""

NORM = "def layer_norm(x, weight, bias, eps):\n    "
BLOCK = "def result_norm(block, x):\n    "
RATES = "rates = torch.linspace(0, 0.4, 12, dtype=torch.float64)\n"


def norm(dim: str, correction: int = 0) -> str:
    return (NORM + f"mean, var = x.mean({dim}, keepdim=True), x.var({dim}, correction={correction}, keepdim=True)\n"
            "    return (x - mean) / (var + eps).sqrt() * weight + bias")


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
        "pre-norm": (BLOCK + "return block(x)", "That is pre-norm"),
        "post-norm": (BLOCK + "x = block.norm1(x + block.attn(x))\n    return block.norm2(x + block.mlp(x))", "That is post-norm"),
        "the MLP reads the input": (
            BLOCK + "return x + block.norm1(block.attn(x)) + block.norm2(block.mlp(x))", "The MLP read the block's input"),
        "the second sum starts over": (
            BLOCK + "y = x + block.norm1(block.attn(x))\n    return x + block.norm2(block.mlp(y))", "second addition took"),
        "no residuals": (
            BLOCK + "return block.norm2(block.mlp(block.norm1(block.attn(x))))", "residuals are missing"),
        "one norm twice": (
            BLOCK + "x = x + block.norm1(block.attn(x))\n    return x + block.norm1(block.mlp(x))", "norm1 was used twice"),
        "no norms": (BLOCK + "x = x + block.attn(x)\n    return x + block.mlp(x)", "The numbers differ"),
    },
    "6.4": {
        "one branch a block": (RATES + "branches = (float((1 - rates).sum()), float((1 - rates).prod()))", "9.6 counts one"),
        "dropped, not kept": (RATES + "branches = (float(2 * rates.sum()), float((1 - rates).prod() ** 2))", "4.8 is how many"),
        "one rate for all": ("branches = (24 * 0.6, 0.6**24)", "every block the rate 0.4"),
        "not squared": (RATES + "branches = (19.2, float((1 - rates).prod()))", "square it"),
        "power of the mean": ("branches = (19.2, 0.8**24)", "not a power of their mean"),
        "in percent": (RATES + "branches = (19.2, float(100 * (1 - rates).prod() ** 2))", "in percent"),
        "something else": ("branches = (19.2, 0.5)", "not 0.5"),
    },
}
