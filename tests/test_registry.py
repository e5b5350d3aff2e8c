"""Plug-ins by name: found without being imported, and broken ones break nothing else."""

import sys

import pytest

from pcbench.errors import UsageError
from pcbench.registry import (
    MOST_LISTED,
    BrokenPluginError,
    Registry,
    UnknownNameError,
    did_you_mean,
)

MODULES = {
    "sound_plugin": "class Thing: pass",
    "raising_plugin": "raise RuntimeError('no luck')",
    "leaving_plugin": "raise SystemExit('no GPU')",
}
ENTRIES = """
[pcbench.test]
sound = sound_plugin:Thing
raising = raising_plugin:Thing
leaving = leaving_plugin:Thing
absent = absent_plugin:Thing
lacking = sound_plugin:Other
garbled = no module at all
"""


@pytest.fixture
def registry(tmp_path, monkeypatch):
    """A registry whose plug-ins are those of a package that is installed in a directory."""
    for name, content in MODULES.items():
        (tmp_path / f"{name}.py").write_text(content)
    metadata = tmp_path / "test_plugins-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: test-plugins\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(ENTRIES)
    monkeypatch.syspath_prepend(tmp_path)
    yield Registry("pcbench.test", "gadget")
    for name in MODULES:
        sys.modules.pop(name, None)


def test_names_are_listed_without_importing_anything(registry):
    assert registry.names() == ["absent", "garbled", "lacking", "leaving", "raising", "sound"]
    assert not sys.modules.keys() & MODULES.keys()


def test_a_plugin_is_imported_when_its_name_is_asked_for(registry):
    assert registry.load("sound").__name__ == "Thing"
    assert sys.modules.keys() & MODULES.keys() == {"sound_plugin"}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("raising", "(raising_plugin:Thing) cannot be imported: no luck"),
        ("leaving", "(leaving_plugin:Thing) cannot be imported: no GPU"),
        ("absent", "(absent_plugin:Thing) cannot be imported: No module named 'absent_plugin'"),
        ("lacking", "has no attribute 'Other'"),
        ("garbled", "(no module at all) cannot be imported"),
    ],
)
def test_a_plugin_that_cannot_be_imported_is_named_with_the_reason(registry, name, words):
    with pytest.raises(BrokenPluginError) as caught:
        registry.load(name)
    assert str(caught.value).startswith(f"the gadget {name!r} (")
    assert words in str(caught.value)
    assert isinstance(caught.value, UsageError)


def test_an_unknown_name_is_refused_with_the_nearest(registry):
    with pytest.raises(UnknownNameError, match=r"^unknown gadget 'sond'; did you mean 'sound'\?$"):
        registry.load("sond")


def test_what_is_added_is_found_and_takes_precedence(registry):
    registry.add("sound", int)
    registry.add("own", float)
    assert registry.load("sound") is int
    assert registry.load("own") is float
    assert registry.names().count("sound") == 1
    assert "own" in registry.names()


def test_what_is_added_to_one_registry_is_in_no_other(registry):
    registry.add("own", float)
    assert "own" not in Registry("pcbench.test", "gadget").names()


def test_where_nothing_is_near_all_are_listed_unless_there_are_too_many():
    few = [f"name{n}" for n in range(MOST_LISTED)]
    assert did_you_mean("zzz", reversed(few)) == f"; known: {', '.join(sorted(few))}"
    assert did_you_mean("zzz", [*few, "another"]) == ""
    assert did_you_mean("zzz", []) == ""
