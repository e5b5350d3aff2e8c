"""What becomes of a case, whatever it does; and that it is nobody else's business."""

import pytest
from pydantic import ConfigDict

from pcbench.case import Case, CaseParameters, CaseSkippedError, Columns, Measurement
from pcbench.checks import Tolerance, approx
from pcbench.contract import BackendUnavailableError, Capability
from pcbench.data.mnist import Mnist
from pcbench.theory.rounding.undecidable import UndecidableError
from pcbench.tolerances import ToleranceFactor
from tests.runner.scripted_cases import FAILED, OPEN, PASSED, UNDECIDED, planned, yielding


def test_a_case_whose_checks_hold_passes_and_keeps_what_it_found(run_one):
    result = run_one(
        planned(
            yielding(
                PASSED,
                Measurement("inference", [0.3, 0.1, 0.2], 4096),
                Columns("training", {"step": [0.0, 1.0], "loss": [1.0, float("nan")]}),
            )
        )
    )
    assert (result.status, result.message, result.traceback) == ("passed", "", "")
    assert result.checks == [PASSED]
    [timing] = result.timings
    assert (timing.samples_s, timing.median_s, timing.peak_memory_bytes) == (
        [0.3, 0.1, 0.2],
        0.2,
        4096,
    )
    assert result.series == {"training": {"step": [0.0, 1.0], "loss": [1.0, None]}}


def test_claims_are_kept_and_leave_the_status_to_checks(run_one):
    result = run_one(planned(yielding(PASSED, OPEN)))
    assert (result.status, result.claims) == ("passed", [OPEN])


def test_a_case_that_ends_unresolved_is_skipped_with_its_claims_unless_a_check_failed(run_one):
    skip = CaseSkippedError("unresolved: PC is sooner")
    skipped = run_one(planned(yielding(PASSED, OPEN, then=skip)))
    assert (skipped.status, skipped.message) == ("skipped", "unresolved: PC is sooner")
    assert (skipped.checks, skipped.claims) == ([PASSED], [OPEN])
    failed = run_one(planned(yielding(FAILED, OPEN, then=skip)))
    assert (failed.status, failed.message) == ("failed", FAILED.explanation)


def test_a_case_of_which_a_check_fails_fails_and_says_which(run_one):
    result = run_one(planned(yielding(FAILED, PASSED)))
    assert (result.status, result.message) == ("failed", FAILED.explanation)


def test_a_case_is_undecided_if_no_check_failed_and_one_cannot_tell(run_one, run):
    result = run_one(planned(yielding(PASSED, UNDECIDED)))
    assert (result.status, result.message) == ("undecided", "No bound is known.")
    assert run_one(planned(yielding(UNDECIDED, FAILED))).status == "failed"
    assert run_one(planned(yielding(UNDECIDED, then=CaseSkippedError()))).status == "undecided"
    assert run_one(planned(yielding(UNDECIDED, then=ValueError()))).status == "errored"
    assert run(planned(yielding(UNDECIDED), "a"), planned(yielding(PASSED), "b")).exit_code == 0


def test_a_case_that_makes_no_check_fails(run_one):
    result = run_one(planned(yielding(Measurement("inference", [0.1]))))
    assert (result.status, result.message) == (
        "failed",
        "The case made no check, and so proves nothing.",
    )


@pytest.mark.parametrize("error", [ZeroDivisionError("by zero"), SystemExit(0)])
def test_whatever_a_case_raises_it_alone_has_errored(run, error):
    broken = planned(yielding(PASSED, then=error), "broken")
    report = run(broken, planned(yielding(PASSED), "sound"))
    first, second = report.cases
    assert (first.status, second.status) == ("errored", "passed")
    assert first.message == f"{type(error).__name__}: {error}"
    assert "in run\n    raise then\n" in first.traceback
    assert first.checks == [PASSED]
    assert report.exit_code == 3


