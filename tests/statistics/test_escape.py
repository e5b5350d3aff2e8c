"""Escape times: the window, what ends a replica, and agreement with a loop over steps."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pcbench.statistics import Times, escape_times

quick = settings(max_examples=200, deadline=None)

# Dyadic numbers, whose means over 1, 2 and 4 steps are exact: ties with the threshold are real.
exact = st.integers(0, 64).map(lambda k: k / 16)
anything = st.one_of(exact, st.sampled_from([np.nan, np.inf, -np.inf]))


def by_loop(losses, reference, fraction, window):
    times, observed = [], []
    for replica in range(losses.shape[1]):
        recent, escaped = [], None
        for step, loss in enumerate(losses[:, replica], start=1):
            if not np.isfinite(loss):
                break
            recent.append(loss)
            mean = sum(recent[-window:]) / window
            if len(recent) >= window and mean <= (1 - fraction) * reference[replica]:
                escaped = step
                break
        times.append(len(recent) if escaped is None else escaped)
        observed.append(escaped is not None)
    return times, observed


@quick
@given(
    losses=arrays.arrays(
        np.float64,
        arrays.array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=20),
        elements=st.one_of(exact, anything),
    ),
    window=st.sampled_from([1, 2, 4]),
    fraction=st.sampled_from([0.25, 0.5, 0.875]),
)
def test_times_are_those_of_a_loop_over_steps(losses, window, fraction):
    reference = np.full(losses.shape[1], 2.0)
    times = escape_times(losses, reference, fraction=fraction, window=window)
    expected, observed = by_loop(losses, reference, fraction, window)
    assert times.times.tolist() == expected
    assert times.observed.tolist() == observed


@pytest.mark.parametrize("window", [1, 3, 7, 50, 200, 201])
def test_any_window_agrees_with_a_loop_in_noise(window):
    rng = np.random.default_rng(window)
    losses = np.geomspace(1, 0.1, 200)[:, None] * rng.lognormal(0, 0.5, (200, 30))
    losses[rng.integers(200, size=5), np.arange(5)] = np.nan
    times = escape_times(losses, np.ones(30), fraction=0.5, window=window)
    assert (times.times.tolist(), times.observed.tolist()) == by_loop(
        losses, np.ones(30), 0.5, window
    )


def single(*losses, window=1, fraction=0.5, reference=1.0):
    times = escape_times(
        np.array(losses, dtype=float)[:, None],
        np.array([reference]),
        fraction=fraction,
        window=window,
    )
    return times.times.item(), times.observed.item()


def test_steps_are_counted_from_one():
    assert single(0.5, 0.5) == (1, True)
    assert single(1, 1, 0.4) == (3, True)


def test_an_escape_is_at_the_threshold_or_under_it():
    assert single(1, 0.5) == (2, True)
    assert single(1, np.nextafter(0.5, 1)) == (2, False)


def test_one_lucky_batch_is_no_escape():
    assert single(0, 1, 1, 1, window=2, fraction=0.6) == (4, False)
    assert single(0, 1, 1, 1, window=1, fraction=0.6) == (1, True)


def test_the_step_is_the_last_of_its_window_and_no_earlier_than_the_first_whole_window():
    assert single(1, 1, 0, 0, 0, window=2, fraction=0.9) == (4, True)
    assert single(0, 0, 0, 0, window=3) == (3, True)
    assert single(0, 0, window=3) == (2, False)


@pytest.mark.parametrize("end", [np.nan, np.inf, -np.inf])
def test_a_replica_ends_at_its_first_loss_that_is_not_finite(end):
    assert single(1, 1, end) == (2, False)
    assert single(1, 0.1, end) == (2, True)
    assert single(1, 1, end, 0, 0) == (2, False)
    assert single(1, 0.1, end, window=2) == (2, False)
    assert single(end, end) == (0, False)
    assert single() == (0, False)


def test_a_spike_leaves_nothing_behind():
    # A running sum of these would have lost every loss of the order of 1.
    assert single(1e30, 1, 1, 1, 0.25, 0.25, window=2) == (6, True)
    assert single(1e308, 1.7e308, 1e308, 1, 0.25, 0.25, window=2) == (6, True)


@quick
@given(scale=st.sampled_from([2.0**-40, 0.5, 2.0, 2.0**40]), seed=st.integers(0, 2**32 - 1))
def test_the_unit_of_losses_does_not_matter(scale, seed):
    losses = np.random.default_rng(seed).random((40, 3))
    reference = np.full(3, 0.9)
    a = escape_times(losses, reference, fraction=0.6, window=4)
    b = escape_times(scale * losses, scale * reference, fraction=0.6, window=4)
    assert (a.times == b.times).all()
    assert (a.observed == b.observed).all()


def test_single_precision_is_measured_alike():
    losses = np.linspace(1, 0, 65)[:, None]
    for kind in (np.float32, np.float64):
        times = escape_times(losses.astype(kind), np.ones(1, kind), fraction=0.5, window=1)
        assert times.times.tolist() == [33]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"fraction": 0.0}, "between 0 and 1"),
        ({"fraction": 1.0}, "between 0 and 1"),
        ({"fraction": float("nan")}, "between 0 and 1"),
        ({"window": 0}, "at least one step"),
        ({"reference": np.array([0.0, 1.0])}, "positive and finite"),
        ({"reference": np.array([np.nan, 1.0])}, "positive and finite"),
    ],
)
def test_what_is_no_setting_is_said(change, says):
    settings_ = {"reference": np.ones(2), "fraction": 0.5, "window": 1} | change
    with pytest.raises(ValueError, match=says):
        escape_times(np.ones((5, 2)), **settings_)


@pytest.mark.parametrize(
    ("times", "observed", "says"),
    [
        ([np.inf], [False], "not finite"),
        ([np.nan], [False], "not finite"),
        ([-1.0], [False], "negative"),
        ([0.0], [True], "counted from 1"),
    ],
)
def test_what_is_no_time_is_said(times, observed, says):
    with pytest.raises(ValueError, match=says):
        Times(np.array(times), np.array(observed))


def test_a_censored_event_may_happen_at_any_later_time():
    times = Times(np.array([3.0, 5.0]), np.array([True, False]))
    assert times.latest.tolist() == [3.0, np.inf]
