"""Find suites; load them with their cases ready to run, or only outline them."""

from __future__ import annotations

import os
import pathlib
import shlex
from contextlib import suppress
from typing import TYPE_CHECKING

from pcbench.registry import DEFAULT_BACKEND, did_you_mean
from pcbench.suite.grammar.layout import MAX_CASES, Layout, check_size, read_layout
from pcbench.suite.grammar.schema import QUICK
from pcbench.suite.grammar.seeds import SEEDS
from pcbench.suite.model import Outline, OutlinedCase, Suite
from pcbench.suite.options import parse_overrides, parse_selection
from pcbench.suite.yaml.problems import Position, Problem, Problems, SuiteError, clip

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pcbench.suite.expand import Choice
    from pcbench.suite.plan import Overridable
    from pcbench.suite.yaml.node import Node


SUFFIXES = (".yaml", ".yml")
MOST_CASES = 1_000_000
"""Of a suite, where many are allowed."""

_PACKAGE = pathlib.Path(__file__).parents[1]
# A wheel holds the suites inside the package; an editable install leaves them beside it.
_DIRECTORIES = (_PACKAGE / "_suites", _PACKAGE.parent / "suites")


def shipped_suites() -> dict[str, pathlib.Path]:
    """Return the suites that come with pcbench, by name, sorted."""
    for directory in _DIRECTORIES:
        if directory.is_dir():
            files = (path for path in directory.iterdir() if path.suffix in SUFFIXES)
            return {path.stem: path for path in sorted(files)}
    return {}


def find_suite(suite: str | pathlib.Path) -> pathlib.Path:
    """Return the file of a suite, from its path or from the name of a shipped one.

    Whatever is a ``Path``, or has a separator or a suffix of YAML, is a path.
    """
    text = str(suite)
    written = any(each in text for each in (os.sep, os.altsep) if each) or text.endswith(SUFFIXES)
    if isinstance(suite, pathlib.Path) or written:
        return pathlib.Path(suite)
    shipped = shipped_suites()
    if text not in shipped:
        message = f"no suite of this name comes with pcbench{did_you_mean(text, shipped)}"
        if os.path.isfile(text):
            message = f"this is no suite that comes with pcbench; for the file write ./{text}"
        raise SuiteError.at(Position(text), message)
    return shipped[text]


def load_suites(
    suites: Iterable[str | pathlib.Path],
    *,
    size: str = QUICK,
    overrides: Sequence[str] = (),
    select: str | None = None,
    allow_large: bool = False,
) -> list[Suite]:
    """Read, expand and validate suites, every size of them.

    ``suites`` are paths, or names of shipped suites; ``size``, ``overrides`` (``PATH=VALUE``) and
    ``select`` are those of ``pcbench run``. Cases that do not have the size are returned as
    written. The selection is by the identifiers that :func:`outlines` gives at this size, so before
    any override; a suite of which it selects nothing is returned without cases, as long as it
    selects something of another. With ``allow_large`` a suite may make over 10,000 cases.

    Raises
    ------
    SuiteError
        With everything that is wrong with any of the suites; or if no case has the size, the
        overrides or the expression are malformed, an override applies to no case, nothing is
        selected, or two suites have one name, since a report could not tell their cases apart.
    """
    # Planning imports pydantic and the case kinds: not for those who only ask for an outline.
    from pcbench.suite.plan import Overridable, plan_suite

    settings = parse_overrides(overrides)
    matches = parse_selection(select or "")
    loaded: list[Suite] = []
    problems, found = Problems(), Overridable()
    for suite in suites:
        try:
            layout = _read_whole(suite, allow_large=allow_large)
        except SuiteError as error:
            problems.extend(error.problems)
            found.whole = False
        else:
            loaded.append(plan_suite(layout, size, settings, matches, found))
            problems.extend(layout.problems)
    nothing = select and not any(suite.cases for suite in loaded)
    if found.whole and not nothing:  # what could not be read might have had the parameter
        problems.extend(_unused(settings, found))
    problems.extend(_same_names(loaded))
    if problems:
        raise SuiteError(problems)
    check_size(size, (each for suite in loaded for each in suite.sizes))
    if select and nothing:
        message = "no case matches; 'pcbench list SUITE' shows their identifiers and kinds"
        raise SuiteError.at(Position(f"-k {shlex.quote(select)}"), message)
    return loaded


