#!/usr/bin/env bash
# dask.distributed 2026.8.0: wait and as_completed on futures of a client that is no default.
#
# The likely guess: a future knows its client (future.client, by which future.result() works), so
# wait([future]) and as_completed([future]) work by it, too.
# What it does: both look for a default client alone, and raise "No clients found" where there is
# none. A library that must not become its caller's default (set_as_default=False) cannot use them;
# client.gather and callbacks of futures work.
#
# Output seen:
#   result 3, gathered [3]; wait: ValueError, as_completed: ValueError
#
# Exits 0 while it is so, 1 when that has changed, 2 if the packages cannot be installed.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
{ python3 -m venv "$place/env" && "$place/env/bin/pip" install --quiet distributed==2026.8.0 dask==2026.8.0; } || exit 2
cd "$place"
"$place/env/bin/python" - <<'PYTHON'
import sys

from distributed import Client, LocalCluster, as_completed, wait


def raised(work):
    try:
        work()
    except Exception as error:
        return type(error).__name__
    return "nothing"


with (
    LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None) as own,
    Client(own, set_as_default=False) as client,
):
    future = client.submit(sum, [1, 2])
    result, gathered = future.result(), client.gather([future])
    waited, completed = raised(lambda: wait([future])), raised(lambda: list(as_completed([future])))
print(f"result {result}, gathered {gathered}; wait: {waited}, as_completed: {completed}")
sys.exit(0 if (result, waited, completed) == (3, "ValueError", "ValueError") else 1)
PYTHON
