"""What a claim from an experiment needs to stand on: enough runs, one change between them, an interval that decides.

The open exercises of every chapter use it. A reader gives a claim and the numbers it rests on, one list for each side
of the comparison, the runs of one seed at the same place in both.
"""

import math
from statistics import mean, stdev

from ..scores import STUDENT
from . import Verdict, right, wrong

CANNOT_TELL = "cannot tell"


def interval(differences: list[float]) -> tuple[float, float]:
    """Mean of paired differences, and the half-width of its 95 % interval. Source: Student 1908."""
    t = STUDENT[min(len(differences) - 2, len(STUDENT) - 1)]
    return mean(differences), t * stdev(differences) / math.sqrt(len(differences))


def weigh(claim: str, evidence: dict[str, list[float]], more: str, less: str, least: int = 3,
          between: tuple[float, float] = (-math.inf, math.inf), unit: str = "") -> Verdict:
    """Does the evidence bear the claim?

    `evidence` holds two lists, under the names `more` and `less`: the same measurement with and without the change, run
    for run. The claim is one of f"{more} is higher", f"{less} is higher" and "cannot tell". It stands if the 95 %
    interval of the paired differences says the same. `between` is what such a measurement can be.
    """
    claims = [f"{more} is higher", f"{less} is higher", CANNOT_TELL]
    if claim not in claims:
        return wrong(f"The claim is {claim!r}; it should be one of {', '.join(map(repr, claims))}.")
    if not isinstance(evidence, dict) or set(evidence) != {more, less}:
        return wrong(f"The evidence should be a dictionary with two lists, {more!r} and {less!r}.")
    with_it, without = ([float(value) for value in evidence[side]] for side in (more, less))
    if len(with_it) != len(without):
        return wrong(f"{len(with_it)} runs stand against {len(without)}. Run both sides with the same seeds, so that the "
                     "runs come in pairs.")
    if len(with_it) < least:
        return wrong(f"{len(with_it)} run{'s' * (len(with_it) != 1)} on each side cannot show how much chance does; "
                     f"make at least {least}, with different seeds.")
    if odd := [v for v in with_it + without if not between[0] <= v <= between[1]]:
        return wrong(f"{odd[0]:g} cannot be such a measurement: it lies between {between[0]:g} and {between[1]:g}.")
    if len(set(with_it)) == 1 and len(set(without)) == 1:
        return wrong("All runs of a side gave the same number. Did the seed reach whatever is drawn at random?")
    if with_it == without:
        return wrong("Both sides gave the same numbers, run for run. Did the change reach the model?")
    middle, half = interval([a - b for a, b in zip(with_it, without)])
    seen = claims[0] if middle > half else claims[1] if middle < -half else CANNOT_TELL
    said = f"{more} minus {less} is {middle:+.3g} ± {half:.2g}{unit} over {len(with_it)} pairs of runs"
    if claim == seen:
        return right(f"{said}: your evidence bears the claim." if seen != CANNOT_TELL else
                     f"{said}: 0 lies inside, so these runs do not decide, and you say so.")
    if seen == CANNOT_TELL:
        return wrong(f"{said}. 0 lies inside the interval, so these runs do not bear your claim: make more, or say less.")
    if claim == CANNOT_TELL:
        return wrong(f"{said}. The interval is clear of 0: your runs say more than you do.")
    return wrong(f"{said}. That is the other way round.")
