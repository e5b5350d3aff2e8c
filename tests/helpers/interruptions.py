"""Interrupting, also where whoever started the tests wants to hear nothing of it."""

import signal
from contextlib import contextmanager


@contextmanager
def interruptible():
    """Hear SIGINT, children too, even where whoever started the tests ignores or blocks it."""
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    mask = signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGINT, handler)
