"""Where suites are: a path, or the name of one that comes with pcbench."""

from __future__ import annotations

import os
import pathlib

from pcbench.registry import did_you_mean
from pcbench.suite.yaml.problems import Position, SuiteError

SUFFIXES = (".yaml", ".yml")

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
    """Return the file of a suite.

    Parameters
    ----------
    suite
        A path (anything with a separator or a suffix of YAML), or the name of a shipped suite.

    Raises
    ------
    SuiteError
        If it is a name, and no suite with that name is shipped.
    """
    text = str(suite)
    separators = [separator for separator in (os.sep, os.altsep) if separator]
    if isinstance(suite, pathlib.Path) or any(each in text for each in separators):
        return pathlib.Path(suite)
    if text.endswith(SUFFIXES):
        return pathlib.Path(text)
    shipped = shipped_suites()
    if text not in shipped:
        message = f"no suite of this name comes with pcbench{did_you_mean(text, shipped)}"
        if os.path.isfile(text):
            message = f"this is no suite that comes with pcbench; for the file write ./{text}"
        raise SuiteError.at(Position(text), message)
    return shipped[text]
