"""Leaving the origin: honest learners pass, and every check is failed by some faulty one."""

import re
from dataclasses import replace

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from pcbench.backends.torch import TorchBackend
from pcbench.cases.origin_escape.case import OriginEscape, _told
from pcbench.cases.origin_escape.parameters import Parameters
from pcbench.cases.origin_escape.run import _last_gain
from pcbench.runner import run_suites
from pcbench.suite import PlannedCase, Suite
from tests.helpers.plugged_in import plugged_in

pytestmark = pytest.mark.usefixtures("timed_twice", "without_shapes")

TOY = {"name": "toy_gaussian", "dimension": 2, "samples": 64}
NEAR = {"name": "near_origin", "std": 0.05}
LINEAR = {
    "data": TOY,
    "network": {"hidden_layers": 2, "width": 4, "initialisation": NEAR},
    "seeds": 6,
    "training": {"learning_rate": 0.2, "batch": 16, "steps": 400},
    "escape": {"fraction": 0.5, "window": 5},
    "judged": 2,
}
TANH = {
    **LINEAR,
    "network": {**LINEAR["network"], "activation": "tanh"},
    "inference": {"engine": "gauss_newton"},
}
CHAIN = {
    **LINEAR,
    "data": {**TOY, "dimension": 1},
    "test": 8,
    "network": {"hidden_layers": 2, "width": 1, "initialisation": NEAR},
    "training": {
        "learning_rate": 0.4,
        "batch": 16,
        "steps": 80,
        "stop": {"escaped": False, "test_loss": 1e-3},
    },
    "escape": {"fraction": 0.5, "window": 1},
    "trajectories": True,
}
CLASSES = {
    **LINEAR,
    "data": {"name": "mnist1d", "samples": 64},
    "test": 16,
    "training": {
        "learning_rate": 0.01,
        "batch": None,
        "epochs": 4,
        "look": 2,
        "stop": {"escaped": False},
        "optimiser": {"optimiser": "adam"},
    },
    "escape": {"fraction": 0.001, "window": 1},
}


def run(parameters, backend="torch", dtype="float64", seed=0):
    """Run one case, and return its result."""
    asked = TypeAdapter(Parameters).validate_python(parameters)
    case = PlannedCase("case", "origin_escape", OriginEscape, asked, seed, dtype, backend, "cpu")
    [result] = run_suites([Suite("suite", "", (case,), None)]).cases
    assert result.traceback == ""
    return result


class Swapped(TorchBackend):
    """Learners take each other's, or other, settings."""

    name = "swapped"

    def trainer(self, model, x, y, settings, *rest):
        return super().trainer(model, x, y, self.change(settings), *rest)


class PcIsBp(Swapped):
    """PC learns by the loss."""

    def change(self, settings):
        return replace(settings, objective="loss")


class BpIsPc(Swapped):
    """BP learns by the energy."""

    def change(self, settings):
        return replace(settings, objective="energy")


class Doubled(Swapped):
    """Steps are twice as long as asked for."""

    def change(self, settings):
        return replace(settings, learning_rate=2 * settings.learning_rate)


class Summed(Swapped):
    """PC's gradients are summed over the batch."""

    def change(self, settings):
        return replace(settings, scale=16.0 if settings.objective == "energy" else 1.0)


class Tiring(TorchBackend):
    """BP takes a tenth of its steps once a run has been going on for a while."""

    name = "tiring"

    def trainer(self, model, x, y, settings, *rest):
        made = super().trainer(model, x, y, settings, *rest)
        if settings.objective == "loss":
            run, taken = made.run, [0]

            def tired(steps, batches=None, every=1):
                if taken[0] >= 20:
                    made._optimiser._scale = 0.1
                taken[0] += steps
                return run(steps, batches, every)

            made.run = tired
        return made


class Flattering(TorchBackend):
    """PC's losses are recorded lower than they are, after a while."""

    name = "flattering"

    def trainer(self, model, x, y, settings, *rest):
        made = super().trainer(model, x, y, settings, *rest)
        run, taken = made.run, [0]

        def lower(steps, batches=None, every=1):
            record = run(steps, batches, every)
            taken[0] += steps
            late = taken[0] > 20 and settings.objective == "energy"
            return replace(record, losses=record.losses * (0.9 if late else 1.0))

        made.run = lower
        return made


class Overshooting(Swapped):
    """Steps are so long that parameters leave the range of numbers, where they should not."""

    def change(self, settings):
        return replace(settings, learning_rate=1e308)


FAULTS = {
    each.__name__: each
    for each in (PcIsBp, BpIsPc, Doubled, Summed, Tiring, Flattering, Overshooting)
}


@pytest.fixture(autouse=True)
def _plugged_in():
    with plugged_in(FAULTS):
        yield


def failed(result):
    return {check.name for check in result.checks if not check.passed}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("asked", [LINEAR, TANH, CHAIN], ids=["linear", "tanh", "chain"])
