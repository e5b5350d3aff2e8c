"""Matrix completion: the honest backend passes, and every check is failed by some faulty one."""

from functools import cache
from itertools import pairwise
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from pydantic import ValidationError

from pcbench.case import Context
from pcbench.cases.equilibrated_energy import EquilibratedEnergy
from pcbench.cases.matrix_completion.case import MatrixCompletion, Parameters
from pcbench.cases.matrix_completion.draws import Draws
from pcbench.cases.matrix_completion.escape import Claims, SaddleEscapes
from pcbench.cases.matrix_completion.parameters import Way
from pcbench.cases.matrix_completion.path import Saddle
from pcbench.data.low_rank_matrix import LowRankMatrix
from pcbench.judges.problem import Problem
from pcbench.judges.training.curves import Course
from pcbench.networks import NetworkSpec
from pcbench.registry import CASES, DATASETS
from pcbench.runner import run_suites
from pcbench.statistics import Times
from pcbench.suite import PlannedCase, Suite
from tests.cases.matrix_completion.faulty import COMPLETION_FAULTS
from tests.helpers.plugged_in import plugged_in

pytestmark = pytest.mark.usefixtures("without_shapes")

# A step at which few paths are unstable, and as many draws as make the interval of a median shorter
# than from the least to the greatest.
SMALL = {
    "data": {"name": "low_rank_matrix", "samples": 6, "columns": 6, "rank": 2},
    "network": {
        "hidden_layers": 3,
        "width": 20,
        "initialisation": {"name": "near_origin", "std": 0.05},
    },
    "training": {"learning_rate": 0.02, "steps": 1500, "look": 20},
    "escape": {"steps": 1000},
    "draws": 12,
}
RECTIFIED = {
    **SMALL,
    "network": {**SMALL["network"], "activation": "relu"},
    "inference": {"engine": "gauss_newton", "residual": 1e-2, "max_steps": 3},
    "escape": {"steps": 2000},
}
PROBLEMS = {
    "linear": SMALL,
    "whole": {**SMALL, "data": {**SMALL["data"], "observed": 1}},
    "published": {**SMALL, "scaling": "published", "masking": "both"},
    # Without a closed form for inference: what PC does is judged by where it leads.
    "inferred": {**SMALL, "inference": {"engine": "gauss_newton", "residual": 1e-3}},
    "tanh": {**SMALL, "network": {**SMALL["network"], "activation": "tanh"}},
    "relu": RECTIFIED,
    "finish": {**SMALL, "escape": {"steps": 200, "finish": 6}, "sooner": []},
    # Steps too long for the curvature, on many a path.
    "unstable": {
        **SMALL,
        "data": {**SMALL["data"], "observed": 1},
        "training": {"learning_rate": 0.05, "steps": 600, "look": 20},
        "sooner": [0],
    },
    "hasty": {**SMALL, "escape": {"steps": 1}},
    # Enough for what is wrong from the first saddle on.
    "brief": {
        **SMALL,
        "training": {"learning_rate": 0.02, "steps": 200, "look": 20},
        "escape": {"steps": 40},
        "draws": 5,
        "sooner": [],
    },
    # Paths too short to rest anywhere but where they begin.
    "short": {**SMALL, "training": {"learning_rate": 0.02, "steps": 40, "look": 20}},
}


@pytest.fixture(scope="module", autouse=True)
def _plugged_in():
    kinds, datasets = dict(CASES._added), dict(DATASETS._added)
    CASES.add("matrix_completion", MatrixCompletion)
    DATASETS.add("low_rank_matrix", LowRankMatrix)
    with plugged_in(COMPLETION_FAULTS):
        yield
    for registry, before in ((CASES, kinds), (DATASETS, datasets)):
        registry._added.clear()
        registry._added.update(before)


@cache
def completion(problem, backend="torch", dtype="float64", seed=2):
    """Run one case, once."""
    case = PlannedCase(
        id="small",
        kind="matrix_completion",
        case=MatrixCompletion,
        parameters=Parameters.model_validate(PROBLEMS[problem]),
        seed=seed,
        dtype=dtype,
        backend=backend,
        device="cpu",
    )
    suite = Suite(name="completion", description="", cases=(case,), path=Path("small.yaml"))
    [result] = run_suites([suite]).cases
    return result


