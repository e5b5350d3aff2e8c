"""The observer of a run, such as a progress display."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pcbench.report import CaseResult
    from pcbench.suite import PlannedCase


class Observer:
    """Told what a run is doing. This one does nothing; subclass it to show something."""

    def cases_selected(self, expression: str, *, selected: int, of: int) -> None:
        """Of so many cases, an expression (``-k``) selects these."""

    def run_started(self, cases: int) -> None:
        """``cases`` cases are about to run."""

    def case_started(self, case: PlannedCase) -> None:
        """A case begins."""

    def stage_advanced(self, stage: str, done: int, total: int) -> None:
        """A long stage of the current case has done so many of its steps."""

    def case_finished(self, result: CaseResult) -> None:
        """A case is over, whatever became of it."""
