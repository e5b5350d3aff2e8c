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


@dataclass(frozen=True, slots=True)
class PlannedCase:
    """One concrete case.

    Parameters
    ----------
    id
        Unique in its suite: the case's identifier, and its place in the matrix if it has one.
    kind, case
        The name of the case kind, and its class; ``case(parameters)`` is ready to run.
    parameters
        Validated, defaults filled in.
    seed, dtype, backend, device
        The run settings; see :class:`pcbench.suite.grammar.settings.RunSettings`.
    figure
        Which figure of the paper it reproduces; empty if none.
    randomness
        The name of its random streams, the identifier if empty: the same for cases that differ
        only in backend, device or dtype.
    insisted
        The run settings that an override gave, instead of the suite.
    """

    id: str
    kind: str
    case: type[Case[Any]]
    parameters: CaseParameters
    seed: int
    dtype: DType
    backend: str
    device: str
    figure: str = ""
    randomness: str = field(default="", compare=False)
    insisted: frozenset[str] = field(default=frozenset(), compare=False)


@dataclass(frozen=True, slots=True)
class Suite:
    """A suite and its concrete cases at one size, in the order written.

    Parameters
    ----------
    name, description, path
        As the file has them, and the file.
    cases
        The selected ones.
    size
        The size that was asked for; a case that does not have it is as written.
    sizes
        All sizes of its cases, ``quick`` first.
    covers
        The parts of the contract that it claims to judge; ``None`` where it does not say.
    total
        How many cases the file has at this size, selected or not, before any override.
    """

    name: str
    description: str
    cases: tuple[PlannedCase, ...]
    path: pathlib.Path
    size: str = QUICK
    sizes: tuple[str, ...] = (QUICK,)
    covers: tuple[Part, ...] | None = None
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
