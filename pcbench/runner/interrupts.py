"""Signals that end a run as Ctrl-C does: what is finished is kept."""

from __future__ import annotations

import _thread
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

ENDING = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
"""The signals that a command of its own ends by."""


class Interrupted(KeyboardInterrupt):
    """A signal asked the run to end; ``name`` is what it is called, such as ``SIGTERM``."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.name = signal.Signals(number).name


@contextmanager
def insistent_interrupts(
    signals: Sequence[signal.Signals] = (signal.SIGINT,), every_s: float = 1.0
) -> Iterator[None]:
    """Raise ``Interrupted`` again and again, once the user asked, until the block is left.

    Python raises it wherever the main thread happens to be. In a finaliser, in a callback from C,
    in foreign code that catches everything, it is dropped, and a case of hours would run on. Where
    SIGTERM is among the signals, the process is a command's own, and asking twice ends it at once.

    Outside the main thread, or where somebody else handles a signal, nothing is done.
    """
    default = (signal.default_int_handler, signal.SIG_DFL)
    ours = threading.current_thread() is threading.main_thread()
    kept = {one: signal.getsignal(one) for one in signals if ours}
    kept = {one: handler for one, handler in kept.items() if handler in default}
    if not kept:
        yield
        return
    asked: list[int] = []
    insisting, left = [False], threading.Event()

    def interrupt(number: int, frame: FrameType | None) -> None:
        if insisting[0]:
            insisting[0] = False
        elif asked and signal.SIGTERM in kept:
            if sys.stderr and sys.stderr.isatty():
                os.write(sys.stderr.fileno(), b"\x1b[?25h")  # a live display hides the cursor
            os._exit(128 + number)
        else:
            asked.append(number)  # an Event's lock could be held by the code that was interrupted
        raise Interrupted(asked[0])

    def insist() -> None:
        while not left.wait(every_s):
            if asked:
                insisting[0] = True
                _thread.interrupt_main(next(iter(kept)))

    for one in kept:
        signal.signal(one, interrupt)
    insistent = threading.Thread(target=insist, name="insistent-interrupts", daemon=True)
    insistent.start()
    try:
        yield
    finally:
        for one in kept:
            signal.signal(one, lambda *_: None)  # nothing is to strike while tidying up
        left.set()
        insistent.join()
        for one, handler in kept.items():
            signal.signal(one, handler)
