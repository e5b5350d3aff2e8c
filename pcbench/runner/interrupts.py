"""Make Ctrl-C end a run wherever Python happens to be."""

from __future__ import annotations

import _thread
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


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
