"""Running a plan: streams of randomness, timing, isolation of failures, and the report."""

from pcbench.runner.context import Observer
from pcbench.runner.executor import Executor, InProcess
from pcbench.runner.on_dask import OnDask
from pcbench.runner.run import RunOptions, run_suites
from pcbench.runner.workers import Workers

__all__ = ["Executor", "InProcess", "Observer", "OnDask", "RunOptions", "Workers", "run_suites"]
