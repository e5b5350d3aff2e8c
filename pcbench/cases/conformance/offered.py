"""Which engines of inference a backend offers for a network."""

from __future__ import annotations

from typing import Any

from pcbench.contract import Backend, engines
from pcbench.judges.problem import Problem


def offered(backend: Backend[Any], problem: Problem) -> list[str]:
    """Engines that the backend declares, and that can treat the network."""
    return [
        engine
        for engine, settings in engines()
        if settings.capability in backend.capabilities
        and (problem.network.is_linear or engine != "exact")
    ]
