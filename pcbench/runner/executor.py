"""Where the cases of a run are computed: in this process, or in workers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from types import TracebackType
from typing import Any, Self

from threadpoolctl import ThreadpoolController

from pcbench.data import Places
from pcbench.report import CaseResult
from pcbench.runner.case import run_case
from pcbench.runner.context import Observer
from pcbench.runner.environment import Backends
from pcbench.suite import PlannedCase


class Executor(ABC):
    """Computes cases, and yields each result as soon as it is there.

    It is a context manager, and what it has started ends with it.
    """

    jobs = 1
    """How many cases run at a time."""
    threads: int | None = None
    """How many threads the linear algebra of a case has; ``None`` where nobody has said."""

    @abstractmethod
    def prepare(self, plan: Sequence[PlannedCase], places: Places) -> dict[str, dict[str, Any]]:
        """Make the backends of a plan, and return what each says of itself.

        Raises
        ------
        UsageError
            If no case's backend can be had here, or one that an override asked for; or if cases
            cannot be computed here at all.
        """

    @abstractmethod
    def run(
        self, cases: Sequence[PlannedCase], observer: Observer
    ) -> Iterator[tuple[int, CaseResult]]:
        """Run cases; yield the place of each in the sequence, and its result."""

    def close(self) -> None:
        """End what it has started."""
        return

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class InProcess(Executor):
    """Runs one case after another in this process: for debuggers, and for what lives only here.

    Nothing limits the time or the memory of a case, and one that ends the process ends the run.

    Parameters
    ----------
    debug
        Whether an error of a case opens the debugger where it was raised.
    threads
        How many threads linear algebra has here, if whoever started the process has seen to that.
    """

    def __init__(self, *, debug: bool = False, threads: int | None = None) -> None:
        self._debug, self.threads = debug, threads

    def prepare(self, plan: Sequence[PlannedCase], places: Places) -> dict[str, dict[str, Any]]:
        """Make the backends of a plan."""
        self._places, self._backends = places, Backends(plan)
        return self._backends.descriptions()

    def run(
        self, cases: Sequence[PlannedCase], observer: Observer
    ) -> Iterator[tuple[int, CaseResult]]:
        """Run one case after another."""
        with one_thread_for_the_judge():
            for index, case in enumerate(cases):
                observer.case_started(case)
                find = partial(self._backends.of, case)
                yield index, run_case(case, find, self._places, observer, debug=self._debug)


def one_thread_for_the_judge() -> AbstractContextManager[object]:
    """Keep NumPy's OpenBLAS to one thread.

    Its idle threads spin, and take the cores from the backend's own threads: on two cores, a run
    with both at full width takes nearly twice as long. One thread also makes the theory's numbers
    independent of the number of cores.
    """
    limited: AbstractContextManager[object]
    limited = ThreadpoolController().select(internal_api="openblas").limit(limits=1)
    return limited
