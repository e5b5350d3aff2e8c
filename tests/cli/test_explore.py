"""The commands that only tell: list, show, validate, schema, doctor, --version, -h."""

import json
import re
import sys
from typing import ClassVar

import jsonschema
import pytest
import yaml
from pydantic import Field

from pcbench import __version__, registry
from pcbench.case import Case, CaseParameters
from pcbench.report import report_schema
from pcbench.suite import shipped_suites
from tests.helpers.toy_suites import ENERGY, outline, write_suite

COMMANDS = ("run", "list", "show", "validate", "compare", "audit", "schema", "doctor")


def test_the_version_is_printed(invoke):
    done = invoke("--version")
    assert (done.code, done.out) == (0, f"pcbench {__version__}\n")


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_names_every_command(invoke, option):
    done = invoke(option)
    assert done.code == 0
    for command in COMMANDS:
        assert re.search(rf"│ {command} +[A-Z]", done.out)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(invoke, command):
    done = invoke(command, "-h")
    assert done.code == 0
    assert f"Usage: pcbench {command}" in done.out


def test_list_names_suites_and_plugins(invoke):
    out = invoke("list").out
    for name in (*shipped_suites(), *registry.CASES.names(), *registry.DATASETS.names(), "torch"):
        assert re.search(rf"^  (.*, )?{re.escape(name)}\b", out, re.MULTILINE)


def test_list_of_a_suite_gives_its_concrete_cases_with_their_kinds(invoke):
    lines = invoke("list", "theory").out.splitlines()
    cases = outline(shipped_suites()["theory"]).cases
    assert lines == [f"{case.id}  {case.kind}" for case in cases]
    assert "origin-2d[widths=5x5]  origin_hessian" in lines


def test_list_with_a_selection_tells_what_it_selects_of_how_many(invoke, suite):
    done = invoke("list", suite, "theory", "-k", "energy and data=toy_gaussian and not mnist1d")
    assert done.code == 0
    lines = done.out.splitlines()
    assert lines[0] == "energy  equilibrated_energy  suite toy"
    total = 1 + len(outline(shipped_suites()["theory"]).cases)
    assert done.err.endswith(f"selects {len(lines)} of {total} cases\n")


def test_list_of_several_suites_prints_nothing_if_one_of_them_is_wrong(invoke, suite):
    assert invoke("list", suite, suite).out == "energy  equilibrated_energy\n" * 2
    done = invoke("list", suite, "theroy")
    assert (done.code, done.out) == (2, "")
    assert "did you mean 'theory'?" in done.err


def test_show_resolves_a_case(invoke, suite):
    done = invoke("show", "energy", "--suite", suite, "--set", "network.width=3")
    assert done.code == 0
    heading, description, *_ = done.out.splitlines()
    assert heading == "energy (suite toy)"
    assert "Theorem 1" in description
    settled = yaml.safe_load(done.out.split("\n\n", 1)[1])
    assert settled["network"]["width"] == 3
    assert settled["inference"] == {"engine": "exact"}
    assert (settled["seed"], settled["backend"]) == (0, "torch")


def test_show_finds_a_case_of_the_shipped_suites(invoke):
    done = invoke("show", "origin-2d[widths=5x5]")
    assert done.out.startswith("origin-2d[widths=5x5] (suite theory)\n")
    assert "widths: [5, 5]" in done.out


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("origin-3", "did you mean 'origin-3d'?"),
        ("tanhh", "did you mean 'tanh'?"),
        ("origin_hesian", "did you mean 'origin_hessian'?"),
        ("zzz", "'pcbench list SUITE' shows its cases"),
    ],
)
def test_show_of_an_unknown_case_offers_the_nearest(invoke, name, words):
    done = invoke("show", name)
    assert (done.code, done.out) == (2, "")
    assert done.err == f"no suite has a case {name!r}; {words}\n"


def test_show_explains_the_parameters_of_a_kind(invoke):
    out = invoke("show", "equilibrated_energy").out
    assert out.startswith("equilibrated_energy: energy, weight gradients and activities")
    assert re.search(r"^  data \(required\)$", out, re.MULTILINE)
    assert re.search(r"^    steps = 100: 0 checks the initial weights alone\.$", out, re.MULTILINE)


def test_show_of_a_kind_writes_defaults_as_yaml_and_lists_choices_and_datasets(invoke):
    out = invoke("show", "inference_cost").out
    assert "None" not in out
    assert "False" not in out
    assert "preset = null (one of paper, null): A published schedule." in out
    assert "bias = false: Whether layers have biases." in out
    assert "activation = identity (one of identity, tanh, relu, leaky_relu, silu): φ" in out
    assert "Signals of 40 points" in out
    assert "name = low_rank_matrix" in out


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("mnist", ["Handwritten digits", "split = train (one of train, test)"]),
        ("exact", ["equilibrium of a linear network in closed form", "engine = exact"]),
        ("ode", ["Runge-Kutta", "atol = null: Absolute"]),
        ("tanh", ["a choice of 'activation', beside identity", "\ntanh (suite escape_law)\n"]),
        ("near_origin", ["std = 0.005: σ"]),
        ("adam", ["optimiser = adam"]),
        ("torch", ["a backend"]),
    ],
)
def test_show_explains_a_choice(invoke, name, words):
    done = invoke("show", name)
    assert done.code == 0
    assert all(each in done.out for each in words)


