"""Float64 in JAX, for the thread that asks and no longer than it asks."""

from __future__ import annotations

from typing import Any


def x64(enabled: bool) -> Any:
    """Return the surroundings in which JAX knows float64, or does not."""
    import jax

    if hasattr(jax, "enable_x64"):  # its place from JAX 0.8 on
        return jax.enable_x64(enabled)
    from jax.experimental import enable_x64

    return enable_x64(enabled)
