from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from pcbench.data import Places
from pcbench.data.low_rank_matrix import LowRankMatrix

NOWHERE = Places((), Path())
quick = settings(max_examples=40, deadline=None)
seeds = st.integers(0, 2**32 - 1)


@st.composite
def sizes(draw):
    rows, columns = draw(st.integers(1, 12)), draw(st.integers(1, 12))
    return {"samples": rows, "columns": columns, "rank": draw(st.integers(1, min(rows, columns)))}


def load(seed=0, **parameters):
    asked = LowRankMatrix.Parameters(name="low_rank_matrix", **parameters)
    return LowRankMatrix(asked, NOWHERE).load(np.random.default_rng(seed))


@quick
@given(size=sizes(), observed=st.floats(0.01, 0.99), seed=seeds)
def test_a_sample_is_a_row_and_its_input_what_is_observed_of_it(size, observed, seed):
    found = load(seed, observed=observed, **size)
    assert found.y.shape == found.observed.shape == (size["samples"], size["columns"])
    np.testing.assert_array_equal(found.x, np.where(found.observed, found.y, 0))


@quick
@given(size=sizes(), observed=st.floats(0.01, 0.99), seed=seeds)
def test_the_matrix_has_the_rank_asked_for_and_every_row_something_observed(size, observed, seed):
    found = load(seed, observed=observed, **size)
    singular = np.linalg.svd(found.y, compute_uv=False)
    assert singular[size["rank"] - 1] > 0
    assert (singular[size["rank"] :] < 1e-12 * singular[0]).all()
    assert found.observed.any(axis=1).all()


@quick
@given(size=sizes(), seed=seeds)
def test_whether_entries_are_observed_changes_nothing_in_the_matrix(size, seed):
    whole, partly = load(seed, observed=1, **size), load(seed, observed=0.5, **size)
    np.testing.assert_array_equal(whole.y, partly.y)
    np.testing.assert_array_equal(whole.x, whole.y)
    assert whole.observed is None


def test_the_paper_has_ten_by_ten_of_rank_three_and_a_fifth_unobserved():
    asked = LowRankMatrix.Parameters(name="low_rank_matrix")
    assert (asked.samples, asked.columns, asked.rank, asked.observed) == (10, 10, 3, 0.8)


def test_entries_are_observed_with_their_probability_and_factors_are_standard_normal():
    found = load(samples=400, columns=400, rank=3)
    # Five standard errors; the one entry of each row that always is adds 0.2/400 of a row.
    off = 5 * np.sqrt(0.8 * 0.2 / found.y.size)
    assert abs(found.observed.mean() - (0.8 + 0.2 / 400)) < off
    # Variance 3 of a sum of three products; rows and columns share factors, 400 of each.
    assert abs(found.y.var() - 3) < 5 * 3 * np.sqrt(2 * 2 / 1200)


def test_a_rank_beyond_the_smaller_side_is_refused():
    sentence = "4 rows and 6 columns have rank 4 at most, not 5; lower rank"
    with pytest.raises(ValidationError, match=sentence):
        LowRankMatrix.Parameters(name="low_rank_matrix", samples=4, columns=6, rank=5)


def test_the_same_stream_draws_the_same_matrix():
    first, again, other = (load(seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.y, again.y)
    np.testing.assert_array_equal(first.observed, again.observed)
    assert not np.array_equal(first.y, other.y)
