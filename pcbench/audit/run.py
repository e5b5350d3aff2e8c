"""The audit of suites: the correct backend first, and then every fault."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from pcbench.audit.catalogue import Fault
from pcbench.audit.model import Audit, AuditedCase, FaultResult
from pcbench.audit.observer import AuditObserver
from pcbench.audit.trial import Tried, try_fault
from pcbench.audit.witness import Witness
from pcbench.contract import Backend, BackendUnavailableError
from pcbench.contract.parts import Part
from pcbench.data import Places
from pcbench.errors import UsageError
from pcbench.runner import Observer
from pcbench.runner.environment import Backends, describe_environment
from pcbench.runner.run import insistent_interrupts, one_thread_for_the_judge, run_case
from pcbench.suite import PlannedCase, Suite


class IncorrectBackendError(UsageError):
    """The backend that faults are to be put into does not pass the suite as it is."""


def audit_suites(
    suites: Sequence[Suite],
    faults: Sequence[Fault],
    *,
    narrowed: bool = False,
    left_out: int = 0,
    places: Places | None = None,
    observer: AuditObserver | None = None,
) -> Audit:
    """Try every fault in the cases of suites, and say which check catches which.

    Cases run the cheapest first, and a fault's first failing check ends its trial. Ctrl-C ends the
    audit, which then holds the faults that were done with.

    Parameters
    ----------
    suites
        They are audited together, as one; what they claim is what any of them claims.
    faults
        What to try.
    narrowed
        Whether cases were left out or changed.
    left_out
        How many faults of the catalogue were not chosen.
    places
        Where data are.
    observer
        Told of progress; silent if not given.

    Raises
    ------
    IncorrectBackendError
        If the backend does not pass the suites without a fault, or every case is skipped.
    BackendUnavailableError
        If no case's backend can be had here.
    """
    places = places or Places.default()
    observer = observer or AuditObserver()
    began, results, interrupted = time.monotonic(), list[FaultResult](), False
    plan = [case for suite in suites for case in suite.cases]
    backends, cases, tried = Backends(plan), list[AuditedCase](), list[Tried]()
    covers = _covers(suites)
    try:
        with insistent_interrupts(), one_thread_for_the_judge():
            observer.correct_started(len(plan))
            for case in plan:
                observer.case_started(case)
                audited, passed = _pass(case, backends, places)
                observer.case_finished(case)
                cases.append(audited)
                tried += [passed] if passed else []
            if not tried:
                raise IncorrectBackendError(_nothing_to_audit(cases))
            # Ends of a scale of powers of 4: so coarse that the order rarely differs between runs.
            tried.sort(key=lambda each: math.ceil(math.log(max(each.duration_s, 0.01), 4)))
            observer.faults_started(len(faults))
            for fault in faults:
                observer.fault_started(fault)
                result = try_fault(
                    fault,
                    tried,
                    places,
                    claimed=lambda fault, shows: shows if covers is None else fault.part in covers,
                    started=observer.case_started,
                )
                results.append(result)
                observer.fault_finished(result)
    except KeyboardInterrupt:
        interrupted = True
    order = {each.case.id: place for place, each in enumerate(tried)}
    return Audit(
        suite=" + ".join(suite.name for suite in suites),
        size=" + ".join(dict.fromkeys(suite.size for suite in suites)),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        interrupted=interrupted,
        duration_s=time.monotonic() - began,
        environment=describe_environment(backends.descriptions()),
        covers=covers,
        narrowed=narrowed or any(case.status == "skipped" for case in cases),
        untried=left_out + len(faults) - len(results),
        cases=sorted(cases, key=lambda case: order.get(case.id, len(order))),
        faults=results,
    )


def _covers(suites: Sequence[Suite]) -> list[Part] | None:
    """Return what any of the suites claims; ``None`` if one of them does not say."""
    claims = [suite.covers for suite in suites]
    if any(claim is None for claim in claims):
        return None
    return [part for part in Part if any(part in claim for claim in claims if claim)]


def _pass(
    case: PlannedCase, backends: Backends, places: Places
) -> tuple[AuditedCase, Tried | None]:
    """Run a case with the correct backend, which has to pass."""
    try:
        backend: Backend[Any] = backends.of(case)
    except BackendUnavailableError as error:
        return _skipped(case, str(error)), None
    witness = Witness(backend)
    result = run_case(case, lambda: witness, places, Observer(), verdict_only=True)
    if result.status == "skipped":
        return _skipped(case, result.message, result.duration_s), None
    if result.status not in ("passed", "undecided"):  # what was decided may still catch a fault
        raise IncorrectBackendError(
            f"the backend {case.backend!r} has {result.status} the case {case.id} as it is, and no "
            f"fault can be told from that: {result.message} An audit needs a backend that passes; "
            "see 'pcbench run', or choose one with --backend, or other cases with -k."
        )
    occasions = frozenset(witness.testimony.occasions)
    audited = AuditedCase(
        id=case.id,
        kind=case.kind,
        status=result.status,
        message=result.message,
        duration_s=result.duration_s,
    )
    return audited, Tried(case, backend, occasions, result.duration_s)


def _skipped(case: PlannedCase, message: str, duration_s: float = 0.0) -> AuditedCase:
    return AuditedCase(
        id=case.id, kind=case.kind, status="skipped", message=message, duration_s=duration_s
    )


def _nothing_to_audit(cases: Sequence[AuditedCase]) -> str:
    reasons = dict.fromkeys(case.message for case in cases)
    return (
        f"every case was skipped, so that there is nothing to audit: {'; '.join(reasons)}. "
        "Choose another backend with --backend, or other cases with -k."
    )
