"""Checkers of chapter 17."""

import torch

from . import exercise, right, wrong


@exercise
def exercise_1(trained):
    D, L, r, K = 768, 12, 8, 10
    qkv, proj, head = r * (D + 3 * D), r * (D + D), K * D + K
    if trained == L * (qkv + proj) + head:
        return right("450,058: half a percent of ViT-B's 86 million.")
    if trained == L * (qkv + proj):
        return wrong("Those are the adapters alone: the head is trained with them, K · D weights and K biases.")
    if trained == L * (qkv + proj) + K * D:
        return wrong("The head has K biases as well.")
    if trained == qkv + proj + head:
        return wrong("That is one block: ViT-B has twelve.")
    if trained == L * 2 * proj + head:
        return wrong("qkv gives 3 D numbers a token, so its B has 3 D rows, not D.")
    if trained == L * 4 * proj + head:
        return wrong("That gives q, k and v an A each. Here they are one layer, qkv, so they share one A: r · D numbers, once.")
    if trained == L * (r * 3 * D + r * D) + head:
        return wrong("Those are the Bs. Each has an A beside it: r · D_in numbers.")
    if trained == L * 4 * D * D + head:
        return wrong("Those are the matrices themselves. They stay frozen; each gets A, r · D_in, and B, D_out · r.")
    return wrong(f"A block has r · (D + 3 D) numbers beside qkv and r · (D + D) beside proj; twelve of these and a head are not {trained:,}.")


@exercise
def exercise_2(lora):
    g = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(*shape, generator=g, dtype=torch.float64)

    x, W, b, A, B, alpha, r = draw(2, 3, 5), draw(7, 5), draw(7), draw(2, 5), draw(7, 2), 6.0, 2
    out = lora(x, W, b, A, B, alpha)
    old, change = x @ W.T + b, x @ A.T @ B.T
    if out.shape != old.shape:
        return wrong(f"Tokens (2, 3, 5) become {tuple(old.shape)}, with D_out = 7; yours are {tuple(out.shape)}.")
    answers = {
        "The change is not scaled: multiply it by alpha / rank.": old + change,
        "The change is multiplied by alpha, but not divided by the rank, the number of A's rows.": old + alpha * change,
        "The change is divided by D_in. The rank is the number of A's rows.": old + alpha / 5 * change,
        "The change is divided by D_out. The rank is the number of A's rows.": old + alpha / 7 * change,
        "The scale is the wrong way round: alpha / rank, not rank / alpha.": old + r / alpha * change,
        "That is the change alone: the layer's own answer x Wᵀ + b is missing.": alpha / r * change,
        "The scale acts on the layer's own answer too: it belongs to the change alone.": alpha / r * (old + change),
        "The bias is missing: it belongs to the layer's own answer.": old - b + alpha / r * change,
        "The bias is added twice: the change has none.": old + b + alpha / r * change,
        "The adapter read the layer's output: it reads x, beside the layer.": None,
    }
    if torch.allclose(out, old + alpha / r * change, atol=1e-9):
        return right("Two small products beside the large one, and no matrix of D_out × D_in is formed.")
    for message, answer in answers.items():
        if answer is not None and torch.allclose(out, answer, atol=1e-9):
            return wrong(message)
    return wrong("The numbers differ: x Wᵀ + b, and alpha / rank times (x Aᵀ) Bᵀ.")


@exercise
def exercise_3(scale):
    pairs = [(16.0, 4), (16.0, 64), (3.0, 9)]
    found = [float(scale(alpha, r)) for alpha, r in pairs]

    def equals(rule):
        return all(abs(value - rule(alpha, r)) < 1e-9 for value, (alpha, r) in zip(found, pairs))

    if equals(lambda alpha, r: alpha / r**0.5):
        return right("alpha / √r: the gradient that reaches B is as large at rank 64 as at rank 4.")
    known = {"That is LoRA's own rule: B's gradient still falls as 1 / √r.": lambda alpha, r: alpha / r,
             "Without the rank in it, B's gradient grows as √r.": lambda alpha, r: alpha,
             "That is the wrong way: B's gradient would grow with r.": lambda alpha, r: alpha * r**0.5,
             "The root is over r alone, not over alpha / r.": lambda alpha, r: (alpha / r) ** 0.5,
             "alpha is missing: it is the factor that the user sets.": lambda alpha, r: 1 / r**0.5,
             "Divided by r², B's gradient falls faster than with LoRA's own rule.": lambda alpha, r: alpha / r**2}
    for message, rule in known.items():
        if equals(rule):
            return wrong(message)
    return wrong(f"scale(16, 4) is {found[0]:g} and scale(16, 64) is {found[1]:g}; times √r, the two should be equal, and "
                 "alpha should be a factor.")


