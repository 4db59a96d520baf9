"""Checkers of chapter 9."""

import math
from statistics import mean, pstdev, stdev

from . import exercise, right, wrong


@exercise
def exercise_1(deviation):
    true = 100 * math.sqrt(0.8 * 0.2 / 5000)
    if math.isclose(deviation, true / 100, rel_tol=0.02):
        return wrong("That is the share. In percentage points it is a hundred times as much.")
    if math.isclose(deviation, math.sqrt(5000 * 0.16), rel_tol=0.02):
        return wrong("That is the deviation of the number of right answers; the score divides it by 5,000.")
    if math.isclose(deviation, 100 * 0.16 / 5000, rel_tol=0.02) or math.isclose(deviation, 0.32, rel_tol=0.02):
        return wrong("That looks like a variance. The deviation is its square root.")
    if math.isclose(deviation, 100 * math.sqrt(0.8 / 5000), rel_tol=0.02):
        return wrong("The variance has p (1 - p), not p alone.")
    if not math.isclose(deviation, true, rel_tol=0.02):
        return wrong(f"The deviation is not {deviation} points. Start from the variance n p (1 - p) of the count.")
    return right("0.57 points: two scores half a point apart on one set of 5,000 may well be equal.")


@exercise
def exercise_2(gain_interval):
    after, before, t = [0.62, 0.67, 0.61], [0.60, 0.63, 0.60], 4.303
    d = [100 * (a - b) for a, b in zip(after, before)]
    half = t * stdev(d) / math.sqrt(3)
    low, high = gain_interval(after, before, t)

    def is_(center, width):
        return math.isclose(low, center - width, abs_tol=1e-6) and math.isclose(high, center + width, abs_tol=1e-6)

    if is_(mean(d), half):
        return right("The differences are paired, and the interval is as wide as three seeds deserve.")
    if is_(mean(d) / 100, half / 100):
        return wrong("These are shares. Give percentage points: a hundred times as much.")
    if is_(-mean(d), half):
        return wrong("The sign is turned around: a gain is after minus before.")
    if is_(mean(d), t * stdev(d)):
        return wrong("The mean of n differences is surer than one of them: divide by the root of n.")
    if is_(mean(d), t * pstdev(d) / math.sqrt(3)):
        return wrong("The spread was divided by n. With the mean taken from the same numbers it is n - 1.")
    apart = t * 100 * math.sqrt((stdev(after) ** 2 + stdev(before) ** 2) / 3)
    if is_(mean(d), apart):
        return wrong("The seeds are not paired: take the differences seed by seed, then their spread.")
    return wrong(f"For differences of 2, 4 and 1 points the interval is not [{low:.2f}, {high:.2f}].")


@exercise
def exercise_3(report):
    runs = [{"validation": [0.70, 0.79, 0.74], "test": 0.745}, {"validation": [0.60, 0.70, 0.78], "test": 0.76},
            {"validation": [0.71, 0.76, 0.77], "test": 0.785}]
    found = report(runs)
    if found == 0.76:
        return right("The run with the best last epoch on validation, and its test accuracy, whatever it is.")
    if found == 0.785:
        return wrong("That is the best test accuracy: the test set has chosen.")
    if found == 0.745:
        return wrong("The first run had the best epoch on validation, but the weights of that epoch are gone: compare last epochs.")
    if found in (0.78, 0.79):
        return wrong("That is a validation accuracy. It has chosen, so it flatters; publish the test accuracy.")
    if math.isclose(found, mean(run["test"] for run in runs)):
        return wrong("The mean over all runs is honest, but it is not the run that was chosen.")
    return wrong(f"{found} is not the test accuracy of the run that validation chooses.")


@exercise
def exercise_4(passes):
    if passes == 25:
        return wrong("Not everything grows with the square of the width: attention's scores and the embedding grow with the width alone.")
    if passes == 50:
        return wrong("The large matrices have twice as many rows and twice as many columns: four times the work.")
    if passes > 100:
        return wrong("The wider model costs more for each pass, so it gets fewer of them.")
    if abs(passes - 28) > 0.5:
        return wrong(f"{passes} passes do not cost the same. Divide the cost of 100 passes of the small model by that of one of the wide.")
    return right("About 28 passes.")
