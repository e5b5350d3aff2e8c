"""The search for critical points: what it finds is right, and every check bites."""

from functools import cache

import numpy as np
import pytest

from pcbench.backends.torch import TorchBackend
from pcbench.case import CaseSkippedError, Columns, Context
from pcbench.cases.critical_points.case import CriticalPoints, Parameters, draw_batch, draw_starts
from pcbench.cases.critical_points.judge import arrivals, examine, judge, refined
from pcbench.cases.critical_points.point import Verdict
from pcbench.cases.critical_points.search import Batch, Fate, Judged, Search
from pcbench.checks import Check
from pcbench.networks import NetworkSpec
from pcbench.runner.context import Findings
from pcbench.theory.linear import critical
from pcbench.theory.linear.equilibrium import equilibrated_energy
from tests.cases.faulty.critical import FAULTS
from tests.theory.linear.nonstrict import non_strict_saddle

pytestmark = pytest.mark.usefixtures("without_shapes")


class Lent(Context):
    """What the runner lends a case, but for data and clocks, which this kind does not ask for."""

    def __init__(self, backend):
        self.backend = backend

    def rng(self, stream):
        return np.random.default_rng(list(stream.encode()))

    def load(self, data):
        raise AssertionError

    def measure(self, name, work):
        raise AssertionError

    def progress(self, stage, steps, total):
        yield from steps


BACKENDS = {"torch": TorchBackend, **FAULTS}
# Every lemma certifies some saddle of one of these, with noise and without.
SETTINGS = {
    "wide": {"widths": [2, 3, 3, 2], "starts": 30},
    "bottleneck": {"widths": [4, 2, 2, 2], "starts": 30},
    "narrow": {"widths": [3, 2, 3], "starts": 20},
    "noisy": {"widths": [3, 2, 2], "starts": 20, "noise": 0.5},
}


@pytest.fixture(scope="module", autouse=True)
def _candidates_go_elsewhere(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("candidates"))
        yield


def parameters(name, **more):
    return Parameters(arrivals=0.3, iterations=100, **SETTINGS[name], **more)


@cache
def findings(backend, name):
    return list(CriticalPoints(parameters(name)).run(Lent(BACKENDS[backend]())))


def checks_of(backend):
    return [f for name in SETTINGS for f in findings(backend, name) if isinstance(f, Check)]


def series(found, name):
    [columns] = [f.columns for f in found if isinstance(f, Columns) and f.name == name]
    return columns


# What it finds


@pytest.mark.parametrize("name", SETTINGS)
def test_the_correct_backend_passes(name):
    made = [f for f in findings("torch", name) if isinstance(f, Check)]
    assert [check.explanation for check in made if not check.passed] == []


def test_every_start_has_a_fate_and_every_arrival_a_row():
    found = findings("torch", "wide")
    fates = series(found, "fates")
    assert sum(count for [count] in fates.values()) == 30
    rows = series(found, "critical points")
    assert [len(column) for column in rows.values()] == [fates["arrived"][0]] * len(rows)
    assert max(rows["gradient norm"]) < 1e-10
    sorts = [f for f in found if isinstance(f, Columns) and f.name.startswith("found: ")]
    assert sum(sum(sort.columns["points"]) for sort in sorts) == fates["arrived"][0]


def test_points_of_every_rank_are_found():
    assert set(series(findings("torch", "wide"), "critical points")["rank of W_L:1"]) == {0, 1, 2}


def test_a_teacher_of_low_rank_and_its_noise_are_what_is_asked_for():
    rng = np.random.default_rng(0)
    plain = draw_batch(Parameters(widths=[4, 2, 3], teacher_rank=1), rng)
    assert np.linalg.matrix_rank(plain.y) == 1
    assert plain.exact
    assert critical.least_misfit(plain.x, plain.y) < 1e-12
    noisy = draw_batch(Parameters(widths=[4, 2, 3], noise=0.1), rng)
    assert not noisy.exact
    assert critical.least_misfit(noisy.x, noisy.y) > 1e-4


def test_the_same_streams_make_the_same_findings():
    asked = parameters("narrow")
    again = list(CriticalPoints(asked).run(Lent(TorchBackend())))
    assert series(again, "critical points") == series(
        findings("torch", "narrow"), "critical points"
    )


def test_float32_is_told_to_use_float64():
    with pytest.raises(CaseSkippedError, match="dtype: float64"):
        list(CriticalPoints(parameters("wide")).run(Lent(TorchBackend(dtype="float32"))))


def test_scales_the_wrong_way_round_are_refused():
    with pytest.raises(ValueError, match="swap them"):
        Parameters(widths=[2, 2, 2], scale=(2.0, 0.1))


# What becomes of a start


def fates(asked, iterations, starts=None, limit=50.0):
    batch = draw_batch(asked, np.random.default_rng(1))
    network = NetworkSpec(tuple(asked.widths))
    judged = Judged(TorchBackend(), network, batch)
    if starts is None:
        starts = draw_starts(asked, network, np.random.default_rng(2))
    search = Search(judged, starts, 1e-10, 1e-6, limit)
    for _ in search.run(iterations):
        pass
    return search