def test_out_of_memory_is_known_behind_an_error_of_the_cases_own(run_one):
    broke = RuntimeError("at network 3")
    broke.__cause__ = MemoryError("8 EiB")
    message = run_one(planned(yielding(PASSED, then=broke))).message
    assert message.startswith("out of memory on 'cpu'; ")
    assert message.endswith("RuntimeError: at network 3")


def test_out_of_memory_is_told_with_the_remedy_and_the_rest_runs_on(run):
    hungry = planned(yielding(PASSED, then=MemoryError("8 EiB")), "hungry")
    first, second = run(hungry, planned(yielding(PASSED), "modest")).cases
    assert (first.status, second.status) == ("errored", "passed")
    assert first.message == (
        "out of memory on 'cpu'; give the case fewer samples, replicas or units, or run it on "
        "another device (--device). MemoryError: 8 EiB"
    )


class Unmakeable(Case[CaseParameters]):
    def __init__(self, parameters):
        raise ValueError("cannot be made")

    def run(self, context):
        yield PASSED


class Unparsable(CaseParameters):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    anything: object


@pytest.mark.parametrize(
    "options",
    [{"kind": Unmakeable}, {"parameters": Unparsable(anything=object())}],
    ids=["its class", "its parameters"],
)
def test_a_case_that_cannot_even_begin_has_errored_too(run, options):
    report = run(planned(yielding(PASSED), **options), planned(yielding(PASSED), "sound"))
    assert [case.status for case in report.cases] == ["errored", "passed"]


@pytest.mark.parametrize(
    "reason",
    [CaseSkippedError("no flat inputs"), BackendUnavailableError("linear networks only")],
)
def test_a_question_that_cannot_be_asked_here_is_skipped_with_the_reason(run_one, reason):
    result = run_one(planned(yielding(PASSED, then=reason)))
    assert (result.status, result.message, result.traceback) == ("skipped", str(reason), "")


def loads_mnist(context):
    context.load(Mnist.Parameters(name="mnist", samples=2))
    yield PASSED


def test_missing_data_skip_a_case_with_the_remedy(run_one):
    result = run_one(planned(loads_mnist))
    assert result.status == "skipped"
    assert "train-images-idx3-ubyte" in result.message
    assert "set PCBENCH_DATA" in result.message


def test_damaged_data_are_an_error_without_a_traceback(run_one, places):
    folder = places.folders[0] / "mnist"
    folder.mkdir()
    for name in ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"):
        (folder / name).write_bytes(b"")
    result = run_one(planned(loads_mnist))
    assert (result.status, result.traceback) == ("errored", "")
    assert result.message == f"{folder / 'train-images-idx3-ubyte'} is empty"


class Demanding(Case[CaseParameters]):
    """Needs what the backend has, and something that it has not."""

    def needs(self):
        return frozenset({Capability.HESSIAN, Capability.REPLICAS})

    def run(self, context):
        raise AssertionError("a case is not run on a backend that lacks what it needs")


def test_a_missing_capability_skips_a_case_with_its_name(run_one):
    result = run_one(planned(None, kind=Demanding))
    assert result.status == "skipped"
    assert result.message == "the backend 'remembering' does not offer replicas"


def test_giving_up_hides_no_failure(run_one):
    result = run_one(planned(yielding(FAILED, then=CaseSkippedError("float32 cannot tell"))))
    assert (result.status, result.message) == ("failed", FAILED.explanation)


def test_an_error_outweighs_a_failure(run_one):
    result = run_one(planned(yielding(FAILED, then=ValueError("and then it broke"))))
    assert (result.status, result.message) == ("errored", "ValueError: and then it broke")
    assert result.checks == [FAILED]


def test_an_interrupt_ends_the_run_and_keeps_what_is_finished(run):
    report = run(
        planned(yielding(PASSED), "first"),
        planned(yielding(PASSED, then=KeyboardInterrupt()), "second"),
        planned(yielding(PASSED), "third"),
    )
    assert report.interrupted
    assert [case.id for case in report.cases] == ["first"]
    assert report.exit_code == 130


