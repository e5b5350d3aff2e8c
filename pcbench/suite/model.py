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
        What its random streams are named by, the identifier if empty: the same for cases that
        differ only in who computes.
    insisted
        The run settings that whoever runs the suite asked for, instead of what it says.
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
        What the suite says of itself, and its file.
    cases
        Those that are selected.
    size
        The size that was asked for; a case that does not have it is as written.
    sizes
        All that its cases have, the one at which they are written first.
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
    """What is known of a concrete case without importing its kind."""

    id: str
    kind: str
    figure: str = ""


@dataclass(frozen=True, slots=True)
class Outline:
    """What is known of a suite without importing any case kind."""

    name: str
    description: str
    cases: tuple[OutlinedCase, ...]
    path: pathlib.Path
    sizes: tuple[str, ...] = (QUICK,)
