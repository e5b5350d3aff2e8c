"""A suite ready to run: plain, frozen, and free of YAML."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pcbench.suite.grammar.schema import QUICK

if TYPE_CHECKING:
    import pathlib

    from pcbench.case import Case, CaseParameters
    from pcbench.contract.backend import DType
    from pcbench.contract.parts import Part
    from pcbench.tolerances import ToleranceFactors


@dataclass(frozen=True, slots=True)
class PlannedCase:
    """One concrete case."""

    # Unique in its suite: the case's identifier, and its place in the matrix if it has one.
    id: str
    # The name of the case kind, and its class; ``case(parameters)`` is ready to run.
    kind: str
    case: type[Case[Any]]
    parameters: CaseParameters  # validated, defaults filled in
    # The run settings; see :class:`pcbench.suite.grammar.settings.RunSettings`.
    seed: int
    dtype: DType
    backend: str
    device: str
    timeout: float | None = None  # seconds
    memory_limit: int | None = None  # bytes
    tolerance_factor: ToleranceFactors = field(default_factory=dict)  # by the names of checks
    figure: str = ""  # which figure of the paper it reproduces; empty if none
    expected_failure: str = ""  # the reason why a check fails; empty if none is to
    # The name of its random streams, the identifier if empty: the same for cases that differ only
    # in backend, device or dtype.
    randomness: str = field(default="", compare=False)
    # The run settings that an override gave, instead of the suite.
    insisted: frozenset[str] = field(default=frozenset(), compare=False)


@dataclass(frozen=True, slots=True)
class Suite:
    """A suite and its concrete cases at one size, in the order written."""

    name: str
    description: str
    cases: tuple[PlannedCase, ...]  # the selected ones
    path: pathlib.Path
    size: str = QUICK  # the size that was asked for; a case that does not have it is as written
    sizes: tuple[str, ...] = (QUICK,)  # all sizes of its cases, ``quick`` first
    # The parts of the contract that it claims to judge; ``None`` where it does not say.
    covers: tuple[Part, ...] | None = None
    # How many cases the file has at this size, selected or not, before any override.
    total: int = 0


@dataclass(frozen=True, slots=True)
class OutlinedCase:
    """A concrete case, as far as it is known without importing its kind."""

    id: str
    kind: str
    figure: str = ""


@dataclass(frozen=True, slots=True)
class Outline:
    """A suite, as far as it is known without importing any case kind."""

    name: str
    description: str
    cases: tuple[OutlinedCase, ...]
    path: pathlib.Path
    sizes: tuple[str, ...] = (QUICK,)
