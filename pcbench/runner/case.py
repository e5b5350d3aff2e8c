"""One case: what it finds, and what becomes of it."""

from __future__ import annotations

import pdb
import traceback
from collections.abc import Callable
from contextlib import suppress
from time import perf_counter
from typing import Any

from pcbench import checks
from pcbench.case import CaseSkippedError
from pcbench.contract.backend import Backend
from pcbench.contract.model import BackendUnavailableError
from pcbench.data import DatasetError, DatasetMissingError, Places
from pcbench.networks import ImpossibleNetworkError
from pcbench.registry import did_you_mean
from pcbench.report import CaseResult, CaseStatus
from pcbench.runner.context import Findings, Observer, RunContext, storable
from pcbench.suite import PlannedCase
from pcbench.theory.rounding.undecidable import UndecidableError
from pcbench.tolerances import Multiplied, multiplied

EDGE = "what float64 can tell, and the dtype can hold (theory.md 4)"


def _reason(error: BaseException, case: PlannedCase, backend: Backend[Any] | None = None) -> str:
    """Say why a case errored."""
    try:
        reason = f"{type(error).__name__}: {error}"
    except Exception:  # foreign code is not even sure to tell what is wrong
        reason = f"{type(error).__name__}, which cannot be shown"
    # A case may have said where it broke, in an error of its own.
    behind = [each for each in (error, error.__cause__) if isinstance(each, Exception)]
    if backend and any(backend.ran_out_of_memory(each) for each in behind):
        return (
            f"out of memory on {case.device!r}; give the case fewer samples, replicas or units, or "
            f"run it on another device (--device). {reason}"
        )
    return reason


def _unused_factor(factors: Multiplied) -> str:
    name = factors.unused[0]
    hint = did_you_mean(name, factors.met)
    return f"tolerance_factor names {name!r}, and the case makes no check of that name{hint}"


def run_case(
    case: PlannedCase,
    find: Callable[[], Backend[Any]],
    places: Places,
    observer: Observer,
    *,
    verdict_only: bool = False,
    debug: bool = False,
) -> CaseResult:
    """Run one case; every exception but an interrupt becomes its status and message.

    The backend is looked up when the case begins, since it may lack the case's dtype.
    With ``verdict_only`` nothing is timed, and the case ends at the first check that fails. With
    ``debug`` an error opens the debugger where it was raised.
    """
    started = perf_counter()
    found = Findings()
    status: CaseStatus | None = None
    message = broke = ""
    backend: Backend[Any] | None = None
    digests: dict[str, str] = {}
    passed_over: list[str] = []
    factors = Multiplied({})
    try:
        case.parameters.model_dump(mode="json")
        backend = find()
        question = case.case(case.parameters)
        missing = question.needs() - backend.capabilities
        if missing:
            raise CaseSkippedError(
                f"the backend {case.backend!r} does not offer {', '.join(sorted(missing))}"
            )
        context = RunContext(case, backend, places, observer, timed=not verdict_only)
        digests, passed_over = context.digests, context.passed_over
        with multiplied(case.tolerance_factor) as factors:
            found.take(question.run(context), until_failure=verdict_only)
    except (CaseSkippedError, DatasetMissingError, BackendUnavailableError) as skip:
        status, message = "skipped", str(skip)
    except UndecidableError as error:
        found.take(iter([checks.undecided("numbers within range", f"{error}.", source=EDGE)]))
    except (DatasetError, ImpossibleNetworkError) as error:  # a bad file
        status, message = "errored", str(error)
    except (Exception, SystemExit) as error:  # it may be anybody's code; the run goes on
        status, message = "errored", _reason(error, case, backend)
        broke = traceback.format_exc()
        if debug:
            print(broke)
            pdb.post_mortem(error.__traceback__)
    failures = [check for check in found.checks if check.status == "failed"]
    undecided = [check for check in found.checks if check.status == "undecided"]
    if failures and status != "errored":  # not even a case that then gave up hides a failure
        status, message = "failed", " ".join(check.explanation for check in failures)
    elif undecided and status in (None, "skipped"):
        status, message = "undecided", " ".join(check.explanation for check in undecided)
    elif status is None and not found.checks:
        status, message = "failed", "The case made no check, and so proves nothing."
    status = status or "passed"
    in_vain = status == "passed" or (status == "failed" and case.expected_failure)
    if factors.unused and in_vain and not verdict_only:
        status, message = "errored", _unused_factor(factors)
    if case.expected_failure and not verdict_only:
        if status == "failed" and failures:
            status, message = "passed", ""
        elif status == "passed":
            reason = case.expected_failure
            status, message = "failed", f"It passes, and the suite expects a failure: {reason}"
    result = without_verdict(
        case,
        status,
        message,
        traceback=broke,
        duration_s=perf_counter() - started,
        findings=found,
    )
    used = {name: by for name, by in case.tolerance_factor.items() if name in factors.met}
    return result.model_copy(
        update={"digests": digests, "passed_over": passed_over, "tolerance_factor": used}
    )


def errored(case: PlannedCase, error: Exception) -> CaseResult:
    """Return the result of a case whose findings cannot be stored."""
    reason = f"what it found cannot be stored: {_reason(error, case)}"
    return without_verdict(case, "errored", reason, traceback=traceback.format_exc())


def plain_parameters(case: PlannedCase) -> dict[str, Any]:
    """Return a case's parameters as a report has them; none, if they cannot be written as such."""
    with suppress(Exception):
        return dict(storable(case.parameters.model_dump(mode="json")))
    return {}


def without_verdict(
    case: PlannedCase,
    status: CaseStatus,
    message: str,
    *,
    traceback: str = "",
    duration_s: float = 0.0,
    findings: Findings | None = None,
) -> CaseResult:
    """Return the result of a case that has come to an end, whichever."""
    return CaseResult(
        id=case.id,
        kind=case.kind,
        figure=case.figure,
        expected_failure=case.expected_failure,
        tolerance_factor=case.tolerance_factor,
        parameters=plain_parameters(case),
        backend=case.backend,
        device=storable(case.device),
        dtype=case.dtype,
        seed=case.seed,
        status=status,
        message=storable(message),
        traceback=storable(traceback),
        **vars(findings or Findings()),
        duration_s=duration_s,
    )
