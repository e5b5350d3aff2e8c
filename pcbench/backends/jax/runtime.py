"""Where and in what precision JAX computes, without a word to others who use it in this process.

JAX knows no float64 unless ``jax_enable_x64`` is set. Set for the whole process it would change the
default dtype under whoever else uses JAX there, such as an adapter to a library that was written
for float32. So it is set around each entry instead, for the thread that enters, and with it the
precision of matrix products. Both are part of what JAX keys its compiled functions by. Whoever
computes with answers in float64 outside of that has float32 again, or brings them to the host.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import jax
import numpy as np
from jaxtyping import Float

from pcbench.backends._on_jax.x64 import x64
from pcbench.contract.backend import DType

Answer = TypeVar("Answer")

FULL_PRECISION = "highest"
"""Products in the precision of their dtype: left to itself JAX rounds float32 to TF32 on GPUs."""


class Runtime:
    """A device and a dtype.

    Parameters
    ----------
    device
        One of JAX's.
    dtype
        ``float32`` or ``float64``.

    Attributes
    ----------
    matrix_precision
        Full, unless JAX's own variable ``JAX_DEFAULT_MATMUL_PRECISION`` asks for another.
    """

    def __init__(self, device: Any, dtype: DType) -> None:
        self.device, self.dtype = device, dtype
        self.matrix_precision: str = jax.config.jax_default_matmul_precision or FULL_PRECISION
        self._unfinished: Any = None
        self._peak = 0

    def run(self, function: Callable[..., Answer], *arguments: Any) -> Answer:
        """Call a function of JAX arrays.

        On a CPU it has finished when this returns: there JAX would compute behind the caller's
        back, with no order kept among what it has begun, and nothing could be timed. A GPU works
        off what it is given in order, so that whoever waits for the last answer has all of them.
        """
        with self._settled():
            answer = function(*arguments)
            if self.device.platform == "cpu":
                jax.block_until_ready(answer)
            else:
                self._unfinished = answer
        return answer

    def stage(self, array: Float[np.ndarray, "..."]) -> jax.Array:
        """Bring a copy to the device, in the dtype of this runtime."""
        # A copy, for JAX may go on reading the host's array where the device is the CPU.
        copy = np.array(array, self.dtype, order="C")
        staged: jax.Array = self.run(jax.device_put, copy, self.device)
        return staged

    def wait(self) -> None:
        """Wait for the last answer."""
        jax.block_until_ready(self._unfinished)
        self._unfinished = None

    def peak_memory(self) -> int | None:
        """Bytes at the peak since the last call; ``None`` where that cannot be told.

        JAX knows the peak of the process alone: a peak that is no higher than at the last call was
        before it.
        """
        before = self._peak
        self._peak = (self.device.memory_stats() or {}).get("peak_bytes_in_use", 0)
        return self._peak if self._peak > before else None

    @contextmanager
    def _settled(self) -> Iterator[None]:
        with x64(self.dtype == "float64"), jax.default_matmul_precision(self.matrix_precision):
            yield
