"""Timings: warmed up, synchronised, and repeated as often as it pays."""

import pytest

from pcbench.runner import context
from pcbench.runner.context import BUDGET_S, MAX_SAMPLES, MIN_SAMPLES, PATIENCE_S, measure
from tests.runner.scripted_cases import RememberingBackend


class Clock:
    """Time that only work makes pass: each call takes as long as the next duration says."""

    def __init__(self, durations, repeat):
        self.now = 0.0
        self.durations = iter([*durations, *repeat * MAX_SAMPLES])

    def work(self):
        self.now += next(self.durations)


@pytest.fixture
def time(monkeypatch):
    """Measure work of the given durations; return the measurement and the backend."""

    def time(*durations, repeat):
        clock = Clock(durations, repeat)
        monkeypatch.setattr(context, "perf_counter", lambda: clock.now)
        backend = type("Remembering", (RememberingBackend,), {"calls": []})()
        return measure("work", clock.work, backend), backend

    return time


def test_the_first_call_is_not_counted(time):
    measurement, _ = time(100.0, repeat=[0.001])
    assert measurement.name == "work"
    assert max(measurement.samples_s) == pytest.approx(0.001)


def test_steady_work_is_repeated_the_least_number_of_times(time):
    measurement, _ = time(repeat=[0.001])
    assert len(measurement.samples_s) == MIN_SAMPLES


def test_slow_work_is_repeated_the_least_number_of_times_beyond_the_budget(time):
    measurement, _ = time(repeat=[BUDGET_S, 3 * BUDGET_S])
    assert len(measurement.samples_s) == MIN_SAMPLES


def test_unsteady_work_is_repeated_until_the_budget_is_spent(time):
    measurement, _ = time(repeat=[0.001, 0.005])
    *_, last = measurement.samples_s
    spent = sum(measurement.samples_s)
    assert len(measurement.samples_s) > MIN_SAMPLES
    assert spent - last < BUDGET_S <= spent


def test_unsteady_work_of_no_length_is_not_repeated_for_ever(time):
    measurement, _ = time(repeat=[1e-7, 1e-6])
    assert len(measurement.samples_s) == MAX_SAMPLES


def test_work_that_settles_is_repeated_until_it_has(time):
    measurement, _ = time(0.0, 0.001, 0.002, 0.001, 0.003, 0.001, repeat=[0.001])
    assert MIN_SAMPLES < len(measurement.samples_s) < MAX_SAMPLES
    assert sum(measurement.samples_s) < BUDGET_S


def test_the_backend_is_waited_for_after_every_call_and_the_peak_taken_of_the_samples(time):
    measurement, backend = time(repeat=[0.001])
    assert backend.calls == [
        ("made", "cpu", "float64"),
        ("synchronize",),
        ("peak memory",),
        *[("synchronize",)] * MIN_SAMPLES,
        ("peak memory",),
    ]
    assert measurement.peak_memory_bytes == 4096


def test_a_sample_lasts_until_the_backend_is_done(monkeypatch):
    clock = Clock([], [0.0])

    class Asynchronous(RememberingBackend):
        calls = []  # noqa: RUF012

        def synchronize(self):
            clock.now += 0.125

    monkeypatch.setattr(context, "perf_counter", lambda: clock.now)
    measurement = measure("work", clock.work, Asynchronous())
    assert measurement.samples_s == [0.125] * MIN_SAMPLES


def test_what_takes_long_is_timed_twice(time):
    measurement, _ = time(repeat=[PATIENCE_S])
    assert measurement.samples_s == [PATIENCE_S] * 2
