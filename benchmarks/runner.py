"""What worker processes cost and bring: ``python benchmarks/runner.py``.

Medians over rounds in which every way is taken once, side by side, each a command of its own:

* the price of a worker for each of many short cases, ``(workers - in process) / cases``;
* from the start of the command to the first case, beside ``import torch`` alone;
* the suite ``theory`` with one job and with two (``--theory``; some minutes).
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter

CASES, ROUNDS = 1000, 3
SHORT = f"""\
suite: short
defaults: {{backend: numpy}}
cases:
  - id: short
    kind: origin_hessian
    data: {{name: toy_gaussian, samples: 2}}
    network: {{widths: [1]}}
    matrix: {{seed: {list(range(CASES))}}}
"""
PCBENCH = (sys.executable, "-m", "pcbench", "run")


def seconds(*command: str) -> float:
    """Return how long a command takes."""
    start = perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return perf_counter() - start


def first_line(*command: str) -> float:
    """Return how long it takes to a command's first line of progress."""
    start = perf_counter()
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, encoding="utf-8"
    ) as process:
        assert process.stderr
        process.stderr.readline()
        took = perf_counter() - start
        process.stderr.read()
    return took


def main() -> None:
    """Take the times and print them."""
    with tempfile.TemporaryDirectory() as folder:
        many, one = Path(folder, "many.yaml"), Path(folder, "one.yaml")
        many.write_text(SHORT)
        one.write_text(
            SHORT.replace("backend: numpy", "backend: torch").replace(
                str(list(range(CASES))), "[0]"
            )
        )
        ways: dict[str, Callable[[], float]] = {
            "in process": lambda: seconds(*PCBENCH, str(many), "-q", "--in-process"),
            "workers": lambda: seconds(*PCBENCH, str(many), "-q"),
            "first case": lambda: first_line(*PCBENCH, str(one)),
            "import torch": lambda: seconds(sys.executable, "-c", "import torch"),
        }
        if "--theory" in sys.argv:
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
    if "theory, two jobs" in middle:
        print(f"two jobs to one    {middle['theory, two jobs'] / middle['theory, one job']:8.3f}")


if __name__ == "__main__":
    main()
