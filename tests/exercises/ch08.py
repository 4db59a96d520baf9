"""Wrong answers to the exercises of chapter 8: the name of the mistake, code, and a part of the message it must get."""

COSINE = "def cosine_to_floor(step, total, floor):\n    "
CLIP = "def clip_gradients(parameters, limit):\n    length = math.sqrt(sum(p.grad.pow(2).sum().item() for p in parameters))\n    "
STEP = """def one_step(model, optimizer, images, labels):
    loss = F.cross_entropy(model(normalise(images)), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()
"""
EPOCH = """def one_epoch(model, optimizer, data, batch_size, g):
    steps = len(data) // batch_size
    order = torch.randperm(len(data), generator=g)[: steps * batch_size]
    losses = [one_step(model, optimizer, data.images[part], data.labels[part]) for part in order.split(batch_size)]
    return sum(losses) / steps
"""
RUN = """def whole_run(model, optimizer, data, epochs, batch_size, peak, warmup, g):
    steps, history = len(data) // batch_size, []
    for epoch in range(epochs):
        order, losses = torch.randperm(len(data), generator=g)[: steps * batch_size], []
        for i, part in enumerate(order.split(batch_size)):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(epoch * steps + i, epochs * steps, peak, warmup, "linear")
            losses.append(one_step(model, optimizer, data.images[part], data.labels[part]))
        history.append(sum(losses) / steps)
    return history
"""
RATE = 'learning_rate(epoch * steps + i, epochs * steps, peak, warmup, "linear")'
SET = """            for group in optimizer.param_groups:
                group["lr"] = """
TAKE = "            losses.append(one_step(model, optimizer, data.images[part], data.labels[part]))\n"


def pairs(claim: str, with_it: list[float], without: list[float]) -> str:
    return f'claim = {claim!r}\nevidence = {{"warm-up": {with_it}, "none": {without}}}'


