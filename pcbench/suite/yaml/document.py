"""Read a file into a tree of values with their positions, whatever the file holds.

A suite may come from anywhere, so nothing here trusts it: size, nesting and the number of values
are bounded (an alias costs a few bytes and can stand for billions of values), and only plain data
is constructed. PyYAML says what its scanner was doing (``while parsing a block mapping ... did not
find expected key``); the author of a suite wants to know what to change.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import yaml
from yaml.composer import Composer
from yaml.error import MarkedYAMLError

from pcbench.suite.yaml.node import Node, Yaml12Loader, read_scalar, refusal
from pcbench.suite.yaml.problems import Position, Problem, Problems, SuiteError

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Callable

    from yaml import YAMLError

    # Turns a line and a column, both from 0, into a position.
    Place = Callable[[int, int], Position]


MAX_BYTES = 1_000_000
MAX_DEPTH = 50
MAX_VALUES = 50_000  # after every alias is expanded
MERGE = "<<"
"""The key whose value is merged beneath a mapping: not of YAML 1.2, and understood everywhere."""

# What YAML 1.1 and 1.2 let a file contain (section 5.1 of both).
_NOT_PRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def read_document(path: pathlib.Path) -> tuple[Node, Problems]:
    """Read a suite file: its outermost value, and what does not keep the rest from being read.

    The latter are doubled keys, and keys that are not strings.
    """
    whole = Position(str(path))
    text = _decode(_read(path, whole), whole)
    lines = text.splitlines() or [""]

    def place(line: int, column: int) -> Position:
        if line >= len(lines):  # libyaml puts the end of the file on a line of its own
            line, column = len(lines) - 1, len(lines[-1])
        return Position(whole.file, line + 1, column + 1)

    root, problems = parse(text, place)
    if root is None:
        raise SuiteError.at(whole, "the file is empty; a suite has at least 'suite' and 'cases'")
    return root, problems


def parse(text: str, place: Place) -> tuple[Node | None, Problems]:
    """Parse a YAML document; the value is ``None`` if there is nothing but comments.

    ``place`` turns a line and a column, both from 0, into a position.
    """
    unprintable = _NOT_PRINTABLE.search(text)
    if unprintable:
        at = place(*_line_and_column(text[: unprintable.start()]))
        message = f"the character {unprintable[0]!r} cannot stand in YAML; is this a binary file?"
        raise SuiteError.at(at, message)
    try:
        top = _Composer(text, place).get_single_node()
    except yaml.YAMLError as error:
        raise SuiteError([malformed(error, text, place)]) from None
    if top is None:
        return None, Problems()
    builder = _Builder(place)
    root = builder.build(top)
    if builder.refused:
        raise SuiteError([*builder.refused, *builder.problems])
    return root, builder.problems


def _read(path: pathlib.Path, whole: Position) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise SuiteError.at(whole, "there is no such file; check the path") from None
    except IsADirectoryError:
        raise SuiteError.at(whole, "this is a directory; name a suite file in it") from None
    except OSError as error:
        raise SuiteError.at(whole, f"the file cannot be read: {error.strerror}") from None
    except ValueError as error:  # a null character in the path
        raise SuiteError.at(whole, f"the path is not valid: {error}") from None
    if len(content) > MAX_BYTES:
        message = f"the file is larger than {MAX_BYTES:,} bytes; split it into several suites"
        raise SuiteError.at(whole, message)
    return content


def _decode(content: bytes, whole: Position) -> str:
    if b"\0" in content:
        raise SuiteError.at(whole, "the file is not UTF-8 text (it holds null bytes); save it so")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8-sig")
        line, column = _line_and_column(before)
        raise SuiteError.at(
            Position(whole.file, line + 1, column + 1),
            f"byte 0x{content[error.start]:02x} is not UTF-8; save the file as UTF-8",
        ) from None


def _line_and_column(before: str) -> tuple[int, int]:
    """Line and column, from 0, of what follows a text."""
    lines = f"{before}.".splitlines()
    return len(lines) - 1, len(lines[-1]) - 1


class _Composer(Composer, Yaml12Loader):
    """PyYAML's composer, bounded; and an anchor may be redefined, as YAML lets it be (7.1)."""

    def __init__(self, text: str, place: Place) -> None:
        Yaml12Loader.__init__(self, text)
        Composer.__init__(self)
        self._place = place
        self._depth = self._values = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Compose the next value, unless there are too many or it is too deep."""
        event = self.peek_event()
        assert isinstance(event, yaml.NodeEvent)  # for the type checker: nothing else comes here
        self._values += 1
        depth = self._depth + isinstance(event, yaml.CollectionStartEvent)
        _check_limits(depth, self._values, event, self._place)
        if event.anchor and not isinstance(event, yaml.AliasEvent):
            self.anchors.pop(event.anchor, None)  # the composer refuses to define one again
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


def _check_limits(depth: int, values: int, parsed: yaml.Event | yaml.Node, place: Place) -> None:
    if depth > MAX_DEPTH:
        message = f"values are nested more than {MAX_DEPTH} deep here; flatten them"
        raise SuiteError.at(_start(parsed, place), message)
    if values > MAX_VALUES:
        message = f"there are over {MAX_VALUES:,} values, aliases expanded; split it, or use fewer"
        raise SuiteError.at(_start(parsed, place), message)


def _start(parsed: yaml.Event | yaml.Node, place: Place) -> Position:
    mark = parsed.start_mark
    assert mark is not None  # for the type checker: PyYAML marks whatever it parses
    return place(mark.line, mark.column)


@dataclass(slots=True)
class _Builder:
    """Constructs plain data from PyYAML's nodes."""

    place: Place
    # What was passed over: the first of two equal keys is kept, other keys are left out.
    problems: Problems = field(default_factory=Problems)
    # What leaves a hole in the data, so that there is no point in looking further.
    refused: Problems = field(default_factory=Problems)
    _values: int = 0
    _around: list[yaml.Node] = field(default_factory=list)  # the collections being built

    def build(self, node: yaml.Node, key_at: Position | None = None) -> Node:
        at = _start(node, self.place)
        if any(node is outer for outer in self._around):
            raise SuiteError.at(at, "this value contains itself through an alias; write it out")
        self._values += 1
        # Once more: an alias can lie deep and hold deep data, and stands for all its values.
        _check_limits(len(self._around), self._values, node, self.place)
        if isinstance(node, yaml.ScalarNode):
            try:
                return Node(read_scalar(node.tag, node.value), at, key_at)
            except ValueError as error:
                self.refused.note(at, str(error))
                return Node(None, at, key_at)
        self._around.append(node)
        value: list[Node] | dict[str, Node]
        if isinstance(node, yaml.MappingNode):
            value, due = self._mapping(node), Yaml12Loader.DEFAULT_MAPPING_TAG
        else:
            value = [self.build(entry) for entry in node.value]
            due = Yaml12Loader.DEFAULT_SEQUENCE_TAG
        self._around.pop()
        if node.tag != due:
            self.refused.note(at, refusal(node.tag))
        return Node(value, at, key_at)

    def _mapping(self, node: yaml.MappingNode) -> dict[str, Node]:
        mapping: dict[str, Node] = {}
        beneath: list[dict[str, Node]] = []  # what is merged; a mapping's own keys win
        merge_at: Position | None = None
        for key, value in node.value:
            at = _start(key, self.place)
            name = self._key(key, at)
            if name == MERGE and not key.style:  # in quotes it is a key like any other
                if merge_at:
                    message = f"the key '<<' is already given at {merge_at}; merge a list"
                    self.problems.note(at, message)
                merge_at = at
                beneath += self._merged(value)
            elif name in mapping:
                first = mapping[name].key_at
                message = f"the key {name!r} is already given at {first}; keep one of them"
                self.problems.note(at, message)
            elif name is not None:
                mapping[name] = self.build(value, at)
        for key, value in (item for merged in beneath for item in merged.items()):
            mapping.setdefault(key, value)
        return mapping

    def _merged(self, node: yaml.Node) -> list[dict[str, Node]]:
        """Return the mappings that ``<<`` merges: one, or a list of which the first wins."""
        built = self.build(node)
        each = built.value if isinstance(built.value, list) else [built]
        found = []
        for one in each:
            if isinstance(one.value, dict):
                found.append(one.value)
            else:
                message = f"'<<' merges a mapping, or a list of mappings, not {one.shown()}"
                self.problems.note(one.at, message)
        return found

    def _key(self, node: yaml.Node, at: Position) -> str | None:
        """Return a key, or ``None`` with the problem noted."""
        key = self.build(node)
        if isinstance(key.value, str):
            return key.value
        self.problems.note(at, f"a key must be a string, not {key.shown()}; put it in quotes")
        return None


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
    ("another document", "a second document starts here; a suite file holds only one"),
    ("escape", "an unknown escape in double quotes; double the backslash, or use single quotes"),
    ("node content", "a value is missing here"),
    ("<document start>", "nothing may follow the end of the suite; check brackets and quotes"),
    ("expected key", "this does not fit the block at {start}; check indentation and quotes"),
    ("'-' indicator", "this does not fit the block at {start}; check indentation and quotes"),
    ("<block end>", "this does not fit the block at {start}; check indentation and quotes"),
)


def malformed(error: YAMLError, text: str, place: Place) -> Problem:
    """Translate an error of PyYAML's scanner, parser or composer, which was reading the text."""
    if not isinstance(error, MarkedYAMLError) or error.problem_mark is None:
        return Problem(place(0, 0), f"this is not valid YAML ({error})")
    mark, problem = error.problem_mark, error.problem or "no reason given"
    start = error.context_mark or mark
    at = place(mark.line, mark.column)
    if "cannot start any token" in problem:
        line = (text.splitlines()[mark.line :] or [""])[0]
        character = line[mark.column : mark.column + 1]
        if character == "\t":
            return Problem(at, "a tab cannot indent YAML; use spaces")
        return Problem(at, f"a value cannot start with {character!r}; put it in quotes")
    for part, sentence in _SENTENCES:
        if part in problem:
            return Problem(at, sentence.format(start=f"{start.line + 1}:{start.column + 1}"))
    return Problem(at, f"this is not valid YAML ({problem})")
