"""JPC (https://github.com/thebuckleylab/jpc) as a backend."""

from pcbench.backends.jpc.backend import JpcBackend

__all__ = ["JpcBackend"]
