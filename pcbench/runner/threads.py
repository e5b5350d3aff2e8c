"""How many threads libraries of linear algebra use."""

from __future__ import annotations

import os


def thread_variables(threads: int) -> dict[str, str]:
    """Return the variables that tell libraries of linear algebra how many threads to use.

    They are read when a library is imported.
    """
    found = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
    if threads == 1:
        own = os.environ.get("XLA_FLAGS", "")
        found["XLA_FLAGS"] = f"{own} --xla_cpu_multi_thread_eigen=false".strip()
    return found
