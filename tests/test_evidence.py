"""What the open exercises take for evidence: enough runs in pairs, and an interval that says what the claim says."""

import pytest
import torch

from vitlib.checks.evidence import CANNOT_TELL, interval, weigh
from vitlib.scores import STUDENT

CLEAR = {"warm": [0.90, 0.92, 0.91], "cold": [0.80, 0.81, 0.82]}
MIXED = {"warm": [0.90, 0.70, 0.91], "cold": [0.80, 0.81, 0.82]}


def judged(claim, evidence, **options):
    return weigh(claim, evidence, "warm", "cold", between=(0, 1), **options)


@pytest.mark.parametrize(("claim", "evidence"), [("warm is higher", CLEAR), (CANNOT_TELL, MIXED),
                                                 ("cold is higher", {"warm": CLEAR["cold"], "cold": CLEAR["warm"]})])
def test_a_claim_stands_where_the_interval_says_the_same(claim, evidence):
    assert judged(claim, evidence).right


@pytest.mark.parametrize(("claim", "evidence", "said"), [
    ("warm wins", CLEAR, "should be one of"), ("warm is higher", MIXED, "0 lies inside"),
    (CANNOT_TELL, CLEAR, "say more than you do"),
    ("cold is higher", CLEAR, "other way round"), ("warm is higher", {"warm": [0.9]}, "two lists"),
    ("warm is higher", {"warm": [0.9, 0.8, 0.9], "cold": [0.7]}, "come in pairs"),
    ("warm is higher", {"warm": [0.9, 0.92], "cold": [0.7, 0.71]}, "at least 3"),
    ("warm is higher", {"warm": [90, 92, 91], "cold": [80, 81, 82]}, "cannot be such a measurement"),
    ("warm is higher", {"warm": [0.9] * 3, "cold": [0.8] * 3}, "seed reach"),
    (CANNOT_TELL, {"warm": [0.9, 0.8, 0.7], "cold": [0.9, 0.8, 0.7]}, "change reach"),
    ("warm is higher", {"warm": [float("nan"), 0.9, 0.8], "cold": [0.1, 0.2, 0.3]}, "cannot be such a measurement")])
def test_each_gap_in_the_evidence_is_named(claim, evidence, said):
    verdict = judged(claim, evidence)
    assert not verdict.right and said in verdict.message, verdict


@pytest.mark.parametrize("runs", [3, 5, 12])
def test_nineteen_of_twenty_intervals_hold_the_truth(runs):
    g = torch.Generator().manual_seed(runs)
    draws = torch.randn(4000, runs, generator=g, dtype=torch.float64)
    middles, halves = torch.tensor([interval(row.tolist()) for row in draws]).T
    assert abs((middles.abs() < halves).double().mean() - 0.95) < 0.012
    assert list(STUDENT) == sorted(STUDENT, reverse=True)
