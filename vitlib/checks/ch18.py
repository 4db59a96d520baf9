"""Checkers of chapter 18."""

import torch
from torch.nn import functional as F

from . import exercise, right, wrong


@exercise
def exercise_1(times):
    if times == 64:
        return right("3136 tokens, 49 in a window: attention over the whole image forms 3136 / 49 = 64 times as many scores.")
    known = {49: "That is how many tokens a window holds. Compare N² scores with N · w².",
             3136: "That is how many tokens there are. Each would read all of them: N². In windows each reads 49.",
             4096: "That is 64²: each token reads 64 times as few, and the number of tokens is the same in both.",
             8: "Eight windows stand along each side: there are 8 · 8 of them.",
             1 / 64: "That is the share that is left. How many times as many does the whole image need?"}
    for number, message in known.items():
        if abs(times - number) < 1e-9:
            return wrong(message)
    return wrong(f"N² scores against N · w², with N = 56 · 56 and w = 7, is not a factor of {times}.")


@exercise
def exercise_2(pool):
    g = torch.Generator().manual_seed(0)
    x, w = torch.randn(2, 5, 4, generator=g, dtype=torch.float64), torch.randn(4, generator=g, dtype=torch.float64)
    out, scores = pool(x, w), x @ w  # (B, N)
    if out.shape != (2, 4):
        return wrong(f"One vector of width D for each image: (2, 4); yours is {tuple(out.shape)}.")
    if torch.allclose(out, (scores.softmax(1)[..., None] * x).sum(1)):
        return right("A mean whose weights come from the tokens themselves.")
    known = {"That is the plain mean: the weights are all alike.": x.mean(1),
             "That is the sum: softmax over an axis of length 1 gives ones.": x.sum(1),
             "The weights are made over the images of the batch: an answer would depend on its neighbours.":
                 (scores.softmax(0)[..., None] * x).sum(1),
             "The scores weigh directly. Without the softmax they are no shares: they may be negative, and do not add up to 1.":
                 (scores[..., None] * x).sum(1),
             "The weights add up to 1 already: do not divide by N again.": (scores.softmax(1)[..., None] * x).mean(1),
             "That is the one token with the highest score. The softmax takes a share of each.":
                 x[torch.arange(2), scores.argmax(1)],
             "The scores are divided by √D, as in attention; sequence pooling does not.":
                 ((scores / 2).softmax(1)[..., None] * x).sum(1)}
    for message, answer in known.items():
        if torch.allclose(out, answer):
            return wrong(message)
    return wrong("The numbers differ: score each token with x · w, softmax over the N tokens, and add the tokens up with these shares.")


@exercise
def exercise_3(turn):
    g = torch.Generator().manual_seed(0)
    x, angles = (torch.randn(3, n, generator=g, dtype=torch.float64) for n in (6, 3))
    out, a, b, cos, sin = turn(x, angles), x[:, 0::2], x[:, 1::2], angles.cos(), angles.sin()
    if out.shape != x.shape:
        return wrong(f"Turning changes no shape: (3, 6); yours is {tuple(out.shape)}.")

    def woven(one, other):
        return torch.stack([one, other], -1).flatten(-2)

    if torch.allclose(out, woven(a * cos - b * sin, a * sin + b * cos)):
        return right("Each pair of columns is a point in a plane, turned about the origin.")
    first, second = x[:, :3], x[:, 3:]
    known = {"You turned the other way: by minus the angle.": woven(a * cos + b * sin, b * cos - a * sin),
             "The pairs are columns (0, 3), (1, 4), (2, 5). Here they are neighbours: (0, 1), (2, 3), (4, 5).":
                 torch.cat([first * cos - second * sin, first * sin + second * cos], 1),
             "The numbers are right, and stand in other columns: weave the two halves back together.":
                 torch.cat([a * cos - b * sin, a * sin + b * cos], 1),
             "Sine and cosine are exchanged: at angle 0 nothing may change.": woven(a * sin - b * cos, a * cos + b * sin),
             "The minus is missing: that is no turn, and lengths change.": woven(a * cos + b * sin, a * sin + b * cos),
             "Only the first of each pair was changed.": woven(a * cos - b * sin, b),
             "Half of the turn is missing: each new number needs both old ones.": woven(a * cos, b * cos)}
    for message, answer in known.items():
        if torch.allclose(out, answer):
            return wrong(message)
    return wrong("The numbers differ: (a, b) becomes (a cos - b sin, a sin + b cos), for columns 0 and 1, 2 and 3, and so on.")


