"""Backends that are there for a while only."""

from contextlib import contextmanager

from pcbench.registry import BACKENDS


@contextmanager
def plugged_in(backends):
    """Add backends by name, and take them out again."""
    before = dict(BACKENDS._added)
    for name, backend in backends.items():
        BACKENDS.add(name, backend)
    try:
        yield
    finally:
        BACKENDS._added.clear()
        BACKENDS._added.update(before)