@exercise
def exercise_4(dora):
    g = torch.Generator().manual_seed(0)
    W, A, B = (torch.randn(*shape, generator=g, dtype=torch.float64) for shape in ((5, 4), (2, 4), (5, 2)))
    alpha, m = 3.0, torch.arange(1.0, 6, dtype=torch.float64)
    out = dora(W, A, B, alpha, m)
    if out.shape != W.shape:
        return wrong(f"The weight keeps its shape {tuple(W.shape)}; yours is {tuple(out.shape)}.")
    V, raw = W + alpha / 2 * B @ A, W + B @ A

    def rows(matrix):
        return matrix.norm(dim=1, keepdim=True)

    if torch.allclose(out, m[:, None] * V / rows(V), atol=1e-9):
        return right("Each row points where W + (alpha / r) B A points, and is as long as m says.")
    known = {"The change is not scaled by alpha / r.": m[:, None] * raw / rows(raw),
             "Only the direction is there: multiply each row by its length m.": V / rows(V),
             "The rows were never divided by their length, so m is not their length.": m[:, None] * V,
             "The length is that of W's rows. Divide by the length of the rows of the sum, which change as A and B do.": m[:, None] * V / rows(W),
             "The change was added after W's rows were divided: divide the sum.": m[:, None] * (W / rows(W) + alpha / 2 * B @ A),
             "You divided by the length of the columns. Each output's weights are a row.": m[:, None] * V / V.norm(dim=0),
             "You divided by the length of the whole matrix. Each row has a length of its own.": m[:, None] * V / V.norm(),
             "The squares were summed, but the root is missing.": m[:, None] * V / rows(V) ** 2}
    for message, answer in known.items():
        if torch.allclose(out, answer, atol=1e-9):
            return wrong(message)
    return wrong("The numbers differ: V = W + (alpha / r) B A, each row of V divided by its own length, times m.")


@exercise
def exercise_5(extract):
    g = torch.Generator().manual_seed(0)
    change = torch.randn(9, 6, generator=g, dtype=torch.float64)
    rank, alpha = 2, 8.0
    A, B = extract(change, rank, alpha)
    if tuple(A.shape) == (9, 2) and tuple(B.shape) == (2, 6):
        return wrong("A and B are exchanged: A (r, D_in) reads, B (D_out, r) writes. Return A first.")
    if tuple(A.shape) != (2, 6) or tuple(B.shape) != (9, 2):
        return wrong(f"A should be (r, D_in) = (2, 6) and B (D_out, r) = (9, 2); yours are {tuple(A.shape)} and {tuple(B.shape)}.")
    U, S, Vt = torch.linalg.svd(change, full_matrices=False)
    best = U[:, :rank] * S[:rank] @ Vt[:rank]
    made = alpha / rank * B @ A
    if torch.allclose(made, best, atol=1e-9):
        return right("The largest r singular values: no other change of this rank is nearer.")
    known = {"The layer multiplies by alpha / r, so B A must be divided by it.": alpha / rank * best,
             "The scale was taken out twice.": rank / alpha * best,
             "The singular values are missing: U Vᵀ turns, and stretches nothing.": U[:, :rank] @ Vt[:rank],
             "The singular values are in A and in B: they were squared. Put them into one, or their roots into both.": U[:, :rank] * S[:rank] ** 2 @ Vt[:rank],
             "Those are the smallest singular values: svd returns the largest first.": U[:, -rank:] * S[-rank:] @ Vt[-rank:]}
    for message, answer in known.items():
        if torch.allclose(made, answer, atol=1e-9) or torch.allclose(made, alpha / rank * answer, atol=1e-9):
            return wrong(message)
    return wrong(f"(alpha / r) B A is {float((made - change).norm()):.2f} away from the change; the best of rank {rank} is "
                 f"{float((best - change).norm()):.2f} away.")
