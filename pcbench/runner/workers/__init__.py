"""Cases in worker processes of this machine."""

from pcbench.runner.workers.pool import Workers, no_worker_takes

__all__ = ["Workers", "no_worker_takes"]