WRONG = {
    "8.1": {
        "last batch counted": ("steps_and_warmup = (18 * 391, 352)", "not full"),
        "one epoch": ("steps_and_warmup = (390, 20)", "one epoch"),
        "warm-up of one epoch": ("steps_and_warmup = (7020, 20)", "share of all steps"),
        "ten per cent": ("steps_and_warmup = (7020, 702)", "5 %"),
    },
    "8.2": {
        "no floor": (COSINE + "return (1 + math.cos(math.pi * step / (total - 1))) / 2", "rate 0"),
        "cut off": (COSINE + "return max(floor, (1 + math.cos(math.pi * step / (total - 1))) / 2)", "cut off"),
        "off by one": (COSINE + "return floor + (1 - floor) * (1 + math.cos(math.pi * step / total)) / 2", "does not quite reach"),
        "straight": (COSINE + "return 1 - (1 - floor) * step / (total - 1)", "straight line"),
        "starts low": (COSINE + "return floor", "first step"),
    },
    "8.3": {
        "each by itself": (CLIP + "for p in parameters:\n        p.grad.mul_(limit / p.grad.norm())\n    return length", "by itself"),
        "not in place": (CLIP + "[p.grad * (limit / length) for p in parameters]\n    return length", "unchanged"),
        "stretched": (CLIP + "for p in parameters:\n        p.grad.mul_(limit / length)\n    return length", "stretched"),
        "length after": (CLIP + "for p in parameters:\n        p.grad.mul_(min(1, limit / length))\n    return min(limit, length)", "before clipping"),
        "sum of lengths": (CLIP + "total = sum(p.grad.norm().item() for p in parameters)\n    for p in parameters:\n        p.grad.mul_(limit / total)\n    return length", "root of the sum"),
    },
    "8.4": {
        "zero": ("smallest_loss = 0.0", "infinitely"),
        "true class only": ("smallest_loss = -math.log(0.91)", "nine other classes"),
        "0.9": ("smallest_loss = -math.log(0.9)", "all ten classes"),
        "guess": ("smallest_loss = 0.1", "not the entropy"),
    },
    "8.5": {
        "one seed": (pairs("none is higher", [1.9], [2.2]), "at least 3"),
        "no such claim": (pairs("warm-up helps", [1.9, 2.0, 1.8], [2.2, 2.3, 2.1]), "should be one of"),
        "not borne out": (pairs("none is higher", [1.9, 2.4, 1.8], [2.2, 2.0, 2.1]), "do not bear your claim"),
        "too modest": (pairs("cannot tell", [1.9, 2.0, 1.8], [2.2, 2.31, 2.1]), "your runs say more"),
        "the wrong way round": (pairs("warm-up is higher", [1.9, 2.0, 1.8], [2.2, 2.31, 2.1]), "other way round"),
        "same seed thrice": (pairs("none is higher", [1.9, 1.9, 1.9], [2.2, 2.2, 2.2]), "Did the seed reach"),
        "not from trial": (pairs("none is higher", [0.9, 1.0, 0.8], [5.2, 5.31, 5.1]), "when it is run again"),
    },
    "8.6": {
        "no step": (STEP.replace("    optimizer.step()\n", ""), "have not moved"),
        "piled up": (STEP.replace("    optimizer.zero_grad()\n", ""), "followed the gradients of both"),
        "not normalised": (STEP.replace("normalise(images)", "images.float() / 255"), "only divided by 255"),
        "a tensor": (STEP.replace("loss.item()", "loss"), ".item() makes a number"),
        "after the move": (STEP.replace("return loss.item()", "return F.cross_entropy(model(normalise(images)), labels).item()"),
                           "after the move"),
        "sum": (STEP.replace("labels)", "labels, reduction='sum')"), "another place"),
    },
    "8.7": {
        "last batch kept": (EPOCH.replace("[: steps * batch_size]", ""), "only 2 images"),
        "in order": (EPOCH.replace("torch.randperm(len(data), generator=g)", "torch.arange(len(data))"), "order in which they lie"),
        "drawn anew": (EPOCH.replace("torch.randperm(len(data), generator=g)", "torch.randint(len(data), (len(data),), generator=g)"),
                       "Some images came twice"),
        "labels left behind": (EPOCH.replace("data.labels[part]", "data.labels[:batch_size]"), "same indices"),
        "one order": (EPOCH.replace("generator=g", "generator=torch.Generator().manual_seed(3)"), "order of the first"),
        "global generator": (EPOCH.replace(", generator=g", ""), "With the same seed"),
        "last loss": (EPOCH.replace("sum(losses) / steps", "losses[-1]"), "loss of the last batch"),
        "sum of losses": (EPOCH.replace("sum(losses) / steps", "sum(losses)"), "sum of the losses"),
    },
    "8.8": {
        "never set": (RUN.replace(SET + RATE + "\n", ""), "never changed"),
        "starts anew": (RUN.replace(RATE, 'learning_rate(i, steps, peak, warmup, "linear")'), "anew in every epoch"),
        "one step late": (RUN.replace(SET + RATE + "\n" + TAKE, TAKE + SET + RATE + "\n"), "one step late"),
        "no warm-up": (RUN.replace("steps, peak, warmup,", "steps, peak, 0,"), "warm-up is missing"),
        "no decay": (RUN.replace('"linear"', '"constant"'), "stays at its peak"),
        "cosine": (RUN.replace('"linear"', '"cosine"'), "along a cosine"),
        "share of the peak": (RUN.replace("steps, peak,", "steps, 1.0,"), "should begin with"),
        "one epoch": (RUN.replace("range(epochs)", "range(1)"), "18 steps"),
        "all losses": (RUN.replace("history.append(sum(losses) / steps)", "history += losses"), "one mean loss"),
        "same order": (RUN.replace("generator=g", "generator=torch.Generator().manual_seed(0)"), "same order"),
    },
}
