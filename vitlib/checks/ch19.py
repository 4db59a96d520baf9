"""Checkers of chapter 19."""

import torch
from torch.nn import functional as F

from . import exercise, right, wrong


@exercise
def exercise_1(tokens_left):
    attention, mlp, end = tokens_left
    if (attention, mlp, end) == (117, 101, 11):
        return right("117, 101 and 11: the last block has 20 patches and merges only 10 pairs.")
    if (attention, mlp, end) == (117, 101, 5):
        return wrong("197 - 12 · 16 = 5 forgets the limit: before block 12 there are 20 patches, and half of them is 10.")
    if (attention, mlp) == (101, 117):
        return wrong("The first two are exchanged: merging stands after attention and before the MLP.")
    if (attention, mlp) == (101, 101):
        return wrong("Attention of block 6 still reads what block 5 left: merging comes after it.")
    if (attention, mlp) == (117, 117):
        return wrong("The MLP of block 6 comes after the block's own merge.")
    if (attention, mlp) == (101, 85):
        return wrong("Before block 6 five blocks have merged, not six.")
    if (attention, mlp) == (116, 100):
        return wrong("Those are the patches: the class token is read as well.")
    if (attention, mlp, end) == (117, 101, 10):
        return wrong("Ten patches are left, and the class token.")
    if (attention, mlp) == (157, 149):
        return wrong("Each pair takes one token away: r pairs are r tokens fewer, not r / 2.")
    if (attention, mlp) == (117, 101):
        return wrong(f"The first two are right. Go on to block 12: the patches before it are 196 - 11 · 16 = 20; it leaves {end}?")
    return wrong("Before block b there are 196 - 16 · (b - 1) patches and the class token; attention reads these, the MLP 16 fewer.")


@exercise
def exercise_2(int8):
    w = torch.tensor([[0.1, -0.26, 0.3], [50.0, -100.0, 26.0], [0.0, 0.0, 0.0], [-0.75, 0.5, 0.25]])
    q, scale = int8(w.clone())
    top = w.abs().amax(dim=1, keepdim=True)
    s = torch.where(top > 0, top / 127, torch.ones_like(top))
    if q.dtype != torch.int8:
        return wrong(f"q should have the dtype torch.int8, a byte each; yours is {q.dtype}.")
    if scale.numel() == 1:
        return wrong("That is one scale for the whole matrix: the first row, 300 times smaller than the second, is rounded away.")
    if tuple(scale.shape) == (1, 3):
        return wrong("Those are scales of the columns, one for each input. Each output, a row, needs its own.")
    if tuple(scale.shape) != (4, 1):
        return wrong(f"scale should be (D_out, 1) = (4, 1), so that scale * q has w's shape; yours is {tuple(scale.shape)}.")
    if not scale.isfinite().all() or scale[2] == 0:
        return wrong("A row of zeros divides by zero: give it the scale 1.")
    live = [0, 1, 3]
    expected, back = (w / s).round(), scale * q.float()
    if torch.equal(q.float(), expected) and torch.allclose(scale, s):
        return right("Each row fills -127…127 by itself, so a small output keeps its digits.")
    if torch.allclose(scale[live] * s[live], torch.ones(3, 1), atol=1e-4):
        return wrong("The scale is the wrong way round: w is near scale * q, so scale = max|w| / 127.")
    if torch.allclose(scale[live], top[live] / 128, rtol=1e-4):
        return wrong("With 128 the largest weight becomes 128, which int8 does not hold: it turns into -128. Divide by 127.")
    if torch.allclose(scale[live], w.amax(dim=1, keepdim=True)[live] / 127, rtol=1e-4):
        return wrong("The largest weight counts without its sign: -100 is larger than 50.")
    if torch.allclose(scale[live], top[live] / 255, rtol=1e-4):
        return wrong("127 steps lie on each side of zero. With 255, values wrap round.")
    if torch.allclose(scale, s) and torch.equal(q.float(), (w / s).trunc()):
        return wrong("The digits were cut off: call round() before to(torch.int8), and the error halves.")
    if torch.allclose(scale, s) and torch.equal(q.float(), (w / s).floor()):
        return wrong("Everything was rounded down: round to the nearest, and the error halves.")
    return wrong(f"scale * q is up to {float((back - w).abs().max()):.3g} away from w; half a step, scale / 2, is the most.")


