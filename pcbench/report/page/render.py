"""From reports to the page: what its template shows, in the words of the terminal."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import inf
from typing import TYPE_CHECKING, Any

import jinja2
from markupsafe import Markup

from pcbench.report.model import AS_WRITTEN
from pcbench.report.text import (
    data_name,
    format_bytes,
    format_duration,
    format_expected,
    format_margin,
    format_number,
    network_shape,
)

if TYPE_CHECKING:
    from pydantic import JsonValue

    from pcbench.checks import Check
    from pcbench.report.model import CaseResult, Report

ORDER = ("failed", "errored", "timeout", "undecided", "skipped", "passed")
"""What needs a reader first comes first."""
VERDICTS = {"failed": "failed", "errored": "broke off", "timeout": "took too long"}


@dataclass(frozen=True, slots=True)
class Row:
    """A case on the page."""

    number: int  # unique on the page
    case: CaseResult
    tightest: Check | None  # the check nearest the edge
    parameters: tuple[tuple[str, str], ...]  # by dotted path

    @property
    def data(self) -> str:
        """The name of its dataset."""
        return data_name(self.case.parameters)

    @property
    def network(self) -> str:
        """The shape of its network."""
        return network_shape(self.case.parameters)

    @property
    def grounds(self) -> list[tuple[str, list[Check]]]:
        """Its checks, in groups that stand next to each other and on the same grounds."""
        groups = groupby(self.case.checks, key=lambda check: (check.source, check.derivation))
        return [
            (f"{source}{f'; tolerance from {why}' if why else ''}", list(checks))
            for (source, why), checks in groups
        ]

    @property
    def again(self) -> str:
        """The options that select it."""
        return f"-k '{self.case.id}'"


def render_page(reports: Sequence[Report], changes: Any = None) -> str:
    """Return the page of one or more reports.

    Parameters
    ----------
    reports
        At least one.
    changes
        A comparison of the last report with a baseline, if there is one.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pcbench.report.page", ""),
        autoescape=True,  # a name may be anybody's
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {
        "breakable": _breakable,
        "number": format_number,
        "margin": format_margin,
        "duration": format_duration,
        "memory": format_bytes,
        "expected": lambda check: format_expected(check.relation, check.expected),
    }
    rows = list(_rows(reports))
    page: str = environment.get_template("page.html").render(
        reports=reports,
        rows=rows,
        counts={status: sum(row.case.status == status for row in rows) for status in ORDER},
        verdict=_verdict(rows, reports),
        suites=list(dict.fromkeys(row.case.suite for row in rows)),
        changes=changes,
        as_written=AS_WRITTEN,
    )
    return page


def _breakable(name: str) -> Markup:
    """Let a line break in a long identifier where its parts begin, and nowhere else."""
    parts = re.split(r"(?<=,)|(?=\[)", name)
    return Markup("<wbr>").join(parts)


def _rows(reports: Sequence[Report]) -> Iterator[Row]:
    cases = [case for report in reports for case in report.cases]
    cases.sort(key=lambda case: ORDER.index(case.status))
    for number, case in enumerate(cases, start=1):
        tightest = min(case.checks, key=_margin, default=None)
        yield Row(number, case, tightest, tuple(_flat(case.parameters)))


def _margin(check: Check) -> float:
    return -inf if check.margin is None else check.margin


def _flat(values: dict[str, JsonValue], above: str = "") -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{key}.")
        elif value is not None:
            yield f"{above}{key}", str(value)


def _verdict(rows: Sequence[Row], reports: Sequence[Report]) -> tuple[str, str]:
    """Return the worst status, and the sentence at the top of the page."""
    judged = sum(len(row.case.checks) for row in rows)
    for status, words in VERDICTS.items():
        if count := sum(row.case.status == status for row in rows):
            return status, f"{count} of {len(rows)} cases {words}"
    if any(report.interrupted for report in reports):
        return "undecided", f"Nothing failed in the {len(rows)} cases that ran before the end"
    passed = sum(row.case.status == "passed" for row in rows)
    if not passed:
        return "undecided", "Nothing was judged"
    return "passed", f"All of {judged:,} checks in {passed} cases hold"