def test_the_summary_counts_every_fate(run):
    fates = {
        "passed": yielding(PASSED),
        "failed": yielding(FAILED),
        "errored": yielding(then=ValueError()),
        "skipped": yielding(then=CaseSkippedError()),
        "undecided": yielding(PASSED, UNDECIDED),
    }
    report = run(*(planned(fate, name) for name, fate in fates.items()))
    assert [case.status for case in report.cases] == list(fates)
    counts = report.summary.model_dump(exclude={"timeout"})
    assert counts == dict.fromkeys(fates, 1)


def test_a_case_that_is_expected_to_fail_passes_if_it_does_and_fails_if_it_does_not(run_one):
    expected = {"expected_failure": "the energy is a mean"}
    failed = run_one(planned(yielding(FAILED), **expected))
    assert (failed.status, failed.message) == ("passed", "")
    assert (failed.checks, failed.expected_failure) == ([FAILED], "the energy is a mean")
    passed = run_one(planned(yielding(PASSED), **expected))
    assert passed.status == "failed"
    assert passed.message.endswith("expects a failure: the energy is a mean")
    assert run_one(planned(yielding(then=ValueError()), **expected)).status == "errored"
    assert run_one(planned(yielding(), **expected)).status == "failed"


def strict_cases(*, goes_on):
    """Yield a check that fails by a hundredth, and go on only where it passes."""

    def run(context):
        first = approx("exact: energy", 1.0, 1.01, Tolerance(0.005, "rounding"), source="s")
        yield first
        if first.passed or not goes_on:
            yield approx("another", 1.0, 1.0, Tolerance(0.005, "rounding"), source="s")

    return run


@pytest.mark.parametrize("name", ["energy", "exact: energy"])
def test_a_tolerance_is_multiplied_while_the_case_runs_and_the_report_says_why(run_one, name):
    factor = ToleranceFactor(factor=3, reason="products are made in TF32")
    found = run_one(planned(strict_cases(goes_on=True), tolerance_factor={name: factor}))
    assert (found.status, found.tolerance_factor) == ("passed", {name: factor})
    widened, other = found.checks
    assert widened.tolerance == pytest.approx(0.015)
    assert widened.derivation == "rounding, times 3: products are made in TF32"
    assert other.derivation == "rounding"


def test_a_factor_holds_for_its_own_case_alone_and_may_be_too_small(run_one):
    factor = {"energy": ToleranceFactor(factor=1.5, reason="TF32")}
    found = run_one(planned(strict_cases(goes_on=False), tolerance_factor=factor))
    assert found.status == "failed"
    assert "misses what is allowed by 0.0025" in found.message
    assert run_one(planned(strict_cases(goes_on=True))).checks[0].derivation == "rounding"


def test_a_factor_of_no_check_is_an_error_unless_the_case_fails_anyway(run_one):
    factor = {"anothr": ToleranceFactor(factor=2, reason="TF32")}
    found = run_one(planned(yielding(PASSED), tolerance_factor=factor))
    assert found.status == "errored"
    assert found.message.startswith("tolerance_factor names 'anothr', and the case makes no check")
    found = run_one(planned(strict_cases(goes_on=False), tolerance_factor=factor))
    assert (found.status, len(found.checks)) == ("failed", 2)


def test_a_case_that_is_undecided_stays_so_whatever_its_factors_name(run_one):
    factor = {"prediction": ToleranceFactor(factor=2, reason="TF32")}
    met = run_one(planned(yielding(UNDECIDED), tolerance_factor=factor))
    assert met.status == "undecided"
    other = {"energy": ToleranceFactor(factor=2, reason="TF32")}
    stopped = run_one(planned(yielding(then=UndecidableError("too large")), tolerance_factor=other))
    assert (stopped.status, stopped.tolerance_factor) == ("undecided", {})


def test_a_failure_that_is_expected_hides_no_factor_of_no_check(run_one):
    factor = {"enrgy": ToleranceFactor(factor=2, reason="TF32")}
    found = run_one(planned(yielding(FAILED), tolerance_factor=factor, expected_failure="a mean"))
    assert found.status == "errored"
    assert "names 'enrgy'" in found.message