@exercise
def exercise_3(merge_groups):
    g = torch.Generator().manual_seed(0)
    x = torch.randn(6, 3, generator=g, dtype=torch.float64)
    size, group = torch.tensor([1.0, 4, 2, 1, 3, 5], dtype=torch.float64), torch.tensor([1, 1, 0, 2, 0, 1])
    means, sizes = merge_groups(x.clone(), size.clone(), group, 3)
    goes = F.one_hot(group, 3).double().T
    total, count = goes @ size, goes.sum(dim=1)
    if tuple(means.shape) != (3, 3) or tuple(sizes.shape) != (3,):
        return wrong(f"Means are (groups, D) = (3, 3) and sizes (groups,) = (3,); yours are {tuple(means.shape)} and {tuple(sizes.shape)}.")
    if torch.allclose(sizes.double(), count):
        return wrong("The sizes count tokens. They should count patches: sum the sizes of the tokens in a group.")
    if torch.allclose(sizes.double(), total / count):
        return wrong("The sizes were averaged: a group holds all the patches of its tokens, so they are summed.")
    if torch.allclose(sizes.double(), torch.tensor([3.0, 5, 1]).double()):
        return wrong("That is the largest size of each group: the sizes are summed.")
    if not torch.allclose(sizes.double(), total):
        return wrong(f"The sizes of the groups are {total.tolist()}; yours are {sizes.tolist()}.")
    if torch.allclose(means, goes @ (x * size[:, None]) / total[:, None]):
        return right("A token that stands for five patches weighs five times as much.")
    known = {"Each token weighs the same: multiply it by its size first.": goes @ x / count[:, None],
             "Those are sums: divide by the size of the group.": goes @ (x * size[:, None]),
             "The sum is weighted and then divided by the number of tokens: divide by the sum of the sizes.": goes @ (x * size[:, None]) / count[:, None],
             "The tokens are not weighted, and yet divided by the sum of the sizes.": goes @ x / total[:, None]}
    for message, answer in known.items():
        if torch.allclose(means, answer):
            return wrong(message)
    return wrong("The sizes are right and the means are not: sum of size times token, divided by the sum of the sizes.")


@exercise
def exercise_4(proportional_weights):
    g = torch.Generator().manual_seed(0)
    q, k = (torch.randn(n, 4, generator=g, dtype=torch.float64) for n in (5, 5))
    size = torch.tensor([1.0, 3, 2, 1, 5], dtype=torch.float64)
    out, scores = proportional_weights(q, k, size), q @ k.T / 2
    if tuple(out.shape) != (5, 5):
        return wrong(f"Five queries and five keys make (5, 5); yours are {tuple(out.shape)}.")
    if torch.allclose(out, (scores + size.log()).softmax(dim=-1)):
        return right("The logarithm of the size inside the softmax is a factor outside: as if every patch were still there.")
    known = {"The sizes have no effect: add log size to the scores.": scores.softmax(dim=-1),
             "The sizes were added as they are. Inside the exponential a factor n is a sum with log n.": (scores + size).softmax(dim=-1),
             "The scores were multiplied by the sizes: a negative score then gets smaller, where it should get larger.": (scores * size).softmax(dim=-1),
             "The sizes multiply the weights after the softmax, and a row no longer sums to 1: put them inside.": scores.softmax(dim=-1) * size,
             "log size was divided by √d as well: add it after the scaling.": (q @ k.T / 2 + size.log() / 2).softmax(dim=-1),
             "The scores are not divided by √d.": (q @ k.T + size.log()).softmax(dim=-1),
             "The logarithm has base 2: the softmax is made of e.": (scores + size.log2()).softmax(dim=-1),
             "log size was subtracted: a large token then gets less.": (scores - size.log()).softmax(dim=-1),
             "The sum runs over the queries: each row, over the keys, should sum to 1.": (scores + size.log()).softmax(dim=0)}
    for message, answer in known.items():
        if torch.allclose(out, answer):
            return wrong(message)
    if torch.allclose(out, (scores + size.log()[:, None]).softmax(dim=-1)):
        return wrong("log size was added to the rows, the queries: there it changes nothing. It belongs to the keys.")
    return wrong("The numbers differ: softmax over the keys of q kᵀ / √d + log size.")


ROWS = [("a", 1.0, 0.0), ("b", 3.0, 0.5), ("c", 2.0, 0.6), ("d", 4.0, 3.0), ("e", 3.0, 0.7), ("f", 1.5, -0.2), ("g", 4.0, 3.0),
        ("h", 0.5, -0.2)]


@exercise
def exercise_5(worth_a_look):
    found, best = list(worth_a_look(list(ROWS))), ["f", "b", "d", "g"]
    if any(not isinstance(name, str) for name in found):
        return wrong("Give the names alone, not the rows.")
    if found == best:
        return right("What is left is what somebody could sensibly choose.")
    if sorted(found) == sorted(best):
        return wrong("The names are right, but not from slow to fast.")
    if sorted(found) == ["b", "f"]:
        return wrong("Two rows with the same numbers do not beat each other: d and g both stay.")
    if set(best) < set(found) and set(found) <= {*best, "e", "h"}:
        return wrong("e is as fast as b and loses more, h loses what f does and is slower: as good in one and better in the other beats.")
    if "a" in found and "b" in found and len(found) == len(ROWS):
        return wrong("No row was left out. c, for one, is slower than b and loses more.")
    if set(found) == {"a"} or set(found) == {"h"} or set(found) <= {"a", "h"}:
        return wrong("The comparison is the wrong way round: many times as fast is good, few points lost are good.")
    if set(found) == {"d", "g"}:
        return wrong("Those are the fastest alone. A slower row that loses less is not beaten by them.")
    if set(found) <= {"f", "h"}:
        return wrong("Those lose least. A faster row that loses a little more is not beaten by them.")
    return wrong(f"Of the checker's rows {', '.join(best)} should be left; yours leaves {', '.join(found) or 'none'}.")