def test_an_honest_backend_passes(asked, dtype):
    result = run(asked, dtype=dtype)
    assert (result.status, result.message) == ("passed", "")
    [claim] = [check for check in result.checks if check.name.startswith("steps to escape")]
    assert claim.observed < 1
    assert [(claim.verdict, claim.required) for claim in result.claims] == 2 * [("borne out", True)]


def test_a_claim_that_fails_where_nothing_was_inferred_says_so():
    failing = run(LINEAR, backend="PcIsBp").claims[0]
    borne_out = run(LINEAR).claims[0]
    assert failing.message
    told = _told(failing, 1.0).message
    assert told.startswith(failing.message)
    assert "PC's inference ended as far from equilibrium as it began (residual 1)" in told
    assert _told(failing, 0.9) == failing
    assert _told(borne_out, 1.0) == borne_out


def test_in_a_linear_network_the_first_steps_are_foretold():
    names = {check.name for check in run(LINEAR).checks}
    assert {
        "gradient norms of the first steps (BP)",
        "gradient norms of the first steps (PC)",
        "gradient norm at the start (BP)",
        "gradient norm at the start (PC)",
        "growth of W_L along the top eigenvector of Σ_yy (PC)",
        "parameters after a step (BP, matched scaling)",
        "parameters after a step (PC, matched scaling)",
        "steps to escape, PC/BP (matched scaling)",
    } <= names


@pytest.mark.parametrize(
    ("backend", "name"),
    [
        ("PcIsBp", "gradient norm at the start (PC)"),
        ("PcIsBp", "gradient norms of the first steps (PC)"),
        ("PcIsBp", "growth of W_L along the top eigenvector of Σ_yy (PC)"),
        ("PcIsBp", "parameters after a step (PC, matched scaling)"),
        ("BpIsPc", "gradient norm at the start (BP)"),
        ("BpIsPc", "gradient norms of the first steps (BP)"),
        ("Doubled", "growth of W_L along the top eigenvector of Σ_yy (PC)"),
        ("Doubled", "gradient norms of the first steps (PC)"),
        ("Doubled", "parameters after a step (BP, matched scaling)"),
        ("Summed", "parameters after a step (PC, matched scaling)"),
        ("Overshooting", "malformed answers of training (BP, matched scaling)"),
        ("Tiring", "parameters after a step of the run (BP, matched scaling, step 21)"),
        ("Flattering", "loss that the run recorded (PC, matched scaling, step 21)"),
    ],
)
def test_every_check_is_failed_by_a_faulty_learner(backend, name):
    # Nearer to the origin, where the law of growth leaves little room.
    near = {**LINEAR["network"], "initialisation": {"name": "near_origin", "std": 0.01}}
    training = {**LINEAR["training"], "look": 20}
    result = run({**LINEAR, "network": near, "training": training}, backend=backend)
    assert result.status == "failed"
    assert name in failed(result)


def test_the_published_scaling_is_that_of_the_notebooks():
    training = {**LINEAR["training"], "learning_rate": 0.05}
    asked = {**LINEAR, "scaling": "both", "training": training}
    result = run(asked)
    for scaling in ("matched", "published"):
        assert f"training of PC, {scaling} scaling" in result.series
        assert any(check.name.endswith(f"({scaling} scaling)") for check in result.checks)
    # At the same step size PC goes 16 times as far, and BP's two outputs leave it as it is.
    matched, published = (
        result.series[f"steps to escape, {scaling} scaling"]["PC"][0]
        for scaling in ("matched", "published")
    )
    assert published < matched / 2


def test_the_same_seed_gives_the_same_numbers_and_another_does_not():
    first, again, other = run(CHAIN), run(CHAIN), run(CHAIN, seed=1)
    assert first.series == again.series
    assert [check.observed for check in first.checks] == [check.observed for check in again.checks]
    assert first.series != other.series


def test_a_chain_keeps_its_paths_and_ends_at_the_test_loss():
    result = run(CHAIN)
    path = result.series["path of PC, matched scaling, seed 1"]
    tests = result.series["tests of PC, matched scaling"]
    assert set(path) == {"step", *(f"parameter {k}" for k in (1, 2, 3))}
    assert path["step"][:3] == [0, 1, 2]
    end = [value for value in tests["loss, seed 1"] if value is not None][-1]
    before = [value for value in tests["loss, seed 1"] if value is not None][:-1]
    assert end < 1e-3 <= min(before)
    weights = [path[f"parameter {k}"][len(before) + 1] for k in (1, 2, 3)]
    assert np.prod(weights) == pytest.approx(-1, abs=0.1)


def test_classes_are_tested_for_accuracy_at_every_look():
    result = run(CLASSES)
    tests = result.series["tests of BP, matched scaling"]
    assert tests["step"] == [2, 3, 4]  # the second look is a single step, which is judged
    assert all(0 <= value <= 1 for value in tests["accuracy, seed 1"] if value is not None)
    # With another optimiser than SGD nothing is foretold, and steps are judged all the same.
    names = {check.name for check in result.checks}
    assert "parameters after a step (PC, matched scaling)" in names
    assert "gradient norms of the first steps (PC)" not in names


