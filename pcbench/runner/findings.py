"""Collect what a case yields, in a form that a report can store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from pcbench.case import Artifact, Columns, Finding, Measurement, Omission
from pcbench.checks import Check
from pcbench.claims import Claim
from pcbench.report import Timing

Series = dict[str, list[float | None]]


@dataclass(slots=True)
class Findings:
    """What a case has yielded so far, by type.

    A case may be anybody's code. What a report cannot store is refused here, where it makes only
    that case fail, and not when the report of the whole run is written.
    """

    checks: list[Check] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)
    timings: list[Timing] = field(default_factory=list)
    series: dict[str, Series] = field(default_factory=dict)
    omitted: dict[str, str] = field(default_factory=dict)

    def take(self, findings: Iterator[Finding], *, until_failure: bool = False) -> None:
        """Take in everything that a case yields, as it yields it.

        Parameters
        ----------
        findings
            What it yields.
        until_failure
            Whether to ask no further once a check has failed.

        Raises
        ------
        TypeError
            If it is not a finding: ``yield`` instead of ``yield from`` would lose checks.
        ValueError
            If a finding holds what a report cannot store.
        """
        for finding in findings:
            # Validated anew, for `model_copy`, by which a check is located, validates nothing.
            if isinstance(finding, Check):
                self.checks.append(Check.model_validate(storable(finding.model_dump())))
                if until_failure and self.checks[-1].status == "failed":
                    return
            elif isinstance(finding, Claim):
                self.claims.append(Claim.model_validate(storable(finding.model_dump())))
            elif isinstance(finding, Measurement):
                self.timings.append(_timing(finding))
            elif isinstance(finding, Columns):
                self.series[storable(finding.name)] = _series(finding)
            elif isinstance(finding, Omission):
                self.omitted[storable(finding.part)] = storable(finding.reason)
            elif isinstance(finding, Artifact):
                try:
                    _store(finding)
                except OSError as error:
                    self.omitted[storable(finding.path)] = storable(f"cannot be written: {error}")
            else:
                raise TypeError(
                    "a case yields checks, claims, measurements, columns, omissions and artifacts, "
                    f"not a value of type {type(finding).__name__}"
                )


def _store(artifact: Artifact) -> None:
    path = Path(artifact.path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, **artifact.arrays)


def storable(value: Any) -> Any:
    """Escape lone surrogates in plain data: foreign text may have them, but UTF-8 has not."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {storable(key): storable(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [storable(entry) for entry in value]
    return value


def _timing(found: Measurement) -> Timing:
    return Timing.of(
        storable(found.name),
        found.samples_s,
        found.peak_memory_bytes,
        {storable(name): _finite(value) for name, value in found.details.items()},
    )


def _finite(value: float) -> float | None:
    return float(value) if isfinite(value) else None


def _series(found: Columns) -> Series:
    if len({len(column) for column in found.columns.values()}) > 1:
        raise ValueError(f"the columns of {found.name!r} differ in length")
    return {
        storable(name): [_finite(value) for value in column]
        for name, column in found.columns.items()
    }