def failed(result):
    return {check.name for check in result.checks if not check.passed}


# Honest backends


@pytest.mark.parametrize(
    ("problem", "dtype"),
    [
        ("linear", "float64"),
        ("whole", "float64"),
        ("finish", "float64"),
        ("unstable", "float64"),
        *(
            pytest.param(*slow, marks=pytest.mark.slow)
            for slow in [
                ("published", "float64"),
                ("inferred", "float64"),
                ("tanh", "float64"),
                ("relu", "float64"),
                ("linear", "float32"),
                ("whole", "float32"),
            ]
        ),
    ],
)
def test_the_correct_backend_passes(problem, dtype):
    result = completion(problem, dtype=dtype)
    assert (result.status, result.message) == ("passed", "")


@pytest.mark.slow
@pytest.mark.parametrize("problem", ["linear", "whole", "tanh"])
@pytest.mark.parametrize("seed", [0, 1, 3, 4, 5])
def test_it_passes_whatever_the_seed(problem, seed):
    result = completion(problem, seed=seed)
    assert (result.status, result.message) == ("passed", "")


def test_the_same_seed_gives_the_same_numbers():
    again = completion.__wrapped__("brief")
    assert again.series == completion("brief").series
    assert again.checks == completion("brief").checks


def test_too_few_saddles_of_a_rank_are_no_fault_of_the_backends():
    result = completion("short")
    assert result.status == "skipped"
    assert all(check.passed for check in result.checks)
    assert result.message.startswith("unresolved: ")
    assert "rank 1: Pairs: 0, where a verdict takes 5; raise draws" in result.message


def test_unstable_paths_are_counted_and_end_where_the_loss_rose():
    series = completion("unstable").series
    table = series["paths (unstable: smaller learning_rate)"]
    assert 0 < sum(table["unstable"]) < len(table["unstable"])
    for draw, unstable in zip(table["draw"], table["unstable"], strict=True):
        losses = series[f"path of draw {draw:.0f}"]["loss"]
        if unstable:
            assert all(after <= before for before, after in pairwise(losses))
    for draw, step in zip(series["saddles"]["draw"], series["saddles"]["step"], strict=True):
        assert step <= series[f"path of draw {draw:.0f}"]["step"][-1]


def test_where_a_path_rests_when_its_budget_ends_is_a_saddle_too():
    series = completion("linear").series
    paths = series["paths (unstable: smaller learning_rate)"]
    out = {d for d, is_out in zip(paths["draw"], paths["out of steps"], strict=True) if is_out}
    still = [
        (draw, rank)
        for draw, rank in zip(series["saddles"]["draw"], series["saddles"]["rank"], strict=True)
        if draw in out and rank == 1 and series[f"path of draw {draw:.0f}"]["rank"][-1] == 1
    ]
    assert still


# Faulty ones