def outlines(
    suites: Iterable[str | pathlib.Path], *, size: str = QUICK, allow_large: bool = False
) -> list[Outline]:
    """Read and expand suites, as :func:`load_suites`, but import neither pydantic nor any kind."""
    found = []
    for layout in (_read_whole(suite, allow_large=allow_large) for suite in suites):
        if layout.problems:
            raise SuiteError(layout.problems)
        cases = tuple(
            OutlinedCase(variant.id, entry.kind, entry.figure)
            for part in layout.parts
            for entry in part.cases
            for variant in entry.at(size)[1].variants(entry.id)
        )
        found.append(Outline(layout.name, layout.description, cases, layout.path, layout.sizes))
    check_size(size, (each for suite in found for each in suite.sizes))
    return found


def likely_backends(
    suites: Iterable[str | pathlib.Path], overrides: Sequence[str]
) -> dict[str, None]:
    """Return the backends that suites name, as far as can be told without planning them.

    None where a suite or an override is not valid, as planning says, or can be read only once.
    """
    with suppress(SuiteError):
        if not all(os.path.isfile(find_suite(suite)) for suite in suites):
            return {}
        chosen = [value.value for path, value in parse_overrides(overrides) if path == ("backend",)]
        parts = [part for suite in suites for part in _read(find_suite(suite)).parts]
        named = [
            node.value
            if (node := entry.tree.over(part.defaults).get("backend"))
            else DEFAULT_BACKEND
            for part in parts
            for entry in part.cases
        ]
        return {name: None for name in chosen[-1:] or named if isinstance(name, str)}
    return {}


MOST_LEVELS = 20  # of suites that include each other


def _read_whole(suite: str | pathlib.Path, *, allow_large: bool) -> Layout:
    """Read a suite and what it includes, unless it makes too many cases."""
    layout = _read(find_suite(suite))
    most, total = MOST_CASES if allow_large else MAX_CASES, 0
    more = "" if allow_large else ", or give --allow-large to run, list or validate"
    for case in (case for part in layout.parts for case in part.cases):
        total += case.count
        if total > most:
            message = f"with this case the suite makes over {most:,} cases; split it{more}"
            raise SuiteError([*layout.problems, Problem(case.tree.at, message)])
    return layout


def _read(
    path: pathlib.Path,
    above: tuple[pathlib.Path, ...] = (),
    known: set[pathlib.Path] | None = None,
) -> Layout:
    """Read a suite and what it includes, each file once.

    ``above`` are the suites that include it, and ``known`` all that were read.
    """
    layout, above = read_layout(path), (*above, path.resolve())
    known = set() if known is None else known
    for node in layout.includes:
        try:
            found = _find_included(node, path, above)
            if found.resolve() not in known:
                known.add(found.resolve())
                layout.include(_read(found, above, known))
        except SuiteError as error:
            layout.problems.extend(error.problems)
    return layout


def _find_included(
    node: Node, including: pathlib.Path, above: Sequence[pathlib.Path]
) -> pathlib.Path:
    name = node.value
    if not isinstance(name, str) or not name:
        message = f"'include' must name files or suites, not {node.shown()}"
        raise SuiteError.at(node.at, message)
    try:
        found = including.parent / find_suite(name)
    except SuiteError as error:
        raise SuiteError.at(node.at, error.problems[0].message) from None
    if not os.path.isfile(found):
        raise SuiteError.at(node.at, f"there is no file {clip(str(found))}; check the path")
    if len(above) >= MOST_LEVELS:
        message = f"suites include each other over more than {MOST_LEVELS} levels; flatten them"
        raise SuiteError.at(node.at, message)
    if found.resolve() in above:
        way = " includes ".join(each.name for each in (*above, found))
        raise SuiteError.at(node.at, f"a suite cannot include itself: {way}")
    return found


def _same_names(suites: Sequence[Suite]) -> Problems:
    first: dict[str, Suite] = {}
    problems = Problems()
    for suite in suites:
        other = first.setdefault(suite.name, suite)
        if suite is other or not suite.name:  # a name that is missing is noted already
            continue
        message = (
            f"its name {suite.name!r} is also that of {other.path}; rename one of them, or run "
            "them one by one"
        )
        if suite.path.resolve() == other.path.resolve():
            message = "the suite is given twice; give it once"
        problems.note(Position(str(suite.path)), message)
    return problems


def _unused(overrides: Iterable[Choice], found: Overridable) -> Problems:
    known = {".".join(path) for path in found.paths}
    problems = Problems()
    for path, value in overrides:
        if path in found.applied:
            continue
        name, whole = ".".join(path), ".".join(path[:-1])
        message = f"no case has the parameter {name!r}{did_you_mean(name, known)}"
        if name == SEEDS:
            message = "seeds are counted in the suite; run another one with --seed"
        elif name in known:
            message = (
                f"{name!r} is a part of {whole!r}, which no case writes; set that as a whole: "
                f"{whole}={{…}}"
            )
        problems.note(value.at, message)
    return problems
