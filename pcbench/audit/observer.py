"""Watching an audit: what a progress display is told, and when."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pcbench.audit.catalogue import Fault
    from pcbench.audit.model import FaultResult
    from pcbench.suite import PlannedCase


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
