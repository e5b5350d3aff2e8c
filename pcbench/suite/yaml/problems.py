"""Problems of a suite: a sentence each, at a file, line and column."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pcbench.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable


MAX_SHOWN = 60  # characters of anybody's text within a message


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a source. Lines and columns count from 1, as editors do."""

    file: str  # the file as the user named it, or another source, such as ``--set seed=1``
    # ``None`` where the problem is the source as a whole.
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        return ":".join(str(part) for part in (self.file, self.line, self.column) if part)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong."""

    at: Position
    message: str

    def __str__(self) -> str:
        # A plug-in's message can have several lines; a problem is one. A path or an option need not
        # be valid Unicode, but has to be printed nevertheless.
        text = " ".join(f"{self.at}: {self.message}".splitlines())
        return text.encode("utf-8", "backslashreplace").decode()


class Problems(list[Problem]):
    """What is wrong so far. Reading goes on after a problem, so that all are found at once."""

    def note(self, at: Position, message: str) -> None:
        """Add one."""
        self.append(Problem(at, message))


class SuiteError(UsageError):
    """A suite, a selection or an override is not valid.

    ``problems`` are all that was found, in any order; kept in reading order, each once.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        each = dict.fromkeys(problems)
        sources = list(dict.fromkeys(problem.at.file for problem in each))

        def place(problem: Problem) -> tuple[int, int, int]:
            at = problem.at
            return sources.index(at.file), at.line or 0, at.column or 0

        self.problems = sorted(each, key=place)
        super().__init__(self.problems)

    @classmethod
    def at(cls, position: Position, message: str) -> SuiteError:
        """Make the error of a single problem."""
        return cls([Problem(position, message)])

    def __str__(self) -> str:
        return "\n".join(map(str, self.problems))


def clip(text: str) -> str:
    """Shorten what a message quotes."""
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 1]}…"
