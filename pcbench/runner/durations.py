"""How long cases took the last time they ran on this machine, so that the longest begin first.

It is a convenience: a file that cannot be read or written is one that is not there.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import platformdirs

from pcbench.errors import UsageError
from pcbench.report import CaseResult, write_text

MOST = 20_000
"""Cases that are remembered, the last ones."""


def last_durations() -> dict[tuple[str, str], float]:
    """Return seconds by suite and case."""
    with suppress(OSError, ValueError, TypeError):
        entries = json.loads(_path().read_text(encoding="utf-8"))
        return {(suite, case): float(seconds) for suite, case, seconds in entries}
    return {}


def remember_durations(cases: Sequence[CaseResult]) -> None:
    """Remember how long cases took that were run to their end."""
    new = {(c.suite, c.id): round(c.duration_s, 3) for c in cases if c.status != "skipped"}
    if not new:
        return
    kept = {**last_durations(), **new}
    entries = [[suite, case, seconds] for (suite, case), seconds in kept.items()][-MOST:]
    with suppress(OSError, UsageError):
        path = _path()
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(json.dumps(entries), path)


def _path() -> Path:
    return platformdirs.user_cache_path("pcbench") / "durations.json"
