"""PCX (https://github.com/liukidar/pcx) as a backend."""

from pcbench.backends.pcx.backend import PcxBackend

__all__ = ["PcxBackend"]