@pytest.mark.parametrize(
    ("problem", "backend", "checks"),
    [
        (
            "brief",
            "SeesEverything",
            {"PC: trace of targets that are not observed", "PC: objective at a saddle"},
        ),
        ("tanh", "SeesEverything", {"PC: trace of targets that are not observed"}),
        ("brief", "SeesALittle", {"BP: trace of targets that are not observed"}),
        ("tanh", "SeesALittle", {"BP: objective at a saddle", "BP: first step from a saddle"}),
        ("brief", "FillsInZeros", {"PC: trace of targets that are not observed"}),
        (
            "brief",
            "SecretBackpropagation",
            {"PC: objective at a saddle", "PC: gradient norm at a saddle"},
        ),
        pytest.param(
            "inferred",
            "SecretBackpropagation",
            {
                "gradient of BP at saddles of rank 0, times that of PC",
                "gradient of BP at saddles of rank 1, times that of PC",
                "PC: steps to leave rank 1, times those of BP",
            },
            marks=pytest.mark.slow,
        ),
        ("brief", "LongerSteps", {"BP: first step from a saddle", "PC: first step from a saddle"}),
        pytest.param(
            "published",
            "ForgetsToScale",
            {
                "BP, published scaling: first step from a saddle",
                "PC, published scaling: first step from a saddle",
                "PC, published scaling and masking: first step from a saddle",
            },
            marks=pytest.mark.slow,
        ),
        ("brief", "LargerNorms", {"BP: gradient norm at a saddle"}),
        ("brief", "DoubledObjectives", {"BP: objective at a saddle", "PC: objective at a saddle"}),
        ("brief", "NoValleys", {"gradient norm on BP's path"}),
        ("brief", "SteepBackpropagation", {"gradient norm on BP's path"}),
        ("brief", "LossesOfLongRunsShrunk", {"loss on BP's path"}),
        ("whole", "DoubledObjectives", {"misfit at a saddle"}),
        ("whole", "ParametersOfARunBefore", {"loss on BP's path", "gradient norm on BP's path"}),
        pytest.param(
            "linear",
            "SlowPredictiveCoding",
            {"PC: steps to leave rank 1, times those of BP"},
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_fault_is_told_by_the_check_that_is_about_it(problem, backend, checks):
    assert checks <= failed(completion(problem, backend))


@pytest.mark.slow
@pytest.mark.parametrize("backend", COMPLETION_FAULTS)
def test_every_fault_fails_somewhere(backend):
    problem = "published" if backend == "ForgetsToScale" else "linear"
    assert completion(problem, backend).status == "failed"


@pytest.mark.slow
def test_every_check_is_failed_by_some_fault():
    problems = [problem for problem in PROBLEMS if problem != "short"]
    made = {check.name for problem in problems for check in completion(problem).checks}
    runs = [
        *(("linear", name) for name in COMPLETION_FAULTS),
        ("published", "ForgetsToScale"),
        ("published", "DoubledObjectives"),
        ("published", "LargerNorms"),
        ("published", "FlatPredictiveCoding"),
        ("published", "SlowPredictiveCoding"),
        ("published", "FillsInZeros"),
        ("whole", "DoubledObjectives"),
        ("inferred", "SecretBackpropagation"),
    ]
    seen = set().union(*(failed(completion(*run)) for run in runs))
    assert made <= seen


def saddle(rank, *, scale=1.0, beyond=0.0):
    """A point of a linear network on whole targets: the best map of a rank, and what is added."""
    rng = np.random.default_rng(0)
    u, v = (np.linalg.qr(rng.standard_normal((6, 6)))[0] for _ in range(2))
    y = u @ np.diag([6.0, 4.0, 2.0, 0, 0, 0]) @ v
    kept = [scale] * rank + [beyond] * (6 - rank)
    # x = y, so that the best map projects on its first right singular vectors.
    weights = [np.diag(np.sqrt(kept)) @ v, v.T @ np.diag(np.sqrt(kept))]
    return Saddle(0, rank, 0, Problem(NetworkSpec((6, 6, 6)), weights, y, y.copy()))


# What is claimed


def escapes(saddles, times, *, norm=1.0, fate="stopped"):
    """Replicas that left after these steps, or were at the saddle after 1000, and ended so."""
    count = len(saddles)
    course = Course(count, 2)
    course.gradient_norms = np.full((1, count, 2), norm)
    course.fates = [fate] * count
    steps = np.full(count, float(times))
    return SaddleEscapes(course, Times(np.minimum(steps, 1000), steps <= 1000), saddles)


def claims(draws=5, **found):
    """Draws that all have a saddle of rank 0; what became of them by way."""
    problem = saddle(1).problem
    saddles = [Saddle(draw, 0, 0, problem) for draw in range(draws)]
    ways = {
        "bp": Way("BP", "matched", "matched"),
        "bp_published": Way("BP", "published", "matched"),
        "pc": Way("PC", "matched", "matched"),
        "pc_published": Way("PC", "published", "matched"),
    }
    made = {ways[name]: escapes(saddles, **kept) for name, kept in found.items()}
    return Claims(Draws([problem] * draws, Mock(spec=Context), Mock(spec=Parameters)), made)


def steps(count, **kept):
    return {"times": count, **kept}


def test_a_claim_that_holds_in_published_scaling_alone_is_told_so():
    found = claims(
        bp=steps(100), bp_published=steps(500), pc=steps(200), pc_published=steps(20)
    ).sooner(0, required=True)
    fair, failed, published, passed = found
    assert [fair.verdict, published.verdict] == ["not borne out", "borne out"]
    assert (failed.passed, passed.passed) == (False, True)
    assert fair.message.endswith(
        "It is borne out under published scaling, matched masking, rank 0 (0.04 [0.04, 0.04]), but "
        "not under matched scaling, matched masking, rank 0: what is published is a step 18 times "
        "BP's, or targets that BP does not see."
    )


def test_saddles_that_no_draw_or_too_few_have_leave_a_claim_unresolved():
    few = claims(draws=4, bp=steps(100), pc=steps(10))
    for rank, pairs in ((0, 4), (1, 0)):
        for asked in (few.sooner, few.steeper):
            [claim] = asked(rank, required=True)
            assert (claim.verdict, claim.pairs) == ("unresolved", pairs)
            assert f"Pairs: {pairs}, where a verdict takes 5; raise" in claim.message


def test_a_run_that_diverged_is_not_one_that_had_too_few_steps():
    slow = claims(bp=steps(1000), pc=steps(np.inf, fate="out of steps"))
    lost = claims(bp=steps(2000), pc=steps(np.inf, fate="diverged"))
    open_ended = claims(bp=steps(np.inf), pc=steps(np.inf, fate="out of steps"))
    verdicts = [next(each.sooner(0, required=True)).verdict for each in (slow, lost, open_ended)]
    assert verdicts == ["not borne out", "not borne out", "unresolved"]


@pytest.mark.parametrize(
    ("pc", "bp", "verdict"),
    [
        (1.0, 0.1, "borne out"),
        (1.0, 1.0, "not borne out"),
        (1.0, 0.0, "borne out"),
        (0.0, 0.0, "not borne out"),
        (1.0, np.nan, "not borne out"),
        (np.nan, 0.1, "not borne out"),
        (np.nan, np.nan, "not borne out"),
        (1.0, np.inf, "not borne out"),
    ],
)
def test_norms_that_are_no_numbers_are_no_evidence(pc, bp, verdict):
    found = claims(bp=steps(100, norm=bp), pc=steps(10, norm=pc))
    claim, check = found.steeper(0, required=True)
    assert claim.verdict == verdict
    assert check.passed == (verdict == "borne out")


def test_every_rank_has_its_claims_and_those_required_are_checks():
    result = completion("tanh")
    assert [(claim.name[:15], claim.setting, claim.required) for claim in result.claims] == [
        ("BP has less of ", "matched masking, rank 0", True),
        ("PC leaves saddl", "matched scaling, matched masking, rank 0", True),
        ("BP has less of ", "matched masking, rank 1", False),
        ("PC leaves saddl", "matched scaling, matched masking, rank 1", False),
    ]
    names = {check.name for check in result.checks}
    assert "PC: steps to leave rank 0, times those of BP" in names
    assert "PC: steps to leave rank 1, times those of BP" not in names


def test_too_few_steps_to_tell_skip_the_case_and_say_what_to_raise():
    result = completion("hasty")
    assert result.status == "skipped"
    assert result.message.startswith(
        "unresolved: PC leaves saddles in fewer steps than BP, matched scaling, matched masking, "
        "rank 0: Of 12 pairs, 12 of PC and 12 of BP had not left"
    )
    assert "raise escape.steps, or draws" in result.message
    assert all(check.passed for check in result.checks)
    assert not [check for check in result.checks if "steps to leave rank 0" in check.name]


# What there is to read


def test_saddles_lie_on_the_paths_that_are_plotted():
    series = completion("linear").series
    table = series["saddles"]
    for draw, rank, step, loss in zip(
        table["draw"], table["rank"], table["step"], table["loss"], strict=True
    ):
        path = series[f"path of draw {draw:.0f}"]
        place = path["step"].index(step)
        assert path["loss"][place] == pytest.approx(loss, rel=1e-9)
        assert path["rank"][place] == rank


def test_paths_that_begin_at_saddles_begin_at_their_loss():
    series = completion("linear").series
    losses = dict(
        zip(
            zip(series["saddles"]["draw"], series["saddles"]["rank"], strict=True),
            series["saddles"]["loss"],
            strict=True,
        )
    )
    for (draw, rank), loss in losses.items():
        for learner in ("BP", "PC"):
            path = series[f"{learner}: from draw {draw:.0f}, rank {rank:.0f}"]
            assert path["loss on observed targets"][0] == pytest.approx(loss, rel=1e-9)


def test_how_long_either_takes_in_all_is_reported():
    series = completion("finish").series
    table = series["PC: steps to the loss at which paths stop"]
    assert len(table["draw"]) == 6
    assert 1.0 in table["PC arrived"]
    assert 1.0 in table["BP arrived"]
    for draw, arrived, steps in zip(
        table["draw"], table["BP arrived"], table["BP steps"], strict=True
    ):
        path = series[f"path of draw {draw:.0f}"]
        if arrived:
            assert 0 <= steps - path["step"][-1] < 20
        else:
            assert steps == 1500
            assert min(path["loss"]) > 0.01


def test_how_much_longer_pc_takes_in_all_is_an_interval():
    series = completion("finish").series
    table = series["PC: steps to the loss at which paths stop"]
    [low], [high] = (
        series["PC: steps to the loss at which paths stop, times those of BP"][end]
        for end in ("low", "high")
    )
    both = [
        ours / theirs
        for ours, theirs, *seen in zip(
            table["PC steps"],
            table["BP steps"],
            table["PC arrived"],
            table["BP arrived"],
            strict=True,
        )
        if all(seen)
    ]
    assert low <= min(both)
    assert high is None or high >= max(both)


# What cannot be asked


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"sooner": [3]}, "a matrix of rank 3 has no saddle of rank 3; take it out of sooner"),
        ({"draws": 4}, "greater than or equal to 5"),
        (
            {"draws": 6, "escape": {"finish": 7}},
            "there are 6 draws, and escape.finish asks for 7 of them; lower it, or raise draws",
        ),
        (
            {"network": {"hidden_layers": 3, "width": 9, "initialisation": "origin"}},
            "the path over the saddles starts near the origin; write initialisation: near_origin",
        ),
        (
            {"network": {"hidden_layers": 1, "width": 9}},
            "with fewer than 2 hidden layers the origin is a strict saddle of the loss, too",
        ),
        (
            {"network": {"hidden_layers": 3, "width": 9, "bias": True}},
            "saddles are told by rank, of fully connected networks without biases",
        ),
        (
            {
                "network": {"hidden_layers": 3, "width": 9, "activation": "tanh"},
                "inference": {"engine": "exact"},
            },
            "engine: exact solves linear networks; use engine: gauss_newton",
        ),
    ],
)
def test_what_cannot_be_asked_is_refused_in_a_sentence(asked, sentence):
    with pytest.raises(ValidationError, match=sentence):
        Parameters.model_validate(asked)


@pytest.mark.parametrize(("observed", "status"), [(0.8, "skipped"), (1, "passed")])
def test_kinds_that_need_every_target_are_skipped_where_some_are_not_observed(observed, status):
    asked = {
        "data": {"name": "low_rank_matrix", "observed": observed},
        "network": {"hidden_layers": 1, "width": 4},
        "training": {"steps": 1, "batch": 10},
    }
    case = PlannedCase(
        id="whole",
        kind="equilibrated_energy",
        case=EquilibratedEnergy,
        parameters=EquilibratedEnergy.Parameters.model_validate(asked),
        seed=0,
        dtype="float64",
        backend="torch",
        device="cpu",
    )
    suite = Suite(name="whole", description="", cases=(case,), path=Path("whole.yaml"))
    [result] = run_suites([suite]).cases
    assert result.status == status
    assert ("write data.observed: 1" in result.message) == (status == "skipped")
