"""Backends, or other plug-ins, that are there for a while only."""

from contextlib import contextmanager

from pcbench.registry import BACKENDS


@contextmanager
def plugged_in(plugins, registry=BACKENDS):
    """Add plug-ins by name, and take them out again."""
    before = dict(registry._added)
    for name, plugin in plugins.items():
        registry.add(name, plugin)
    try:
        yield
    finally:
        registry._added.clear()
        registry._added.update(before)
