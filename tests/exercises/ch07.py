"""Wrong answers to the exercises of chapter 7: the name of the mistake, code, and a part of the message it must get."""

MEAN = "def patch_features(model, images):\n    x = model.features(images)\n    "
COUNT = "def count_mean_pool(c):\n    N = (c.image_size // c.patch_size) ** 2\n    "

WRONG = {
    "7.1": {
        "no bias": ("qkv_parameters = 3 * 768 * 768", "biases are missing"),
        "one of three": ("qkv_parameters = 768 * 768 + 768", "one of three"),
        "with projection": ("qkv_parameters = 4 * 768 * 768 + 4 * 768", "output projection"),
        "one head": ("qkv_parameters = 3 * 768 * 64 + 3 * 64", "one head"),
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
}
