"""PyYAML's complaints in plain sentences.

PyYAML says what its scanner was doing (``while parsing a block mapping ... did not find expected
key``); the author of a suite wants to know what to change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from yaml.error import MarkedYAMLError

from pcbench.suite.yaml.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Callable

    from yaml import YAMLError
    from yaml.error import Mark

    from pcbench.suite.yaml.problems import Position

# What to look for in PyYAML's words (libyaml's and those of pure Python), and what to say.
# {start} is where the construct begins that the complaint is about.
_SENTENCES = (
    # libyaml's own limit, which its scanner meets far ahead of what has been read.
    ("maximum nesting depth", "values are nested too deep here; flatten them"),
    ("',' or ']'", "a comma or the closing ']' is missing here; the '[' is at {start}"),
    ("',' or '}'", "a comma or the closing '}}' is missing here; the '{{' is at {start}"),
    ("unexpected end of stream", "the quotation mark at {start} is never closed"),
    (
        "mapping values are not allowed",
        "a ':' stands where no key can be; quote a text that contains ': ', "
        "or check the indentation here and on the line above",
    ),
    (
        "sequence entries are not allowed",
        "a list cannot begin here; put its first '-' on a line of its own",
    ),
    ("expected ':'", "the line at {start} is no 'key: value'; add the ':', or quote a long text"),
    ("undefined alias", "an alias is used before its anchor; define it above with '&'"),
    ("second occurrence", "this anchor is already defined at {start}; rename one of the two"),
    ("escape", "an unknown escape in double quotes; double the backslash, or use single quotes"),
    ("node content", "a value is missing here"),
    ("<document start>", "nothing may follow the end of the suite; check brackets and quotes"),
    ("expected key", "this does not fit the block at {start}; check indentation and quotes"),
    ("'-' indicator", "this does not fit the block at {start}; check indentation and quotes"),
    ("<block end>", "this does not fit the block at {start}; check indentation and quotes"),
)


def malformed(error: YAMLError, text: str, place: Callable[[int, int], Position]) -> Problem:
    """Translate an error of PyYAML's scanner, parser or composer.

    Parameters
    ----------
    error
        What PyYAML raised.
    text
        What it was reading.
    place
        Turns PyYAML's line and column, from 0, into a position.
    """
    if not isinstance(error, MarkedYAMLError) or error.problem_mark is None:
        return Problem(place(0, 0), f"this is not valid YAML ({error})")
    mark, problem = error.problem_mark, error.problem or "no reason given"
    start = error.context_mark or mark
    at = place(mark.line, mark.column)
    if "cannot start any token" in problem:
        return Problem(at, _bad_start(_character(text, mark)))
    for part, sentence in _SENTENCES:
        if part in problem:
            return Problem(at, sentence.format(start=f"{start.line + 1}:{start.column + 1}"))
    return Problem(at, f"this is not valid YAML ({problem})")


def _bad_start(character: str) -> str:
    if character == "\t":
        return "a tab cannot indent YAML; use spaces"
    return f"a value cannot start with {character!r}; put it in quotes"


def _character(text: str, mark: Mark) -> str:
    lines = text.splitlines()
    line = lines[mark.line] if mark.line < len(lines) else ""
    return line[mark.column : mark.column + 1]
