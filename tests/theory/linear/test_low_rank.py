"""The best that linear maps of limited rank can do (Baldi & Hornik 1989), against searching."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from pcbench.theory.linear.critical import least_losses
from tests.helpers.closeness import SAME, apart

quick = settings(max_examples=20, deadline=None)
seeds = st.integers(0, 2**32 - 1)


def batch(seed, samples=7, inputs=4, outputs=3):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((samples, inputs)), rng.standard_normal((samples, outputs))


@quick
@given(seed=seeds, rank=st.integers(1, 2))
def test_no_search_finds_a_better_map_and_a_good_one_finds_as_good(seed, rank):
    x, y = batch(seed)

    def loss(flat):
        a, b = flat[: 4 * rank].reshape(4, rank), flat[4 * rank :].reshape(rank, 3)
        return np.sum((y - x @ a @ b) ** 2) / 14

    rng = np.random.default_rng([seed, 1])
    found = [minimize(loss, rng.standard_normal(7 * rank)).fun for _ in range(8)]
    assert abs(min(found) - least_losses(x, y)[rank]) < 1e-6
    assert min(found) > least_losses(x, y)[rank] - 1e-9


@quick
@given(seed=seeds)
def test_rank_0_predicts_nothing_and_full_rank_is_least_squares(seed):
    x, y = batch(seed)
    losses = least_losses(x, y)
    best = x @ np.linalg.lstsq(x, y, rcond=None)[0]
    assert apart(losses[0], np.sum(y**2) / 14) < SAME
    assert apart(losses[-1], np.sum((y - best) ** 2) / 14) < SAME
    assert (np.diff(losses) < 0).all()


def test_inputs_that_are_targets_of_low_rank_leave_nothing():
    rng = np.random.default_rng(0)
    y = rng.standard_normal((6, 2)) @ rng.standard_normal((2, 5))
    singular = np.linalg.svd(y, compute_uv=False)
    expected = [np.sum(singular**2) / 12, singular[1] ** 2 / 12, 0]
    assert apart(least_losses(y, y), np.array(expected)) < SAME
