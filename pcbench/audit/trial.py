"""One fault, tried in one case after another until a check fails."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pcbench.audit.catalogue import Fault
from pcbench.audit.model import FaultResult, Outcome
from pcbench.audit.testimony import Occasion, OutOfTime, Testimony
from pcbench.audit.witness import Witness
from pcbench.contract import Backend
from pcbench.data import Places
from pcbench.report import CaseResult
from pcbench.runner import Observer
from pcbench.runner.run import run_case
from pcbench.suite import PlannedCase

PATIENCE_S = 60.0
"""What a case may take with a fault, at least."""
PATIENCE = 20.0
"""The same, in units of what it takes without: faulty engines go on to the end of their budget."""


@dataclass(frozen=True, slots=True)
class Tried:
    """A case that the correct backend has passed.

    Attributes
    ----------
    case, backend
        The case, and the correct backend.
    occasions
        What it asks.
    duration_s
        What it took.
    """

    case: PlannedCase
    backend: Backend[Any]
    occasions: frozenset[Occasion]
    duration_s: float

    @property
    def patience_s(self) -> float:
        """What it may take with a fault."""
        return max(PATIENCE_S, PATIENCE * self.duration_s)


def try_fault(
    fault: Fault,
    cases: Sequence[Tried],
    places: Places,
    *,
    claimed: Callable[[Fault, bool], bool],
    started: Callable[[PlannedCase], None],
) -> FaultResult:
    """Run cases with a fault put in, until a check fails.

    Parameters
    ----------
    fault
        The mistake.
    cases
        Those that the correct backend has passed, the cheapest first.
    places
        Where data are.
    claimed
        Whether the suite claims to judge a fault, given whether it changed an answer.
    started
        Told of every case that begins.
    """
    began = time.monotonic()
    meeting = [tried for tried in cases if fault.may_show(tried.occasions)]
    outcome: Outcome = "no difference" if meeting else "not met"
    check = case = message = ""
    run = 0
    for tried in meeting:
        started(tried.case)
        run += 1
        result, testimony = _run(fault, tried, places)
        failed = [each for each in result.checks if each.status == "failed"] if result else []
        if failed or (result and result.status == "failed"):
            outcome, case = "caught", tried.case.id
            check = failed[0].name if failed else "no check could be made"
            message = failed[0].explanation if failed else result.message if result else ""
            break
        if result is None or result.status == "errored":
            # Worth more than an answer that changed nothing, and less than a check: see the notes
            # on outcomes. A later case may still have one that fails.
            if outcome not in ("crashed", "out of time"):
                case, message = tried.case.id, result.message if result else ""
                outcome = "crashed" if result else "out of time"
        elif testimony.differs and outcome == "no difference":
            outcome = "survived"
    return FaultResult(
        name=fault.name,
        mistake=fault.mistake,
        part=fault.part,
        plugin=fault.plugin,
        outcome=outcome,
        claimed=claimed(fault, outcome not in ("no difference", "not met")),
        check=check,
        case=case,
        message=message,
        cases=run,
        duration_s=time.monotonic() - began,
    )


def _run(fault: Fault, tried: Tried, places: Places) -> tuple[CaseResult | None, Testimony]:
    """Run one case with the fault; the result is ``None`` where time was up.

    The backend is made anew, so that what a mistake remembers is of this case alone, and the
    order of cases, which goes by what they took, changes no verdict.
    """
    deadline = time.monotonic() + tried.patience_s
    watched = Witness(tried.backend, deadline=deadline)
    witness = Witness(fault.put_into(watched), fault.beside(watched))
    try:
        return run_case(tried.case, lambda: witness, places, Observer(), verdict_only=True), (
            witness.testimony
        )
    except OutOfTime:
        return None, witness.testimony
