"""The audit of suites: the correct backend first, and then every fault."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from pcbench.audit.catalogue import Fault
from pcbench.audit.model import EXERCISED, Audit, AuditedCase, FaultResult, Outcome
from pcbench.audit.witness import OutOfTime, Witness
from pcbench.contract import Backend
from pcbench.contract.parts import Part
from pcbench.data import Places
from pcbench.errors import UsageError
from pcbench.report import CaseResult
from pcbench.runner import Observer
from pcbench.runner.case import run_case
from pcbench.runner.environment import Backends, describe_environment
from pcbench.runner.executor import one_thread_for_the_judge
from pcbench.runner.interrupts import insistent_interrupts
from pcbench.runner.misfits import refuse_misfits
from pcbench.runner.run import heading
from pcbench.suite import PlannedCase, Suite

PATIENCE_S = 60.0
"""What a case may take with a fault, at least."""
PATIENCE = 20.0
"""The same, in units of what it takes without: faulty engines go on to the end of their budget."""


class IncorrectBackendError(UsageError):
    """The backend that faults are to be put into does not pass the suite as it is."""


class AuditObserver:
    """Told what an audit is doing. This one does nothing; subclass it to show something."""

    def cases_selected(self, expression: str, *, selected: int, of: int) -> None:
        """Of so many cases, an expression (``-k``) selects these."""

    def correct_started(self, cases: int) -> None:
        """The correct backend is about to run ``cases`` cases."""

    def case_started(self, case: PlannedCase) -> None:
        """A case begins, with the correct backend or with a faulty one."""

    def case_finished(self, case: PlannedCase) -> None:
        """The correct backend is done with a case."""

    def faults_started(self, faults: int) -> None:
        """The correct backend has passed; ``faults`` faults are about to be tried."""

    def fault_started(self, fault: Fault) -> None:
        """A fault is about to be tried."""

    def fault_finished(self, result: FaultResult) -> None:
        """It is known what became of a fault."""


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
    left_out
        How many faults of the catalogue were not chosen.
    narrowed
        Whether cases were left out or changed.
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
    began, results, interrupted = time.perf_counter(), list[FaultResult](), False
    plan = [case for suite in suites for case in suite.cases]
    refuse_misfits(suites, places)
    backends, cases, passed = Backends(plan), list[AuditedCase](), list[_Passed]()
    claims = [suite.covers for suite in suites if suite.covers is not None]
    covers = [part for part in Part if any(part in claim for claim in claims)]
    claimed = covers if len(claims) == len(suites) else None
    try:
        with insistent_interrupts(), one_thread_for_the_judge():
            observer.correct_started(len(plan))
            for case in plan:
                observer.case_started(case)
                audited, witness = _pass(case, backends, places)
                observer.case_finished(case)
                cases.append(audited)
                if witness is not None:
                    passed.append((case, witness, audited.duration_s))
            if not passed:
                reasons = dict.fromkeys(case.message for case in cases)
                raise IncorrectBackendError(
                    "every case was skipped, so that there is nothing to audit: "
                    f"{'; '.join(reasons)}. Choose another backend with --backend, or other cases "
                    "with -k."
                )
            # Ends of a scale of powers of 4: so coarse that the order rarely differs between runs.
            passed.sort(key=lambda each: math.ceil(math.log(max(each[2], 0.01), 4)))
            observer.faults_started(len(faults))
            for fault in faults:
                observer.fault_started(fault)
                results.append(_try_fault(fault, passed, places, claimed, observer))
                observer.fault_finished(results[-1])
    except KeyboardInterrupt:
        interrupted = True
    order = {case.id: place for place, (case, _, _) in enumerate(passed)}
    return Audit(
        **heading(suites, describe_environment(backends.descriptions()), began),
        interrupted=interrupted,
        covers=claimed,
        narrowed=narrowed or any(case.status == "skipped" for case in cases),
        untried=left_out + len(faults) - len(results),
        cases=sorted(cases, key=lambda case: order.get(case.id, len(order))),
        faults=results,
    )


_Passed = tuple[PlannedCase, Witness, float]
"""A case that the correct backend has passed, the witness of that, and the seconds it took."""


def _pass(
    case: PlannedCase, backends: Backends, places: Places
) -> tuple[AuditedCase, Witness | None]:
    """Run a case with the correct backend, which has to pass; no witness of a skipped case."""
    if case.expected_failure:
        kept = {"id": case.id, "kind": case.kind, "status": "skipped", "duration_s": 0.0}
        return AuditedCase(**kept, message="the suite expects it to fail"), None
    witnesses: list[Witness] = []

    def find() -> Backend[Any]:
        witnesses.append(Witness(backends.of(case)))
        return witnesses[0]

    result = run_case(case, find, places, Observer(), verdict_only=True)
    if result.status in ("failed", "errored"):  # what is undecided may still catch a fault
        raise IncorrectBackendError(
            f"the backend {case.backend!r} has {result.status} the case {case.id} as it is, and no "
            f"fault can be told from that: {result.message} An audit needs a backend that passes; "
            "see 'pcbench run', or choose one with --backend, or other cases with -k."
        )
    kept = result.model_dump(include={"id", "kind", "status", "message", "duration_s"})
    return AuditedCase(**kept), None if result.status == "skipped" else witnesses[0]


def _try_fault(
    fault: Fault,
    passed: Sequence[_Passed],
    places: Places,
    covers: Sequence[Part] | None,
    observer: AuditObserver,
) -> FaultResult:
    """Run cases, the cheapest first, with a fault put in, until a check fails."""
    began = time.monotonic()
    meeting = [each for each in passed if fault.may_show(each[1].occasions)]
    outcome: Outcome = "no difference" if meeting else "not met"
    check = name = message = ""
    run = 0
    for case, correct, duration_s in meeting:
        observer.case_started(case)
        run += 1
        # The backend is made anew, so that what a mistake remembers is of this case alone, and the
        # order of cases, which goes by what they took, changes no verdict.
        deadline = time.monotonic() + max(PATIENCE_S, PATIENCE * duration_s)
        watched = Witness(correct.inner, deadline=deadline)
        witness = Witness(fault.put_into(watched), fault.beside(watched))
        result: CaseResult | None = None

        def find(faulty: Witness = witness) -> Backend[Any]:
            return faulty

        with suppress(OutOfTime):
            result = run_case(case, find, places, Observer(), verdict_only=True)
        failed = [each for each in result.checks if each.status == "failed"] if result else []
        if failed or (result and result.status == "failed"):
            outcome, name = "caught", case.id
            check = failed[0].name if failed else "no check could be made"
            message = failed[0].explanation if failed else result.message if result else ""
            break
        if result is None or result.status == "errored":
            # Worth more than an answer that changed nothing, and less than a check: see the notes
            # on outcomes. A later case may still have one that fails.
            if outcome not in ("crashed", "out of time"):
                name, message = case.id, result.message if result else ""
                outcome = "crashed" if result else "out of time"
        elif witness.differs and outcome == "no difference":
            outcome = "survived"
    return FaultResult(
        name=fault.name,
        mistake=fault.mistake,
        part=fault.part,
        plugin=fault.plugin,
        outcome=outcome,
        claimed=outcome in EXERCISED if covers is None else fault.part in covers,
        check=check,
        case=name,
        message=message,
        cases=run,
        duration_s=time.monotonic() - began,
    )
