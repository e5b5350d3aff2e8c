"""Running a plan: streams of randomness, timing, isolation of failures, and the report."""

from pcbench.runner.context import Observer
from pcbench.runner.run import run_suites

__all__ = ["Observer", "run_suites"]
