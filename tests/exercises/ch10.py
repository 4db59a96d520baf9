"""Wrong answers to the exercises of chapter 10: the name of the mistake, code, and a part of the message it must get."""

FIELD = "def receptive_field(kernels, strides):\n    field, step = 1, 1\n    for k, s in zip(kernels, strides):\n        "
MASK = "def local_mask(rows, columns, radius):\n    n = torch.arange(rows * columns)\n    y, x = n // columns, n % columns\n    dy, dx = (y[:, None] - y).abs(), (x[:, None] - x).abs()\n    "
ENDS = "s = {(run['contender'], run['images']): mean(run['accuracy']) for run in load_record('vit_cnn')['runs']}\nends = [(s['ViT', n], s['hybrid', n], s['narrow ResNet-18', n]) for n in (450, 4500, 45_000)]\n"
MINI = ("drift, images = {}, {}\nevidence = {{kind: [miniature(kind, images, seed, drift) for seed in range({})]\n"
        "            for kind in ('convolution', 'full matrix')}}\n")

WRONG = {
    "10.1": {
        "biases": ("weights, multiplications = 4640, 4718592", "bias=False"),
        "one kernel for each channel": ("weights, multiplications = 32 * 9, 32 * 9 * 1024", "all channels of the input"),
        "1×1": ("weights, multiplications = 512, 512 * 1024", "3×3 weights"),
        "guess": ("weights, multiplications = 1000, 4718592", "nine places"),
        "used once": ("weights, multiplications = 4608, 4608", "every place"),
        "no padding": ("weights, multiplications = 4608, 4608 * 900", "30×30"),
        "operations": ("weights, multiplications = 4608, 2 * 4608 * 1024", "double the count"),
        "another guess": ("weights, multiplications = 4608, 12345", "number of places"),
    },
    "10.2": {
        "no strides": ("def receptive_field(kernels, strides):\n    return 1 + sum(k - 1 for k in kernels)", "strides are missing"),
        "own stride": (FIELD + "step *= s\n        field += (k - 1) * step\n    return field", "came too early"),
        "product": ("def receptive_field(kernels, strides):\n    return math.prod(kernels)\nimport math", "do not multiply"),
        "k for k - 1": (FIELD + "field += k * step\n        step *= s\n    return field", "it is 7 pixels"),
    },
    "10.3": {
        "complement": (MASK + "return ~((dy <= radius) & (dx <= radius))", "complement"),
        "not itself": (MASK + "return (dy <= radius) & (dx <= radius) & (dy + dx > 0)", "see itself"),
        "by number": (MASK + "return (n[:, None] - n).abs() <= radius", "neighbours by number"),
        "or": (MASK + "return (dy <= radius) | (dx <= radius)", "both differences"),
        "sum": (MASK + "return dy + dx <= radius", "corners are missing"),
        "less than": (MASK + "return (dy < radius) & (dx < radius)", "belong to it"),
        "divided by rows": (MASK.replace("n // columns, n % columns", "n // rows, n % rows") + "return (dy <= radius) & (dx <= radius)", "not of rows"),
        "floats": (MASK + "return ((dy <= radius) & (dx <= radius)).float()", "torch.bool"),
        "wrong shape": (MASK + "return (dy <= radius)[0]", "(15, 15)"),
        "one direction": (MASK + "return dy <= radius", "some pairs only"),
    },
    "10.4": {
        "one number": ("shares_covered = 0.4", "three numbers"),
        "per cent": (ENDS + "shares_covered = [100 * (h - v) / (c - v) for v, h, c in ends]", "per cent"),
        "turned around": (ENDS + "shares_covered = [(h - v) / (c - v) for v, h, c in ends][::-1]", "turned around"),
        "what is left": (ENDS + "shares_covered = [(c - h) / (c - v) for v, h, c in ends]", "leaves"),
        "upside down": (ENDS + "shares_covered = [(c - v) / (h - v) for v, h, c in ends]", "Upside down"),
        "accuracies": (ENDS + "shares_covered = [h / c for v, h, c in ends]", "subtract"),
        "points": (ENDS + "shares_covered = [100 * (h - v) for v, h, c in ends]", "in points"),
        "guess": ("shares_covered = [5, 5, 5]", "Not 5.00"),
    },
    "10.5": {
        "the chapter's drift": (MINI.format(0.15, 900, 3) + "claim = 'full matrix is higher'", "choose a larger one"),
        "many images": (MINI.format(0.3, 2000, 3) + "claim = 'convolution is higher'", "Find fewer"),
        "too few runs": (MINI.format(0.3, 400, 2) + "claim = 'convolution is higher'", "at least 3"),
        "not yet": (MINI.format(0.3, 20, 3) + "claim = 'full matrix is higher'", "has not passed yet"),
        "the other way round": (MINI.format(0.3, 20, 3) + "claim = 'convolution is higher'", "other way round"),
        "other seeds": (MINI.format(0.45, 300, 5).replace("range(5)", "range(5, 10)") + "claim = 'convolution is higher'", "seeds in order"),
        "negative": (MINI.format(0.3, 400, 3) + "evidence['convolution'][0] = -1.0\nclaim = 'convolution is higher'", "cannot be"),
    },
}
