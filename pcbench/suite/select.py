"""``-k EXPR``: select cases by parts of their names, with ``and``, ``or``, ``not``, parentheses.

    expression = conjunction {"or" conjunction}
    conjunction = negation {"and" negation}
    negation = "not" negation | "(" expression ")" | NAME

A name matches a case if its identifier, its kind or the name of its dataset contains it, or if it
is the name of the suite, ``suite=NAME``, ``data=NAME`` or ``figure=NAME``; whatever the case of the
letters. A suite's name has to be given in full: otherwise ``not origin`` would select nothing of
the suite ``origin_escape``. This is the language of pytest's option of the same name.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Collection
from dataclasses import dataclass

from pcbench.suite.yaml.problems import Position, SuiteError

Matcher = Callable[[Collection[str], Collection[str]], bool]
"""Takes the words that a name may be part of, and the words that it may equal."""

MAX_DEPTH = 50  # of parentheses and negations: far more than anybody reads

_TOKEN = re.compile(r"[()]|[^\s()]+")
_OPERATORS = ("and", "or", "not", "(", ")")


def parse_selection(expression: str, *, option: str = "-k") -> Matcher:
    """Turn an expression into a test of cases. A blank one selects every case.

    Parameters
    ----------
    expression
        What is written.
    option
        After which option, for messages.

    Raises
    ------
    SuiteError
        If the expression is malformed.
    """
    tokens = _TOKEN.findall(expression)
    if not tokens:
        return lambda _parts, _whole: True
    parser = _Parser(expression, tokens, option)
    matcher = parser.expression()
    if parser.ahead is not None:
        raise parser.error(f"'and' or 'or' is missing before {parser.ahead!r}")
    return matcher


@dataclass(slots=True)
class _Parser:
    """Recursive descent: a method for each rule above."""

    source: str
    tokens: list[str]
    option: str
    position: int = 0
    depth: int = 0

    @property
    def ahead(self) -> str | None:
        """The token ahead; ``None`` at the end."""
        return self.tokens[self.position] if self.position < len(self.tokens) else None

    def accept(self, token: str) -> bool:
        """Whether the token is ahead; if so it is consumed."""
        found = self.ahead == token
        self.position += found
        return found

    def error(self, message: str) -> SuiteError:
        return SuiteError.at(Position(f"{self.option} {shlex.quote(self.source)}"), message)

    def expression(self) -> Matcher:
        choices = [self.conjunction()]
        while self.accept("or"):
            choices.append(self.conjunction())
        return lambda parts, whole: any(each(parts, whole) for each in choices)

    def conjunction(self) -> Matcher:
        needed = [self.negation()]
        while self.accept("and"):
            needed.append(self.negation())
        return lambda parts, whole: all(each(parts, whole) for each in needed)

    def negation(self) -> Matcher:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.error(f"more than {MAX_DEPTH} parentheses and 'not' within each other")
        if self.accept("not"):
            matcher = _negated(self.negation())
        elif self.accept("("):
            matcher = self.expression()
            if not self.accept(")"):
                raise self.error("a ')' is missing")
        else:
            matcher = self.name()
        self.depth -= 1
        return matcher

    def name(self) -> Matcher:
        name = self.ahead
        if name is None or name in _OPERATORS:
            before = "the end" if name is None else repr(name)
            raise self.error(f"a name is missing before {before}")
        self.position += 1
        sought = name.casefold()
        return lambda parts, whole: (
            any(sought in word.casefold() for word in parts)
            or any(sought == word.casefold() for word in whole)
        )


def _negated(inner: Matcher) -> Matcher:
    return lambda parts, whole: not inner(parts, whole)
