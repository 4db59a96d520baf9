"""Checkers of chapter 11."""

from statistics import median

from . import evidence as experiment
from . import exercise, right, wrong


@exercise
def exercise_1(cost):
    flops, share = cost
    T, D = 577, 768
    true, part = 24 * T * D**2 + 4 * T**2 * D, T / (6 * D + T)
    if abs(flops / true - 0.5) < 1e-3:
        return wrong("You counted a multiplication and the addition after it as one; a FLOP is either of them.")
    if abs(flops / true - 3) < 1e-3:
        return wrong("That is training. Forward alone is a third of it.")
    if abs(flops / (24 * T * D**2) - 1) < 1e-6:
        return wrong("The scores and the weighted mean are missing: 4 T² D.")
    if abs(flops / (24 * 576 * D**2 + 4 * 576**2 * D) - 1) < 1e-6:
        return wrong("T is 577: the class token goes through the block as well.")
    if abs(flops / (24 * 197 * D**2 + 4 * 197**2 * D) - 1) < 1e-6:
        return wrong("That is for images of 224×224 pixels; 384 / 16 = 24 patches make a side here.")
    if abs(flops / true - 12) < 1e-3:
        return wrong("That is the whole model with its 12 blocks; the question is about one.")
    if abs(flops / true - 1) > 0.01:
        return wrong(f"24 T D² + 4 T² D is not {flops:.4g} for T = 577 and D = 768.")
    if abs(share - (1 - part)) < 5e-3:
        return wrong("The FLOPs are right. The share is that of the other part, which grows with T only.")
    if abs(share - 100 * part) < 0.5:
        return wrong("The FLOPs are right. Give the share as a number between 0 and 1.")
    if abs(share - part) > 3e-3:
        return wrong(f"The FLOPs are right. The share is T / (6 D + T), and that is not {share:.3f}.")
    return right("9.2 GFLOPs, of which the T² part is 11 %; at 224×224 pixels it was 4 %.")


class Machine:
    """A pretended clock with two functions to time: a takes 2 s and b 1 s, times whatever goes wrong just then."""

    def __init__(self, first: float = 0.0, hiccup: int = -1, slow_from: int = 10**9):
        self.now, self.calls, self.order = 0.0, {"a": 0, "b": 0}, ""
        self.first, self.hiccup, self.slow_from = first, hiccup, slow_from

    def run(self, name: str) -> None:
        seconds = {"a": 2.0, "b": 1.0}[name] * (3 if len(self.order) >= self.slow_from else 1)
        if self.calls[name] == 0:
            seconds += self.first
        if name == "a" and self.calls["a"] == self.hiccup:
            seconds += 1000
        self.calls[name] += 1
        self.order += name
        self.now += seconds

    def a(self) -> None:
        self.run("a")

    def b(self) -> None:
        self.run("b")

    def measured(self, function, rounds: int) -> float:
        return float(function(self.a, self.b, rounds, lambda: self.now))


@exercise
def exercise_2(ratio_of_times):
    calm = Machine()
    found = calm.measured(ratio_of_times, 5)
    if not calm.order:
        return wrong("Neither function was called.")
    if calm.now and abs(found - 0.5) < 1e-6:
        return wrong("Upside down: a takes twice as long as b here, so the answer is 2, not 0.5.")
    if abs(found - 2) > 1e-6:
        return wrong(f"On a calm machine where a takes 2 s and b 1 s, you get {found:.3f}. Do you read `clock`, and no other?")
    if min(calm.calls.values()) < 5:
        return wrong(f"With rounds=5 each function should be timed five times; a ran {calm.calls['a']} times in all, b {calm.calls['b']}.")
    cold = Machine(first=100).measured(ratio_of_times, 1)
    if abs(cold - 2) > 1e-6:
        return wrong("The first call of each function is slow, and you counted it: run both once before the clock starts.")
    busier = Machine(slow_from=8).measured(ratio_of_times, 5)
    if abs(busier - 2) > 1e-6:
        return wrong(f"When the machine becomes slower in the middle, you get {busier:.2f}: a and b did not share the slow moments. Let them take turns.")
    jump = Machine(hiccup=3).measured(ratio_of_times, 5)
    if abs(jump - 2) > 1e-6:
        return wrong(f"One single call of a was disturbed, and the answer jumps to {jump:.0f}: take the median, not the mean.")
    return right("Warm, in turns, and not moved by one disturbance.")


