"""Ending a process by a signal, also where whoever started the tests ignores it."""

import signal
from contextlib import contextmanager

DEFAULTS = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGTERM: signal.SIG_DFL,
    signal.SIGHUP: signal.SIG_DFL,  # which nohup ignores
}


@contextmanager
def interruptible():
    """Hear these signals, children too, even where whoever started the tests ignores them."""
    handlers = {each: signal.signal(each, handler) for each, handler in DEFAULTS.items()}
    mask = signal.pthread_sigmask(signal.SIG_UNBLOCK, DEFAULTS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for each, handler in handlers.items():
            signal.signal(each, handler)
