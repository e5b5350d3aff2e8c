"""What the command line says of cases: ``--set PATH=VALUE``, and ``-k EXPR`` to select some.

    expression = conjunction {"or" conjunction}
    conjunction = negation {"and" negation}
    negation = "not" negation | "(" expression ")" | NAME

A name matches a case if its identifier, its kind or the name of its dataset contains it, or if it
is the name of the suite, ``suite=NAME``, ``data=NAME`` or ``figure=NAME``; whatever the case of the
letters. A number after ``=`` is a whole one: ``width=1`` does not match ``width=10``. A suite's
name has to be given in full: otherwise ``not origin`` would select nothing of the suite
``origin_escape``. This is the language of pytest's option of the same name.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from pcbench.suite.expand import IDENTITY
from pcbench.suite.yaml.document import parse
from pcbench.suite.yaml.node import Node, Path, dotted, split
from pcbench.suite.yaml.problems import Position, SuiteError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Self


@dataclass(frozen=True, slots=True)
class Override:
    """A parameter's new value; its position is the option itself."""

    path: Path
    value: Node


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


def parse_override(text: str) -> Override:
    """Read ``PATH=VALUE``; the value is YAML, as in a suite."""
    at = Position(text.written if isinstance(text, Setting) else f"--set {shlex.quote(text)}")
    key, equals, value = text.partition("=")
    path = split(key.strip())
    if not equals or not all(path):
        raise SuiteError.at(at, "write it as PATH=VALUE, such as network.width=300")
    if path[0] in IDENTITY:
        raise SuiteError.at(at, f"{path[0]!r} cannot be set; it says which case it is, not how")
    document = parse(value, lambda _line, _column: at)
    if document.root is None:
        raise SuiteError.at(at, f"there is no value; write {dotted(path)}=null for none")
    if document.problems:
        raise SuiteError(document.problems)
    return Override(path, document.root)


def parse_overrides(texts: Iterable[str]) -> list[Override]:
    """Read all of them, in order; of two with the same path the later holds."""
    overrides, problems = [], []
    for text in texts:
        try:
            overrides.append(parse_override(text))
        except SuiteError as error:
            problems.extend(error.problems)
    if problems:
        raise SuiteError(problems)
    return overrides


Matcher = Callable[[Collection[str], Collection[str]], bool]
"""Takes the words that a name may be part of, and the words that it may equal."""

MAX_DEPTH = 50  # of parentheses and negations: far more than anybody reads

_TOKEN = re.compile(r"[()]|[^\s()]+")
_OPERATORS = ("and", "or", "not", "(", ")")


def parse_selection(expression: str, *, option: str = "-k") -> Matcher:
    """Turn an expression, given by an option, into a test of cases; a blank one selects all."""
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
        return self.joined("or", self.conjunction, any)

    def conjunction(self) -> Matcher:
        return self.joined("and", self.negation, all)

    def joined(
        self,
        operator: str,
        operand: Callable[[], Matcher],
        combine: Callable[[Iterable[bool]], bool],
    ) -> Matcher:
        operands = [operand()]
        while self.accept(operator):
            operands.append(operand())
        return lambda parts, whole: combine(each(parts, whole) for each in operands)

    def negation(self) -> Matcher:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.error(f"more than {MAX_DEPTH} parentheses and 'not' within each other")
        if self.accept("not"):
            matcher: Matcher = partial(_fails, self.negation())
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
        ends = r"(?![\d.]|e[-+]?\d)" if "=" in sought and sought[-1].isdigit() else ""
        part = re.compile(re.escape(sought) + ends)
        return lambda parts, whole: (
            any(part.search(word.casefold()) for word in parts)
            or any(sought == word.casefold() for word in whole)
        )


def _fails(matcher: Matcher, parts: Collection[str], whole: Collection[str]) -> bool:
    return not matcher(parts, whole)