def test_what_escaping_costs_is_told_in_steps_and_seconds():
    result = run(LINEAR)
    [pc] = [timing for timing in result.timings if timing.name.startswith("step of PC")]
    assert pc.details["escaped"] == pc.details["seeds"] == 6
    steps = pc.details["median steps to escape"]
    assert pc.details["seconds to escape"] == pytest.approx(steps * pc.median_s)


def test_bp_that_diverges_is_no_evidence():
    training = {"learning_rate": 1.05, "batch": None, "steps": 200}
    result = run({**LINEAR, "training": training, "judged": 0})
    columns = result.series["steps to escape, matched scaling"]
    lost = [time == 0 for time in columns["BP"]]
    assert sum(lost) >= 4
    assert not any(gone for gone, end in zip(columns["BP escaped"], lost, strict=True) if end)
    [bp] = [timing for timing in result.timings if timing.name.startswith("step of BP")]
    assert bp.details["diverged"] >= 4
    assert result.status != "passed"


# Rules


def test_a_plateau_is_no_end_before_the_saddle_is_left():
    asked = {**LINEAR, "training": {**LINEAR["training"], "steps": 300}}
    asked["training"]["stop"] = {"escaped": False, "epoch_gain": 1e-3}
    result = run(asked)
    losses = result.series["training of PC, matched scaling"]["loss, seed 1"]
    left = [value for value in losses if value is not None]
    assert len(left) < len(losses) or len(losses) < 300
    assert left[-1] < 0.5 * left[0]


def test_the_gain_of_an_epoch_is_that_of_the_last_two_whole_ones():
    losses = np.array([[9.0, 9.0], [7.0, 9.0], [4.0, 9.0], [2.0, 8.0], [0.0, 0.0]])
    assert _last_gain(losses, 2).tolist() == [5.0, 0.5]
    assert np.isinf(_last_gain(losses[:3], 2)).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seeds": 4}, "greater than or equal to 5"),
        ({"training": {"learning_rate": 0.1}}, "give either training.steps or training.epochs"),
        (
            {"training": {"learning_rate": 0.1, "steps": 9, "batch": 65}},
            "training.batch is 65 but data.samples only 64",
        ),
        (
            {"training": {"learning_rate": 0.1, "steps": 9, "stop": {"test_loss": 0.1}}},
            "training.stop.test_loss needs samples to test on; give test",
        ),
        ({"escape": {"fraction": 1.0}}, "less than 1"),
        ({"training": {"learning_rate": 0.1, "steps": 3}}, "raise training.steps or lower escape"),
        ({"network": {"widths": []}}, "a network without hidden layers has no saddle"),
        (
            {"network": {"widths": [2], "initialisation": "origin"}},
            "initialisation origin is a saddle itself, and no learner leaves it",
        ),
        ({"network": {"widths": [2], "activation": "tanh"}}, "write another engine"),
        ({"data": {"name": "mnist1d", "split": "test"}, "test": 8}, "write split: train"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_remedy(change, message):
    with pytest.raises(ValidationError, match=re.escape(message)):
        TypeAdapter(Parameters).validate_python({**LINEAR, **change})


def test_paths_of_many_parameters_are_skipped_with_the_remedy():
    result = run({**LINEAR, "trajectories": True})
    assert result.status == "skipped"
    assert "leave trajectories out" in result.message


# What is not judged, and what is undecided


@pytest.mark.parametrize("backend", ["PcIsBp", "Overshooting", "Doubled"])
def test_claims_of_broken_training_are_not_judged_and_the_broken_step_is_what_fails(backend):
    result = run(LINEAR, backend=backend)
    assert result.status == "failed"
    assert {claim.verdict for claim in result.claims} == {"not judged"}
    assert all(each.message.startswith("Training itself is not") for each in result.claims)
    assert not any("steps to escape" in name for name in failed(result))


@pytest.mark.parametrize("required", [True, False])
def test_where_there_is_no_saddle_to_leave_no_claim_is_judged(required):
    network = {**LINEAR["network"], "initialisation": "xavier_normal"}
    result = run({**LINEAR, "network": network, "sooner": required})
    assert {claim.verdict for claim in result.claims} == {"not judged"}
    assert result.claims[0].message.startswith("There is no saddle to leave: a layer of the ")
    assert "write initialisation: near_origin" in result.claims[0].message
    assert result.status == ("skipped" if required else "passed")


@pytest.mark.parametrize("asked", [LINEAR, TANH, CHAIN], ids=["linear", "tanh", "chain"])
@pytest.mark.parametrize(("rate", "step"), [(1e6, 2), (1e300, 1)])
def test_a_correct_backend_that_diverges_is_undecided_with_step_and_rate(asked, rate, step):
    training = {**asked["training"], "learning_rate": rate, "steps": 40}
    result = run({**asked, "training": training}, dtype="float32")
    assert result.status == "undecided", result.message
    assert f"Training diverged at step {step} at learning rate {rate:g}: " in result.message
    assert {claim.verdict for claim in result.claims} == {"not judged"}
