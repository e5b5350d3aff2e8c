"""Suites: from YAML to typed, concrete cases, and from mistakes to sentences with line and column.

Importing this imports neither pydantic nor any case kind; :func:`load_suites` does so when called.
"""

from pcbench.suite.grammar.schema import QUICK, suite_schema
from pcbench.suite.load import (
    find_suite,
    likely_backends,
    load_suites,
    outlines,
    shipped_suites,
)
from pcbench.suite.model import OutlinedCase, PlannedCase, Suite
from pcbench.suite.options import Setting, parse_selection
from pcbench.suite.starter import write_starter
from pcbench.suite.yaml.problems import Position, Problem, SuiteError

__all__ = [
    "QUICK",
    "OutlinedCase",
    "PlannedCase",
    "Position",
    "Problem",
    "Setting",
    "Suite",
    "SuiteError",
    "find_suite",
    "likely_backends",
    "load_suites",
    "outlines",
    "parse_selection",
    "shipped_suites",
    "suite_schema",
    "write_starter",
]