@exercise
def exercise_3(my_images):
    count, world = 20, 3
    shares = [[int(i) for i in my_images(count, 0, rank, world)] for rank in range(world)]
    together = [i for share in shares for i in share]
    if len({len(share) for share in shares}) > 1:
        return wrong(f"The shares have {', '.join(str(len(s)) for s in shares)} images: leave out what does not divide, or the processes wait for each other for ever.")
    if not together or min(together) < 0 or max(together) >= count:
        return wrong(f"Indices go from 0 to {count - 1}, and no share is empty.")
    if len(set(together)) < len(together):
        if shares[0] != [int(i) for i in my_images(count, 0, 0, world)]:
            return wrong("The same call gives another answer the second time: seed a generator of your own, so that all processes shuffle alike.")
        if all(set(share) == set(shares[0]) for share in shares):
            return wrong("All processes get the same images: each must take its own part of the order.")
        return wrong("Some images are in two shares: does the shuffle depend on the rank? All must shuffle alike, then each takes its part.")
    if len(together) != count // world * world:
        return wrong(f"All shares together hold {len(together)} images of {count}; {count // world * world} can be shared equally.")
    later = [[int(i) for i in my_images(count, epoch, 0, world)] for epoch in range(1, 6)]
    if set(together) == set(range(len(together))) and shares[0] == sorted(shares[0]):
        return wrong("The order is not shuffled.")
    if all(order == shares[0] for order in later):
        return wrong("Every epoch has the same order: let the seed depend on the epoch.")
    if all(set(order) == set(shares[0]) for order in later):
        return wrong("Each process keeps the same images for ever: shuffle all of them first, then share them out.")
    return right("One order for all, new in each epoch, shared without overlap.")


@exercise
def exercise_4(diagnosis):
    serial, limit = (float(value) for value in diagnosis)
    if abs(serial - 0.34) < 1e-3:
        return wrong("34 s is what four processes need: the serial part and a quarter of the rest.")
    if abs(serial - 0.09) < 1e-3:
        return wrong("The serial part is more than the 9 s above a perfect 25: of the 25 a part is the serial one's own quarter. Solve 0.34 = s + (1 - s) / 4.")
    if abs(serial - 0.88) < 5e-3:
        return wrong("That is the share that can be shared out; the serial share is the rest.")
    if abs(serial - 12) < 0.1:
        return wrong("12 seconds, yes; give the share, between 0 and 1.")
    if abs(serial - 0.12) > 2e-3:
        return wrong(f"With a serial share of {serial:.3f}, four processes would need {100 * (serial + (1 - serial) / 4):.0f} s, not 34.")
    if abs(limit - 100 / 34) < 0.02:
        return wrong("The serial share is right. The other number is the speed-up of four processes; with endlessly many, only the serial part is left.")
    if abs(limit - 1 / 0.12) > 0.2:
        return wrong(f"The serial share is right. If all the rest took no time, the speed-up would be 1 / 0.12, not {limit:.2f}.")
    return right("12 % serial, so never more than 8.3 times as fast.")


@exercise
def exercise_5(claim, evidence):
    if isinstance(evidence, dict) and evidence and all(len(pace) > 1 for pace in evidence.values()):
        if all(pace[0] < median(pace[1:]) / 3 for pace in evidence.values()):
            return wrong("The first round of both is far below the others: that is the warm-up. Leave it out.")
        if all(median(pace) < 1 for pace in evidence.values()):
            return wrong("Less than one image per second: are these seconds? Divide the number of images by them.")
    return experiment.weigh(claim, evidence, "fused", "explicit", least=6, between=(0, 1e7), unit=" images/s")
