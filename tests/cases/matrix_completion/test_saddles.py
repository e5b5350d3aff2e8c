"""Saddles on paths whose valleys are known, and ranks of predictions."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcbench.cases.matrix_completion.path import PEAK, RANK_SHARE, Path, numerical_rank


def floors(heights):
    """Walk a path; return the places of the floors of the valleys that it left."""
    path, found = Path(), []
    for step, height in enumerate(map(float, heights)):
        left, _ = path.add(step, 1.0, height, 0)
        found += [] if left is None else [left]
    return found


def way(*turns, between=30):
    """Gradient norms that go from one turn to the next, by equal ratios."""
    pieces = [np.geomspace(a, b, between, endpoint=False) for a, b in pairwise(turns)]
    return np.append(np.concatenate(pieces), turns[-1])


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0.5, 5.0), st.floats(1e-4, 0.2)), min_size=1, max_size=5),
    st.integers(1, 40),
)
def test_the_floor_of_every_valley_between_two_drops_is_found(drops, between):
    peaks, lows = zip(*drops, strict=True)
    turns = [1e-3]
    for peak, low in zip(peaks, lows, strict=True):
        turns += [peak, low]
    heights = way(*turns, 1.0, between=between)
    assert floors(heights) == [between * (2 + 2 * k) for k in range(len(lows))]


def test_before_the_first_drop_there_is_no_valley_to_be_left():
    assert floors(way(1e-3, 4.0)) == []


def resting(heights):
    path = Path()
    for step, height in enumerate(map(float, heights)):
        path.add(step, 1.0, height, 0)
    return path.resting()


def test_a_valley_that_is_not_left_is_none_yet():
    assert floors(way(1e-3, 4.0, 1e-2, 1.5e-2)) == []


def test_a_path_that_ends_in_a_valley_rests_at_its_floor():
    assert resting(way(1e-3, 4.0, 1e-2, 1.5e-2)) == 60


@pytest.mark.parametrize("heights", [way(1e-3, 4.0), way(1e-3, 4.0, 1e-2, 2.0), [1.0, 0.6]])
def test_a_path_that_ends_on_a_slope_rests_nowhere(heights):
    assert resting(heights) is None


@pytest.mark.parametrize("depth", [PEAK * 1.01, PEAK / 1.01])
def test_a_dip_must_be_so_deep(depth):
    assert floors(way(0.01, 1.0, 1 / depth, 1.0)) == ([60] if depth > PEAK else [])


def test_noise_shallower_than_a_valley_finds_none_and_moves_none():
    rng = np.random.default_rng(0)
    heights = way(1e-3, 3.0, 1e-2, 2.0)
    noisy = heights * np.exp(rng.uniform(-0.5, 0.5, heights.size) * np.log(PEAK) * 0.9)
    [place] = floors(noisy)
    assert place == 30 + np.argmin(noisy[30:])


def test_a_walk_says_where_the_lowest_is():
    path = Path()
    looks = [path.add(0, 1.0, height, 0) for height in (1.0, 0.3, 0.1, 0.15, 0.9)]
    told = [(left is not None, lowest) for left, lowest in looks]
    assert told == [(False, True), (False, True), (False, True), (False, False), (True, True)]


@pytest.mark.parametrize("rank", [0, 1, 2, 3])
def test_ranks_are_counted_beside_the_targets(rank):
    rng = np.random.default_rng(rank)
    u, v = (np.linalg.qr(rng.standard_normal((6, 6)))[0] for _ in range(2))
    targets = u @ np.diag([10.0, 8.0, 5.0, 0, 0, 0]) @ v
    sizes = [10.0, 8.0, 5.0][:rank] + [0.9 * RANK_SHARE * 10.0] * (6 - rank)
    assert numerical_rank(u @ np.diag(sizes) @ v, targets) == rank
