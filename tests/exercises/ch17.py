"""Wrong answers to the exercises of chapter 17, and a part of the message that each must get."""

LORA = "def lora(x, W, b, A, B, alpha):\n    r = len(A)\n    return "
DORA = "def dora(W, A, B, alpha, m):\n    V = W + alpha / len(A) * B @ A\n    return "
SCALE = "def scale(alpha, rank):\n    return "
SVD = "def extract(change, rank, alpha):\n    U, S, Vt = torch.linalg.svd(change, full_matrices=False)\n    "

WRONG = {
    "17.1": {
        "adapters alone": ("trained = 12 * 8 * 6 * 768", "adapters alone"),
        "head without bias": ("trained = 12 * 8 * 6 * 768 + 7680", "K biases"),
        "one block": ("trained = 8 * 6 * 768 + 7690", "one block"),
        "qkv as wide as proj": ("trained = 12 * 8 * 4 * 768 + 7690", "3 D rows"),
        "an A for each of q, k and v": ("trained = 12 * 8 * 8 * 768 + 7690", "share one A"),
        "the whole matrices": ("trained = 12 * 4 * 768**2 + 7690", "stay frozen"),
        "something else": ("trained = 1000", "not 1,000"),
    },
    "17.2": {
        "no scale": (LORA + "x @ W.T + b + x @ A.T @ B.T", "not scaled"),
        "alpha alone": (LORA + "x @ W.T + b + alpha * x @ A.T @ B.T", "not divided by the rank"),
        "divided by D_in": (LORA + "x @ W.T + b + alpha / A.shape[1] * x @ A.T @ B.T", "divided by D_in"),
        "divided by D_out": (LORA + "x @ W.T + b + alpha / len(B) * x @ A.T @ B.T", "divided by D_out"),
        "upside down": (LORA + "x @ W.T + b + r / alpha * x @ A.T @ B.T", "wrong way round"),
        "change alone": (LORA + "alpha / r * x @ A.T @ B.T", "change alone"),
        "all scaled": (LORA + "alpha / r * (x @ W.T + b + x @ A.T @ B.T)", "acts on the layer's own answer"),
        "no bias": (LORA + "x @ W.T + alpha / r * x @ A.T @ B.T", "bias is missing"),
        "bias twice": (LORA + "x @ W.T + b + alpha / r * x @ A.T @ B.T + b", "bias is added twice"),
        "subtracted": (LORA + "x @ W.T + b - alpha / r * x @ A.T @ B.T", "The numbers differ"),
    },
    "17.3": {
        "LoRA's own": (SCALE + "alpha / rank", "LoRA's own rule"),
        "no rank": (SCALE + "alpha", "Without the rank"),
        "grows": (SCALE + "alpha * rank**0.5", "wrong way"),
        "root over all": (SCALE + "(alpha / rank) ** 0.5", "over r alone"),
        "no alpha": (SCALE + "rank**-0.5", "alpha is missing"),
        "squared": (SCALE + "alpha / rank**2", "faster than"),
        "something else": (SCALE + "alpha + rank", "should be equal"),
    },
    "17.4": {
        "no scale": ("def dora(W, A, B, alpha, m):\n    V = W + B @ A\n    return m[:, None] * V / V.norm(dim=1, keepdim=True)", "not scaled"),
        "no length": (DORA + "V / V.norm(dim=1, keepdim=True)", "Only the direction"),
        "not divided": (DORA + "m[:, None] * V", "never divided"),
        "length of W": (DORA + "m[:, None] * V / W.norm(dim=1, keepdim=True)", "length is that of W's rows"),
        "change added late": (DORA + "m[:, None] * (W / W.norm(dim=1, keepdim=True) + alpha / len(A) * B @ A)", "added after"),
        "columns": (DORA + "m[:, None] * V / V.norm(dim=0)", "length of the columns"),
        "whole matrix": (DORA + "m[:, None] * V / V.norm()", "whole matrix"),
        "no root": (DORA + "m[:, None] * V / V.square().sum(dim=1, keepdim=True)", "root is missing"),
        "transposed": (DORA + "(m[:, None] * V / V.norm(dim=1, keepdim=True)).T", "keeps its shape"),
        "W alone": (DORA + "W", "The numbers differ"),
    },
    "17.5": {
        "exchanged": (SVD + "return U[:, :rank] * S[:rank] * rank / alpha, Vt[:rank]", "exchanged"),
        "scale left in": (SVD + "return Vt[:rank], U[:, :rank] * S[:rank]", "must be divided"),
        "no singular values": (SVD + "return Vt[:rank], U[:, :rank] * rank / alpha", "stretches nothing"),
        "squared": (SVD + "return S[:rank, None] * Vt[:rank], U[:, :rank] * S[:rank] * rank / alpha", "squared"),
        "the smallest": (SVD + "return Vt[-rank:], U[:, -rank:] * S[-rank:] * rank / alpha", "smallest"),
        "scale taken out twice": (SVD + "return Vt[:rank] * rank / alpha, U[:, :rank] * S[:rank] * rank / alpha", "taken out twice"),
        "whole": (SVD + "return Vt, U * S * rank / alpha", "should be (r, D_in)"),
        "the first columns": (SVD + "return torch.eye(6).double()[:2], change[:, :2] * rank / alpha", "the best of rank 2"),
    },
}
