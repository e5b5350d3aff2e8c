import subprocess
import sys

import pytest

from pcbench.suite import OutlinedCase
from tests.helpers.toy_suites import outline


def test_an_outline_lists_what_loading_makes(write, load):
    text = """\
suite: s
description: What it asks
defaults: {data: digits}
cases:
  - {id: a, kind: toy, matrix: {network.widths: [[5], [5, 5]], seed: [0, 1]}}
  - {id: b, kind: ordered}
"""
    found = outline(write(text))
    suite = load(text)
    assert (found.name, found.description) == (suite.name, suite.description)
    assert found.name == "s"
    assert found.description == "What it asks"
    assert found.path == suite.path
    assert found.cases == tuple(OutlinedCase(case.id, case.kind) for case in suite.cases)
    assert found.cases[1].id == "a[widths=5,seed=1]"


def test_an_outline_needs_no_kinds(write):
    found = outline(write("suite: s\ncases: [{id: a, kind: unheard-of}]"))
    assert found.cases == (OutlinedCase("a", "unheard-of"),)


def test_an_outline_imports_nothing_heavy(write):
    path = write("suite: s\ncases: [{id: a, kind: zero_rank_saddle, data: mnist1d}]")
    code = (
        "import sys; from pcbench.suite import outlines; outlines(sys.argv[1:]); "
        "print(*sorted({name.split('.')[0] for name in sys.modules}))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, path], capture_output=True, text=True, check=True
    )
    imported = set(run.stdout.split())
    assert {"yaml", "pcbench"} <= imported
    assert not imported & {"pydantic", "numpy", "scipy", "torch", "rich", "typer"}


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        ("¶[1, 2]", ["a suite is a mapping with 'suite' and 'cases', not a list"]),
        ("¶just text", ["not 'just text'"]),
        ("¶~", ["not null"]),
        ("¶¶description: x", ["lacks 'suite'", "lacks 'cases'"]),
        ("suite: s\n¶case: []\ncases: ¶[]", ["did you mean 'cases'?", "not an empty one"]),
        ("suite: s\ncases: ¶{id: a}", ["'cases' must be a list of at least one case"]),
        ("suite: s\ncases: ¶~", ["not null"]),
        ("suite: ¶3\ncases: [¶x]", ["'suite' must be a string, not 3", "a case is a mapping"]),
        ("suite: ¶a b\ncases: [¶¶{}]", ["made of a-z", "lacks 'id'", "lacks 'kind'"]),
        ("suite: s\ncases: [{id: ¶-a, kind: ¶1}]", ["not begin with", "must be a string"]),
        ("suite: s\ncases: [{id: ¶'', kind: k}]", ["made of a-z"]),
        ("suite: s\ndescription: ¶1\ncases: [{id: a, kind: k}]", ["'description' must be"]),
        ("suite: s\ndefaults: ¶[]\ncases: [{id: a, kind: k}]", ["'defaults' must be a mapping"]),
        (
            "suite: s\ndefaults: {¶id: a, ¶kind: k, ¶matrix: {}, ¶figure: x, ¶sizes: {}}\n"
            "cases: [{id: a, kind: k}]",
            [f"'{key}' belongs to" for key in ("id", "kind", "matrix", "figure", "sizes")],
        ),
    ],
)
def test_a_wrong_layout_is_refused_all_at_once(refuse, text, messages):
    refuse(text, *messages, with_kinds=False)
