"""Run suites case by case, so that the failure of one does not affect the others."""

from __future__ import annotations

import _thread
import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from functools import partial
from time import perf_counter
from types import FrameType
from typing import Any

from threadpoolctl import ThreadpoolController

from pcbench import checks
from pcbench.case import CaseSkippedError
from pcbench.contract.backend import Backend
from pcbench.contract.model import BackendUnavailableError
from pcbench.data import DatasetError, DatasetMissingError, Places
from pcbench.networks import ImpossibleNetworkError
from pcbench.report import CaseResult, CaseStatus, Report
from pcbench.runner.context import Findings, Observer, RunContext, storable
from pcbench.runner.environment import Backends, describe_environment, machine_load
from pcbench.suite import PlannedCase, Suite
from pcbench.theory.rounding.range import UndecidableError

EDGE = "what float64 can tell, and the dtype can hold (theory.md 4)"


def run_suites(
    suites: Sequence[Suite], *, places: Places | None = None, observer: Observer | None = None
) -> Report:
    """Run every case of the suites and report on all of them.

    A case that errors is reported as errored and the rest runs on. Ctrl-C ends the run; the report
    then holds the cases that were finished and says that it was interrupted.
    """
    places = places or Places.default()
    observer = observer or Observer()
    plan = [(suite.name, case) for suite in suites for case in suite.cases]
    backends = Backends([case for _, case in plan])

    load = machine_load()
    started, results, interrupted = perf_counter(), [], False
    observer.run_started(len(plan))
    try:
        with insistent_interrupts(), one_thread_for_the_judge():
            for suite, case in plan:
                observer.case_started(case)
                result = run_case(case, partial(backends.of, case), places, observer)
                result = result.model_copy(update={"suite": suite})
                results.append(result)
                observer.case_finished(result)
    except KeyboardInterrupt:
        interrupted = True
    return Report(
        suite=" + ".join(suite.name for suite in suites),
        size=" + ".join(dict.fromkeys(suite.size for suite in suites)),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        interrupted=interrupted,
        duration_s=perf_counter() - started,
        environment=describe_environment(backends.descriptions(), load=load),
        summary=Report.summarise(results),
        cases=results,
    )


def _reason(error: BaseException, case: PlannedCase, backend: Backend[Any] | None) -> str:
    """Say why a case errored."""
    reason = f"{type(error).__name__}: {error}"
    # A case may have said where it broke, in an error of its own.
    behind = [each for each in (error, error.__cause__) if isinstance(each, Exception)]
    if backend and any(backend.ran_out_of_memory(each) for each in behind):
        return (
            f"out of memory on {case.device!r}; give the case fewer samples, replicas or units, or "
            f"run it on another device (--device). {reason}"
        )
    return reason


def one_thread_for_the_judge() -> AbstractContextManager[object]:
    """Keep NumPy's OpenBLAS to one thread.

    Its idle threads spin, and take the cores from the backend's own threads: on two cores, a run
    with both at full width takes nearly twice as long. One thread also makes the theory's numbers
    independent of the number of cores.
    """
    limited: AbstractContextManager[object]
    limited = ThreadpoolController().select(internal_api="openblas").limit(limits=1)
    return limited


def run_case(
    case: PlannedCase,
    find: Callable[[], Backend[Any]],
    places: Places,
    observer: Observer,
    *,
    verdict_only: bool = False,
) -> CaseResult:
    """Run one case; every exception but an interrupt becomes its status and message.

    The backend is looked up when the case begins, since it may lack the case's dtype.
    With ``verdict_only`` nothing is timed, and the case ends at the first check that fails.
    """
    started = perf_counter()
    found = Findings()
    parameters: dict[str, Any] = {}
    status: CaseStatus | None = None
    message = broke = ""
    backend: Backend[Any] | None = None
    try:
        parameters = storable(case.parameters.model_dump(mode="json"))
        backend = find()
        question = case.case(case.parameters)
        missing = question.needs() - backend.capabilities
        if missing:
            raise CaseSkippedError(
                f"the backend {case.backend!r} does not offer {', '.join(sorted(missing))}"
            )
        context = RunContext(case, backend, places, observer, timed=not verdict_only)
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
    failures = [check for check in found.checks if check.status == "failed"]
    undecided = [check for check in found.checks if check.status == "undecided"]
    if failures and status != "errored":  # not even a case that then gave up hides a failure
        status, message = "failed", " ".join(check.explanation for check in failures)
    elif undecided and status in (None, "skipped"):
        status, message = "undecided", " ".join(check.explanation for check in undecided)
    elif status is None and not found.checks:
        status, message = "failed", "The case made no check, and so proves nothing."
    return CaseResult(
        id=case.id,
        kind=case.kind,
        figure=case.figure,
        parameters=parameters,
        backend=case.backend,
        device=storable(case.device),
        dtype=case.dtype,
        seed=case.seed,
        status=status or "passed",
        message=storable(message),
        traceback=storable(broke),
        **vars(found),
        duration_s=perf_counter() - started,
    )


@contextmanager
def insistent_interrupts(every_s: float = 1.0) -> Iterator[None]:
    """Raise ``KeyboardInterrupt`` again and again, once the user asked, until the block is left.

    Python raises it wherever the main thread happens to be. In a finaliser, in a callback from C,
    in foreign code that catches everything, it is dropped, and a case of hours would run on.

    Outside the main thread, or where somebody else handles the signal, nothing is done.
    """
    ours = threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    asked, left = [False], threading.Event()

    def interrupt(number: int, frame: FrameType | None) -> None:
        asked[0] = True  # an Event's lock could be held by the code that was interrupted
        signal.default_int_handler(number, frame)

    def insist() -> None:
        while not left.wait(every_s):
            if asked[0]:
                _thread.interrupt_main()

    signal.signal(signal.SIGINT, interrupt)
    insistent = threading.Thread(target=insist, name="insistent-interrupts", daemon=True)
    insistent.start()
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, lambda *_: None)  # nothing is to strike while tidying up
        left.set()
        insistent.join()
        signal.signal(signal.SIGINT, signal.default_int_handler)
