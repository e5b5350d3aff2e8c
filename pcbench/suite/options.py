"""What the command line says of cases: ``--set PATH=VALUE``, and ``-k EXPR`` to select some.

    expression = conjunction {"or" conjunction}
    conjunction = negation {"and" negation}
    negation = "not" negation | "(" expression ")" | NAME

A name matches a case if its identifier, its kind or the name of its dataset contains it, or if it
is the name of the suite, ``suite=NAME``, ``data=NAME``, ``figure=NAME``, ``tag=NAME``, or a tag;
whatever the case of the letters. A number after ``=`` is a whole one: ``width=1`` does not match
``width=10``. A suite's name has to be given in full: otherwise ``not origin`` would select nothing
of the suite ``origin_escape``. This is the language of pytest's option of the same name.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pcbench.suite.expand import IDENTITY, Choice
from pcbench.suite.yaml.document import parse
from pcbench.suite.yaml.problems import Position, SuiteError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Self


class Setting(str):
    """``PATH=VALUE`` that was ``written`` in other words, such as ``--seed 3``."""

    __slots__ = ("written",)
    written: str

    def __new__(cls, path: str, value: object, written: str) -> Self:
        """Make the text of it."""
        # JSON is YAML, where a name with a colon in it stays a name; but not its surrogate pairs.
        setting = super().__new__(cls, f"{path}={json.dumps(value, ensure_ascii=False)}")
        setting.written = written
        return setting


def parse_overrides(texts: Iterable[str]) -> list[Choice]:
    """Read ``PATH=VALUE``, all of them in order; of two with the same path the later holds.

    A value is YAML, as in a suite; its position is the option itself.
    """
    overrides, problems = [], []
    for text in texts:
        try:
            overrides.append(_parse_override(text))
        except SuiteError as error:
            problems.extend(error.problems)
    if problems:
        raise SuiteError(problems)
    return overrides


def _parse_override(text: str) -> Choice:
    at = Position(text.written if isinstance(text, Setting) else f"--set {shlex.quote(text)}")
    key, equals, value = text.partition("=")
    path = tuple(key.strip().split("."))
    if not equals or not all(path):
        raise SuiteError.at(at, "write it as PATH=VALUE, such as network.width=300")
    if path[0] in IDENTITY:
        raise SuiteError.at(at, f"{path[0]!r} cannot be set; it says which case it is, not how")
    node, problems = parse(value, lambda _line, _column: at)
    if node is None:
        raise SuiteError.at(at, f"there is no value; write {'.'.join(path)}=null for none")
    if problems:
        raise SuiteError(problems)
    return path, node


Matcher = Callable[[Collection[str], Collection[str]], bool]
"""Takes the words that a name may be part of, and the words that it may equal."""

MAX_DEPTH = 50  # of parentheses and negations: far more than anybody reads

_TOKEN = re.compile(r"[()]|[^\s()]+")


def parse_selection(expression: str, *, option: str = "-k") -> Matcher:
    """Turn an expression, given by an option, into a test of cases; a blank one selects all."""
    tokens = _TOKEN.findall(expression)
    if not tokens:
        return lambda _parts, _whole: True
    return _Parser(expression, option, [*tokens, ""]).whole()


@dataclass(slots=True)
class _Parser:
    """Recursive descent: a method for each rule above."""

    source: str
    option: str
    tokens: list[str]  # ahead, an empty one at the end
    depth: int = 0

    def accept(self, token: str) -> bool:
        """Whether the token is ahead; if so it is consumed."""
        return self.tokens[0] == token and bool(self.tokens.pop(0))

    def error(self, message: str) -> SuiteError:
        return SuiteError.at(Position(f"{self.option} {shlex.quote(self.source)}"), message)

    def whole(self) -> Matcher:
        matcher = self.expression()
        if self.tokens[0]:
            raise self.error(f"'and' or 'or' is missing before {self.tokens[0]!r}")
        return matcher

    def expression(self) -> Matcher:
        operands = [self.conjunction()]
        while self.accept("or"):
            operands.append(self.conjunction())
        return lambda parts, whole: any(each(parts, whole) for each in operands)

    def conjunction(self) -> Matcher:
        operands = [self.negation()]
        while self.accept("and"):
            operands.append(self.negation())
        return lambda parts, whole: all(each(parts, whole) for each in operands)

    def negation(self) -> Matcher:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.error(f"more than {MAX_DEPTH} parentheses and 'not' within each other")
        if self.accept("not"):
            matcher = _inverse(self.negation())
        elif self.accept("("):
            matcher = self.expression()
            if not self.accept(")"):
                raise self.error("a ')' is missing")
        else:
            matcher = self.name()
        self.depth -= 1
        return matcher

    def name(self) -> Matcher:
        if self.tokens[0] in ("and", "or", "not", "(", ")", ""):
            before = repr(self.tokens[0]) if self.tokens[0] else "the end"
            raise self.error(f"a name is missing before {before}")
        sought = self.tokens.pop(0).casefold()
        ends = r"(?![\d.]|e[-+]?\d)" if "=" in sought and sought[-1].isdigit() else ""
        part = re.compile(re.escape(sought) + ends)
        return lambda parts, whole: (
            any(part.search(word.casefold()) for word in parts)
            or any(sought == word.casefold() for word in whole)
        )


def _inverse(matcher: Matcher) -> Matcher:
    return lambda parts, whole: not matcher(parts, whole)