def test_show_of_an_id_as_it_stands_in_the_suite_lists_its_cases_and_resolves_one(invoke):
    done = invoke("show", "origin-2d")
    assert done.code == 0
    heading, *members = done.out.splitlines()[:3]
    assert heading == "origin-2d stands for 2 cases"
    assert members == ["  origin-2d[widths=10]", "  origin-2d[widths=5x5]"]
    assert "\norigin-2d[widths=10] (suite theory)\n" in done.out


class Branches(CaseParameters):
    name: str = "root"
    within: "list[Branches]" = Field([])


class Recursive(Case[Branches]):
    kind: ClassVar = "recursive"
    description: ClassVar = "Parameters within parameters"
    Parameters: ClassVar = Branches

    def run(self, context):
        yield from ()


def test_show_ends_where_a_model_contains_itself(invoke, monkeypatch):
    monkeypatch.setitem(registry.CASES._added, "recursive", Recursive)
    assert invoke("show", "recursive").out.splitlines()[3:] == [
        "  name = root",
        "  within",
        "    ... as above",
    ]


def test_what_is_registered_as_a_kind_and_is_none_is_named(invoke, monkeypatch):
    monkeypatch.setitem(registry.CASES._added, "impostor", dict)
    done = invoke("show", "impostor")
    assert done.code == 2
    assert "'impostor' is <class 'dict'>, not a subclass of Case" in done.err


def test_validate_tells_of_every_suite_how_many_cases_it_has(invoke, suite):
    done = invoke("validate", suite, "theory")
    assert done.code == 0
    first, second = done.out.splitlines()
    assert first == f"{suite}: valid, 1 case"
    assert re.fullmatch(r".*theory\.yaml: valid, \d+ cases", second)


def test_validate_with_a_selection_tells_what_it_selects_of_how_many(invoke):
    done = invoke("validate", "theory", "nonlinear", "-k", "origin")
    counts = [int(line.split("valid, ")[1].split()[0]) for line in done.out.splitlines()]
    assert len(counts) == 2
    assert done.err.startswith(f"-k origin selects {sum(counts)} of ")


def test_validate_refuses_what_run_would_refuse(invoke, tmp_path):
    path = write_suite(tmp_path / "suite.yaml", ENERGY.replace("width: 4", "width: 0"))
    done = invoke("validate", path)
    assert (done.code, done.out) == (2, "")
    assert re.match(rf"{re.escape(str(path))}:3:\d+: .*must be greater than 0", done.err)


def test_schema_prints_the_schema_of_a_report(invoke):
    assert json.loads(invoke("schema", "report").out) == report_schema()


def test_schema_prints_a_schema_that_a_suite_satisfies(invoke, suite):
    schema = json.loads(invoke("schema", "suite").out)
    validator = jsonschema.Draft202012Validator(schema)
    document = yaml.safe_load(suite.read_text(encoding="utf-8"))
    assert validator.is_valid(document)
    document["cases"][0]["kidn"] = document["cases"][0].pop("kind")
    assert not validator.is_valid(document)


def test_schema_of_anything_else_is_refused(invoke):
    done = invoke("schema", "network")
    assert done.code == 2
    assert "'network' is not one of 'suite'" in done.err


def test_answers_reach_a_pipe_that_lacks_their_letters(invoke, monkeypatch, tmp_path):
    file = tmp_path / "pipe"
    with file.open("w", encoding="latin-1") as pipe:
        monkeypatch.setattr("sys.stdout", pipe)
        assert invoke("show", "equilibrated_energy").code == 0
    assert r"\u0394t, in units of" in file.read_text(encoding="latin-1")


# doctor


@pytest.fixture
def examined(invoke, monkeypatch):
    """Let the doctor look for data in one place only, and return what it says."""

    def examined(folder):
        monkeypatch.setenv("PCBENCH_DATA", str(folder))
        done = invoke("doctor")
        assert done.code == 0, done.err
        return done.out

    return examined


def test_doctor_tells_of_versions_devices_and_libraries(examined, tmp_path):
    out = examined(tmp_path)
    for start in (f"pcbench    {__version__}", "python     3", "torch      ", "  cpu   ", "  cuda"):
        assert re.search(f"^{re.escape(start)}", out, re.MULTILINE), start
    assert re.search(r"^  openblas .* threads", out, re.MULTILINE)


def test_doctor_tells_which_datasets_were_found_and_where(examined, tmp_path):
    (tmp_path / "mnist").mkdir()
    for name in ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"):
        (tmp_path / "mnist" / name).touch()
    out = examined(tmp_path)
    assert f"datasets (looked for in {tmp_path} or " in out
    assert f"  mnist test: {tmp_path / 'mnist' / 't10k-images-idx3-ubyte'}\n" in out
    assert "  toy_gaussian: needs no files\n" in out


def test_doctor_examines_the_rest_where_the_data_directory_is_wrong(examined, tmp_path):
    out = examined(tmp_path / "absent")
    assert "PCBENCH_DATA is " in out
    assert re.search(r"^  backends: .*\btorch\b", out, re.MULTILINE)


def test_doctor_examines_the_rest_where_torch_cannot_be_imported(examined, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    out = examined(tmp_path)
    assert "torch cannot be imported" in out
    assert "  toy_gaussian: needs no files\n" in out
