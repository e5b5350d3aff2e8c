"""What worker processes cost and bring: ``python benchmarks/runner.py``.

Medians over rounds in which every way is taken once, side by side, each a command of its own:

* the price of a worker for each of many short cases, ``(workers - in process) / cases``;
* from the start of the command to the first case, beside ``import torch`` alone;
* the suite ``theory`` in process with two threads, and with one job and two (``--theory``; some
  minutes a round);
* 10,000 short cases in two workers, and on a local dask cluster of two (``--dask``, as long).
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter

CASES, LOTS, ROUNDS = 1000, 10_000, 3
SHORT = f"""\
suite: short
defaults: {{backend: numpy}}
cases:
  - id: short
    kind: origin_hessian
    data: {{name: toy_gaussian, samples: 2}}
    network: {{widths: [1]}}
    seeds: {CASES}
"""
PCBENCH = (sys.executable, "-m", "pcbench", "run")


def seconds(*command: str) -> float:
    """Return how long a command takes."""
    start = perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return perf_counter() - start


def to_first_case(report: Path, *command: str) -> float:
    """Return how long it takes a command to begin with its only case."""
    start = perf_counter()
    with subprocess.Popen(
        (*command, "--json", str(report)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    ) as process:
        assert process.stderr
        process.stderr.readline()  # says that the case is over
        took = perf_counter() - start
        process.stderr.read()
    return took - float(json.loads(report.read_text())["cases"][0]["duration_s"])


def main() -> None:
    """Take the times and print them."""
    with tempfile.TemporaryDirectory() as folder:
        many, one = Path(folder, "many.yaml"), Path(folder, "one.yaml")
        many.write_text(SHORT)
        one.write_text(SHORT.replace("numpy", "torch").replace(f"seeds: {CASES}", "seeds: 1"))
        ways: dict[str, Callable[[], float]] = {
            "in process": lambda: seconds(*PCBENCH, str(many), "-q", "--in-process"),
            "workers": lambda: seconds(*PCBENCH, str(many), "-q"),
            "first case": lambda: to_first_case(Path(folder, "one.json"), *PCBENCH, str(one)),
            "import torch": lambda: seconds(sys.executable, "-c", "import torch"),
        }
        if "--dask" in sys.argv:
            lots = Path(folder, "lots.yaml")
            lots.write_text(SHORT.replace(f"seeds: {CASES}", f"seeds: {LOTS}"))
            short = (*PCBENCH, str(lots), "-q", "-j", "2")
            ways["lots, workers"] = lambda: seconds(*short)
            ways["lots, dask"] = lambda: seconds(*short, "--executor", "dask")
        if "--theory" in sys.argv:
            serial = (*PCBENCH, "theory", "-q", "--in-process", "--threads", "2")
            ways["theory, serial"] = lambda: seconds(*serial)
            ways["theory, one job"] = lambda: seconds(*PCBENCH, "theory", "-q")
            ways["theory, two jobs"] = lambda: seconds(*PCBENCH, "theory", "-q", "-j", "2")
        took = {name: [way()] for name, way in ways.items()}
        for _ in range(ROUNDS - 1):
            for name, way in ways.items():
                took[name].append(way())
    middle = {name: median(each) for name, each in took.items()}
    for name, value in middle.items():
        print(f"{name:18} {value:8.3f} s")
    price = (middle["workers"] - middle["in process"]) / CASES
    print(f"price of a worker  {1000 * price:8.3f} ms a case")
    beyond = middle["first case"] - middle["import torch"]
    print(f"first case beyond  {beyond:8.3f} s of import torch")
    if "lots, dask" in middle:
        price = (middle["lots, dask"] - middle["lots, workers"]) / LOTS
        print(f"price of dask      {1000 * price:8.3f} ms a case")
    if "theory, two jobs" in middle:
        print(f"two jobs to serial {middle['theory, two jobs'] / middle['theory, serial']:8.3f}")


if __name__ == "__main__":
    main()
