"""One trained kernel comes to the limit: within .04 F1 of the exact posterior, efficiency .9.

``python -m tests.benchmarks.detectors`` measures it for more channels, d' and seeds.
"""

import numpy as np
import pytest

from ..benchmarks.simulated import NOISES, Case, cases, held_out_f1, measure

LENGTHS = {"train": 100_000, "valid": 60_000, "test": 60_000}


@pytest.mark.parametrize(
    ("channels", "noise", "dprime"),
    [(1, "white", 3), (1, "time", 4), (4, "both", 5), (16, "both", 4)],
)
def test_a_trained_kernel_comes_to_the_limit(channels, noise, dprime):
    limit, reached = measure(Case(channels, noise, dprime), seeds=(0, 1), lengths=LENGTHS)
    f1, efficiency = reached.T
    assert 0.6 < limit < 0.99, "neither out of reach nor too easy to tell"
    assert f1.min() > limit - 0.04
    assert f1.max() < limit + 0.02, "no detector beats the exact posterior by more than chance"
    assert efficiency.min() > 0.9
    assert efficiency.max() <= 1


def test_what_has_not_been_trained_is_far_from_it():
    case = Case(1, "time", 4)
    held_back = case.held_back(60_000, 60_000)
    limit = held_out_f1([case.exact(r) for r in held_back], held_back)
    bare = held_out_f1([r.x[0] for r in held_back], held_back)
    assert bare < limit - 0.2
    assert case.efficiency(held_back[0].template, held_back[0].template) < 0.5


def test_the_cases_are_those_of_the_table():
    table = cases((1, 4, 16), (3, 4, 5))
    assert len(table) == 30
    assert {case.noise for case in table if case.channels == 1} == {"white", "time"}
    assert {case.noise for case in table if case.channels == 16} == set(NOISES)
    for case in table:
        r = case.simulate(500, seed=0)
        assert r.template.shape == (25, case.channels)
        assert np.linalg.norm(case.gains) >= 1