@exercise
def exercise_4(read):
    if tuple(read) == (4, 8, 16):
        return right("The corner's window holds four corners of the image, the edge's two edges; only the middle one is whole.")
    known = {(16, 16, 16): "That is a window without the mask: the corner would read the opposite corner of the image.",
             (64, 64, 64): "That is attention over all. In a window there are 16 tokens at most.",
             (4, 4, 16): "The window of (0, 3) is cut once, not twice: rows 0 and 1, columns 2 to 5.",
             (4, 8, 8): "The window of (3, 3) lies inside the image: rows 2 to 5, columns 2 to 5. Nothing is cut.",
             (16, 8, 4): "It is the other way round: the corner's window is cut twice.",
             (8, 8, 16): "At the corner the window is cut in both directions: rows 0 and 1, columns 0 and 1.",
             (2, 4, 16): "A piece at the edge is 2 rows or columns wide, in both directions: 2 · 2 at the corner, 2 · 4 at an edge."}
    return wrong(known.get(tuple(read), f"Rolled by 2, the windows cover rows 6, 7, 0, 1 and rows 2 to 5, and the same columns; "
                                        f"who was no neighbour is masked. {tuple(read)} does not follow from that."))


@exercise
def exercise_5(loss):
    g = torch.Generator().manual_seed(0)
    student, teacher, T = *(torch.randn(4, 5, generator=g, dtype=torch.float64) for _ in "st"), 3.0
    found, p, q = float(loss(student, teacher, T)), (teacher / T).softmax(1), (student / T).softmax(1)

    def kl(p, q):
        return (p * (p.log() - q.log())).sum(1).mean()

    def near(value):
        return abs(found - float(value)) < 1e-9

    if near(kl(p, q) * T**2):
        return right("Zero only where the student gives the teacher's probabilities, and a gradient that does not fade with T.")
    known = {"The factor T² is missing: at a high temperature the gradient all but vanishes.": kl(p, q),
             "The factor is T² and not T: the gradient shrinks once for the logits and once for the differences.": kl(p, q) * T,
             "The two are exchanged: the teacher's probabilities are the weights.": kl(q, p) * T**2,
             "The student's logits were not divided by T.": kl(p, student.softmax(1)) * T**2,
             "The teacher's logits were not divided by T.": kl(teacher.softmax(1), q) * T**2,
             "You averaged over the classes too. Add up over the classes, and average over the images.": kl(p, q) * T**2 / 5,
             "You added up over the images: average, or the loss grows with the batch.": kl(p, q) * T**2 * 4,
             "That is the cross-entropy. Its gradient is right, but it is not 0 when both agree: take the teacher's own entropy off.":
                 F.cross_entropy(student / T, p) * T**2,
             "That asks for the teacher's first choice alone: the hard form.": F.cross_entropy(student, teacher.argmax(1))}
    for message, value in known.items():
        if near(value):
            return wrong(message)
    return wrong(f"Here it should be {float(kl(p, q) * T**2):.4f}, and yours gives {found:.4f}: KL(teacher ‖ student), both softened, times T².")


@exercise
def exercise_6(passes):
    cases = [(12, 1.0, 0.5, 0), (12, 1.5, 0.5, 6), (20, 2.0, 1.0, 4)]
    found = [float(passes(*case)) for case in cases]

    def equals(rule):
        return all(abs(value - rule(*case)) < 1e-9 for value, case in zip(found, cases))

    if equals(lambda total, step, teacher, lessons: (total - lessons * teacher) / step):
        return right("What the teacher took is gone before the student begins.")
    known = {"The teacher's own training is not counted.": lambda n, s, t, k: n / s,
             "A pass of the teacher does not cost a pass of the plain model: it costs its own ratio.": lambda n, s, t, k: (n - k) / s,
             "A step that costs more allows fewer passes: divide.": lambda n, s, t, k: (n - k * t) * s,
             "The teacher's passes were charged at the student's price.": lambda n, s, t, k: n / s - k,
             "The teacher's time was added, not taken off.": lambda n, s, t, k: (n + k * t) / s,
             "The student's own step costs more than the plain one's: divide by its ratio.": lambda n, s, t, k: n - k * t,
             "The teacher's passes cost t each, so they are multiplied by t.": lambda n, s, t, k: (n - k / t) / s}
    for message, rule in known.items():
        if equals(rule):
            return wrong(message)
    return wrong(f"left_over(12, 1.5, 0.5, 6) should be 6: 12 less the teacher's 3, at 1.5 each. Yours is {found[1]:g}.")
