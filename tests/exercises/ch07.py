"""Wrong answers to the exercises of chapter 7: the name of the mistake, code, and a part of the message it must get."""

MEAN = "def patch_features(model, images):\n    x = model.features(images)\n    "
COUNT = "def count_mean_pool(c):\n    N = (c.image_size // c.patch_size) ** 2\n    "
EMBED = """def embed_images(weights, images):
    w = weights["patch_embed.proj.weight"]
    x = F.conv2d(images, w, weights["patch_embed.proj.bias"], stride=w.shape[-1]).flatten(2).transpose(1, 2)
    cls = weights["cls_token"].expand(len(x), -1, -1)
    return """
ENCODE = """def encode_tokens(weights, x, heads):
    def linear(name, x):
        return F.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])
    def norm(name, x):
        return F.layer_norm(x, x.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"], 1e-6)
    for b in (f"blocks.{l}" for l in range(3)):
        q, k, v = linear(f"{b}.attn.qkv", norm(f"{b}.norm1", x)).unflatten(2, (3, heads, -1)).permute(2, 0, 3, 1, 4)
        y = (q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5).softmax(dim=-1) @ v
        x = x + linear(f"{b}.attn.proj", y.transpose(1, 2).flatten(2))
        x = x + linear(f"{b}.mlp.fc2", F.gelu(linear(f"{b}.mlp.fc1", norm(f"{b}.norm2", x))))
    return norm("norm", x)
"""
ANSWER = """def classify_images(weights, images, heads):
    x = encode_tokens(weights, embed_images(weights, images), heads)
    return """
HEAD = ', weights["head.weight"], weights["head.bias"])'


def pairs(claim: str, small: list[float], usual: list[float]) -> str:
    return f'claim = {claim!r}\nevidence = {{"0.02": {small}, "PyTorch\'s": {usual}}}'


WRONG = {
    "7.1": {
        "nothing": ("more = 0", "a row for each token"),
        "all patches": ("more = 576 * 768", "196 of them already"),
        "all tokens": ("more = 577 * 768", "197 of them already"),
        "tokens": ("more = 576 - 196", "of width 768"),
        "pixels": ("more = (384**2 - 224**2) * 768", "for each pixel"),
        "something else": ("more = 86_567_656", "86567656 is not"),
    },
    "7.2": {
        "class token in the mean": (MEAN + "return x.mean(1)", "class token is in the mean"),
        "class token itself": (MEAN + "return x[:, 0]", "class token itself"),
        "always from 1": (MEAN + "return x[:, 1:].mean(1)", "you left it out"),
        "registers kept": (MEAN + "return x[:, int(model.cls_token is not None):].mean(1)", "not only the class token"),
        "before the norm": ("def patch_features(model, images):\n    return model.embed(images)[:, model.prefix:].mean(1)", "after the last norm"),
        "mean over width": (MEAN + "return x[:, model.prefix:].mean(2)", "one vector of width D"),
    },
    "7.3": {
        "query": ("third = 'query'", "different number for each key"),
        "value": ("third = 'value'", "added to every output"),
        "none": ("third = 'none'", "Answer query, key or value"),
    },
    "7.4": {
        "class token counted": (COUNT + "return count(c) - (1 + N) * c.dim", "still counted"),
        "nothing left out": (COUNT + "return count(c)", "Nothing was left out"),
        "codes counted": (COUNT + "return count(c) - 2 * c.dim", "but fixed: they"),
        "all codes counted": (COUNT + "return count(c) - c.dim", "one less"),
        "twice": (COUNT + "return count(c) - 2 * c.dim - (1 + N) * c.dim", "One D too few"),
    },
    "7.5": {
        "one seed": (pairs("0.02 is higher", [2.2], [1.9]), "at least 3"),
        "no such claim": (pairs("it matters", [2.2, 2.3, 2.2], [1.9, 2.0, 1.9]), "should be one of"),
        "not borne out": (pairs("0.02 is higher", [2.2, 1.9, 2.2], [1.9, 2.2, 2.0]), "do not bear your claim"),
        "too modest": (pairs("cannot tell", [2.2, 2.3, 2.25], [1.9, 2.0, 1.9]), "your runs say more"),
        "the wrong way round": (pairs("PyTorch's is higher", [2.2, 2.3, 2.25], [1.9, 2.0, 1.9]), "other way round"),
        "in per cent": (pairs("0.02 is higher", [23, 24, 22], [17, 15, 12]), "cannot be such a measurement"),
        "not from trial": (pairs("0.02 is higher", [5.2, 5.3, 5.25], [1.9, 2.0, 1.9]), "when it is run again"),
    },
    "7.6": {
        "no class token": (EMBED + 'x + weights["pos_embed"][:, 1:]', "class token is missing"),
        "no positions": (EMBED + "torch.cat([cls, x], 1)", "without positions"),
        "positions on patches only": (EMBED + 'torch.cat([cls, x + weights["pos_embed"][:, 1:]], 1)', "no position embedding here"),
        "class token last": (EMBED + 'torch.cat([x, cls], 1) + weights["pos_embed"]', "it comes first"),
        "no bias": (EMBED.replace('weights["patch_embed.proj.bias"]', "None") + 'torch.cat([cls, x], 1) + weights["pos_embed"]',
                    "bias of the projection"),
        "reshaped": (EMBED.replace(".flatten(2).transpose(1, 2)", ".reshape(len(images), -1, len(w))")
                     + 'torch.cat([cls, x], 1) + weights["pos_embed"]', "transposed rather than reshaped"),
    },
    "7.7": {
        "no last norm": (ENCODE.replace('return norm("norm", x)', "return x"), "last norm is missing"),
        "no skip": (ENCODE.replace("x = x + linear", "x = linear"), "added to its input"),
        "not scaled": (ENCODE.replace(" / q.shape[-1] ** 0.5", ""), "not divided"),
        "one head": (ENCODE.replace("(3, heads, -1)", "(3, 1, -1)"), "split the columns"),
        "merged wrongly": (ENCODE.replace("y.transpose(1, 2).flatten(2)", "y.reshape(x.shape)"), "turning them back"),
        "ReLU": (ENCODE.replace("F.gelu", "F.relu"), "yours is ReLU"),
        "first block": (ENCODE.replace("range(3)", "range(1)"), "first block only"),
        "another epsilon": (ENCODE.replace("1e-6", "1e-5"), "1e-6"),
        "post-norm": (ENCODE.replace('norm(f"{b}.norm2", x)', "x"), "step by step"),
        "one token": (ENCODE.replace('return norm("norm", x)', 'return norm("norm", x)[:, 0]'), "keeps that of its tokens"),
    },
    "7.8": {
        "logits": (ANSWER + "F.linear(x[:, 0]" + HEAD, "These are the logits"),
        "over the images": (ANSWER + "F.linear(x[:, 0]" + HEAD + ".softmax(0)", "over the images"),
        "mean": (ANSWER + "F.linear(x.mean(1)" + HEAD + ".softmax(1)", "the mean of all tokens"),
        "last patch": (ANSWER + "F.linear(x[:, -1]" + HEAD + ".softmax(1)", "the last patch"),
        "all tokens": (ANSWER + "F.linear(x" + HEAD + ".softmax(-1)", "(20, 10)"),
        "first patch": (ANSWER + "F.linear(x[:, 1]" + HEAD + ".softmax(1)", "which row"),
    },
}