def test_a_search_that_may_take_no_step_has_not_finished():
    search = fates(parameters("wide"), iterations=0)
    assert set(search.fates) == {Fate.UNFINISHED}


def test_under_noise_what_does_not_end_at_a_zero_last_layer_leaves_for_infinity():
    asked = Parameters(widths=[1, 1, 1], noise=0.5, samples=8)
    start = np.array([[0.3, 3.0]])
    search = fates(asked, 200, start, limit=20.0)
    assert search.fates[0] == Fate.LEFT
    assert np.linalg.norm(search.gradients[0]) < 1e-4  # and so its gradient alone tells nothing


def test_the_origin_has_arrived_before_the_first_step():
    search = fates(parameters("wide"), 10, np.zeros((1, 21)))
    assert search.fates[0] == Fate.ARRIVED


# A saddle that is not strict


def planted():
    weights, x, y = non_strict_saddle()
    judged = Judged(TorchBackend(), NetworkSpec((2, 1, 2)), Batch(x, y, exact=False))
    point = np.concatenate([weight.ravel() for weight in weights])[None]
    search = Search(judged, point, 1e-10, 1e-6, 50.0)
    for _ in search.run(5):
        pass
    return judged, arrivals(search)


def test_a_genuine_non_strict_saddle_is_found_kept_and_fails_the_check(tmp_path):
    judged, points = planted()
    assert [point.verdict for point in points] == [Verdict.CANDIDATE]
    found = list(judge(Lent(TorchBackend()), judged, points, str(tmp_path)))
    Findings().take(iter(found))
    [failed] = [f for f in found if isinstance(f, Check) and not f.passed]
    assert failed.name == "candidates for non-strict saddles"
    assert "a saddle, and not a strict one" in failed.explanation

    [file] = tmp_path.iterdir()
    assert str(file) in failed.where
    with np.load(file) as kept:
        weights = [kept["W_1"], kept["W_2"]]
        energy = equilibrated_energy(weights, kept["x"], kept["y"])
        assert energy == pytest.approx(float(kept["energy"]))
        assert np.linalg.eigvalsh(kept["hessian"])[0] > -1e-12
    parameters = series(found, "candidate 1: parameters")["value"]
    np.testing.assert_array_equal(parameters, np.concatenate([w.ravel() for w in weights]))


def test_a_folder_that_cannot_be_written_loses_no_candidate(tmp_path):
    (tmp_path / "file").write_text("")
    judged, points = planted()
    found = list(judge(Lent(TorchBackend()), judged, points, str(tmp_path / "file")))
    taken = Findings()
    taken.take(iter(found))
    [failed] = [check for check in taken.checks if not check.passed]
    [(path, reason)] = taken.omitted.items()
    assert path in failed.where
    assert reason.startswith("cannot be written: ")
    assert series(found, "candidate 1: batch")["y_2"]


def test_the_fall_along_the_kernel_is_of_third_order():
    _, [point] = planted()
    examination = examine(point, np.random.default_rng(0))
    second, third, _ = examination.coefficients.T
    assert np.abs(second).max() < 1e-12
    assert np.abs(third).max() > 1e-3
    assert examination.falls.max() > 1e-6


def test_a_minimum_that_is_taken_for_a_candidate_shows_no_fall():
    asked = Parameters(widths=[2, 2, 2], starts=20)
    search = fates(asked, 200)
    points = arrivals(search)
    minimum = next(point for point in points if point.verdict is Verdict.MINIMUM)
    examination = examine(minimum, np.random.default_rng(0))
    assert "no fall was found" in examination.conclusion


def test_refinement_brings_a_point_that_was_moved_back():
    asked = Parameters(widths=[2, 2, 2], starts=40)
    search = fates(asked, 200)
    judged = search.judged
    search.points += 1e-7
    search.hessians = judged.hessians(search.points)
    point = next(p for p in arrivals(search) if p.verdict is not Verdict.MINIMUM)
    again = np.concatenate([weight.ravel() for weight in refined(point)])[None]
    assert point.gradient_norm > 1e-9
    assert np.linalg.norm(judged.landscape(again)[2]) < 1e-3 * point.gradient_norm


# Every check bites


@pytest.mark.slow
@pytest.mark.parametrize("backend", FAULTS)
def test_a_faulty_backend_fails(backend):
    assert any(not check.passed for check in checks_of(backend))


@pytest.mark.slow
def test_every_check_is_failed_by_some_fault():
    made = {check.name for check in checks_of("torch")}
    assert {f"Lemma {lemma}: predicted curvature" for lemma in "BCD"} < made
    failed = {check.name for name in FAULTS for check in checks_of(name) if not check.passed}
    assert made - failed == set()


def test_where_the_loss_is_taken_for_the_energy_its_non_strict_saddles_are_candidates():
    failed = {check.name for check in checks_of("LossThroughout") if not check.passed}
    assert "candidates for non-strict saddles" in failed
