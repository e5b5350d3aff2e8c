"""pcbench from Python: the same report as an object, and plug-ins that are one class each."""

import pytest

import pcbench
from pcbench import registry
from pcbench.runner import Observer, Workers
from tests.helpers.command_line import OUTSIDE
from tests.helpers.command_line import pcbench as command_line
from tests.helpers.example_plugins import LinearNetwork, LossAtOrigin, PlainNumpy, Ramp
from tests.helpers.toy_suites import ENERGY, ON_CIFAR10, ORIGIN, SIZED, UNFINISHED, write_suite


@pytest.fixture(autouse=True)
def nothing_outside(monkeypatch):
    for name in OUTSIDE:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def suite(tmp_path):
    return write_suite(tmp_path / "suite.yaml", ENERGY, ORIGIN)


def verdicts(report):
    """Return all of a report but what no two runs have in common."""
    return report.model_copy(
        update={
            "created": "",
            "duration_s": None,
            "environment": report.environment.model_copy(update={"command": "", "load": None}),
            "cases": [
                case.model_copy(
                    update={"duration_s": 0.0, "timings": [t.name for t in case.timings]}
                )
                for case in report.cases
            ],
        }
    )


# The report


def test_run_returns_the_report_that_the_command_line_writes(tmp_path):
    suite = write_suite(tmp_path / "suite.yaml", ENERGY, UNFINISHED, ON_CIFAR10)
    options = ("--set", "data.samples=16", "--seed", 3, "--json", tmp_path / "report.json")
    assert command_line("run", suite, *options).returncode == 1
    written = pcbench.read_report(tmp_path / "report.json")
    returned = pcbench.run(suite, settings={"data.samples": 16}, seed=3, executor=Workers())
    assert verdicts(returned) == verdicts(written)
    assert [case.status for case in returned.cases] == ["passed", "failed", "skipped"]


def test_run_is_silent(suite, capfd):
    pcbench.run(suite)
    assert capfd.readouterr() == ("", "")


def test_run_takes_a_shipped_suite_by_name_and_several_suites_at_once(suite):
    report = pcbench.run("theory", str(suite), select="origin and not data and not widths")
    assert report.suite == "theory + toy"
    assert [case.id for case in report.cases][-1] == "origin"
    assert "origin-3d" in [case.id for case in report.cases]


def test_settings_are_a_mapping_or_a_list(suite):
    reports = [
        pcbench.run(suite, settings=settings)
        for settings in (
            {"training.steps": 1, "data": {"name": "toy_gaussian", "samples": 5, "dimension": 2}},
            ["training.steps=1", "data={name: toy_gaussian, samples: 5, dimension: 2}"],
        )
    ]
    assert verdicts(reports[0]) == verdicts(reports[1])
    energy, origin = reports[0].cases
    assert energy.parameters["training"]["steps"] == 1
    assert origin.parameters["data"]["samples"] == 5


def test_overrides_hold_for_all_cases(suite):
    report = pcbench.run(suite, dtype="float32", seed=5, backend="torch", device="cpu")
    assert {(case.dtype, case.seed) for case in report.cases} == {("float32", 5)}
    assert list(report.environment.backends) == ["torch cpu float32"]


def test_select_chooses_cases(suite):
    assert [case.id for case in pcbench.run(suite, select="origin").cases] == ["origin"]


def test_a_size_is_run_where_cases_have_it_and_the_report_says_so(tmp_path):
    suite = write_suite(tmp_path / "suite.yaml", SIZED, ORIGIN)
    assert pcbench.run(suite).size == "quick"
    report = pcbench.run(suite, size="full")
    assert report.size == "full"
    assert [(case.id, case.figure) for case in report.cases] == [
        ("sized[widths=2]", "5"),
        ("sized[widths=4x4]", "5"),
        ("origin", ""),
    ]
    assert [case.parameters["data"]["samples"] for case in report.cases] == [16, 16, 8]


def test_an_observer_is_told(suite):
    class Listener(Observer):
        finished = ()

        def case_finished(self, result):
            self.finished += (result.id,)

    listener = Listener()
    pcbench.run(suite, observer=listener)
    assert listener.finished == ("energy", "origin")


# What is wrong is raised, at the argument that it is in


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"select": "nothing"}, "no case matches"),
        ({"size": "full"}, "no case has this size; there is only quick"),
        ({"backend": "troch"}, "backend='troch': unknown backend 'troch'; did you mean 'torch'?"),
        ({"backend": "a: b"}, "unknown backend 'a: b'"),
        ({"backend": "\N{GRINNING FACE}"}, "unknown backend '\N{GRINNING FACE}'"),
        ({"device": "gpu"}, "'gpu' is not a device"),
        ({"dtype": "float16"}, "dtype='float16': 'dtype' must be 'float32' or 'float64'"),
        ({"seed": -1}, "seed=-1: 'seed' must be an integer of at least 0"),
        ({"seed": True}, "'seed' must be an integer of at least 0"),
        ({"settings": {"training.step": 1}}, "settings={'training.step': 1}: no case has"),
        ({"settings": {"training.steps": "few"}}, "settings={'training.steps': 'few'}: "),
        ({"settings": ["training.steps"]}, "write it as PATH=VALUE"),
    ],
)
def test_a_wrong_option_raises_a_usage_error(suite, options, words):
    with pytest.raises(pcbench.UsageError) as caught:
        pcbench.run(suite, **options)
    assert words in str(caught.value)
    assert ("--set" in str(caught.value)) == isinstance(options.get("settings"), list)


def test_a_wrong_suite_raises_a_usage_error_with_its_place(tmp_path):
    path = write_suite(tmp_path / "suite.yaml", ENERGY.replace("width", "wdith"))
    with pytest.raises(pcbench.UsageError) as caught:
        pcbench.run(path)
    assert str(caught.value).startswith(f"{path}:3:")


def test_no_suite_is_a_type_error():
    with pytest.raises(TypeError, match=r"at least one suite, such as run\('theory'\)"):
        pcbench.run()


# The package


@pytest.mark.parametrize("name", pcbench.__all__)
def test_every_public_name_is_there(name):
    assert getattr(pcbench, name) is not None


def test_any_other_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'pcbench' has no attribute 'runn'"):
        _ = pcbench.runn


def test_reports_are_compared_by_a_function_every_time():
    assert callable(pcbench.compare_reports)
    assert callable(pcbench.compare_reports)


# Plug-ins: the classes of example_plugins.py


@pytest.fixture
def plugged_in(tmp_path):
    """Add the examples for the time of a test; return a suite that uses all three."""
    registries = (registry.DATASETS, registry.CASES, registry.BACKENDS)
    before = [dict(each._added) for each in registries]
    registry.DATASETS.add("ramp", Ramp)
    registry.CASES.add("loss_at_origin", LossAtOrigin)
    registry.BACKENDS.add("plain_numpy", PlainNumpy)
    yield write_suite(
        tmp_path / "suite.yaml",
        "{id: origin, kind: loss_at_origin, backend: plain_numpy, "
        "data: {name: ramp, samples: 16, slope: -2}, network: {widths: [3]}}",
    )
    for each, added in zip(registries, before, strict=True):
        each._added.clear()
        each._added.update(added)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_case_a_dataset_and_a_backend_are_plugged_in(plugged_in, dtype):
    report = pcbench.run(plugged_in, dtype=dtype)
    [case] = report.cases
    assert (case.status, case.kind, case.backend) == ("passed", "loss_at_origin", "plain_numpy")
    assert case.parameters["data"] == {"name": "ramp", "samples": 16, "slope": -2.0}
    assert [check.name for check in case.checks] == ["loss at the origin"]
    assert [timing.name for timing in case.timings] == ["loss"]
    assert f"plain_numpy cpu {dtype}" in report.environment.backends


def test_a_plugged_in_case_judges_any_backend(plugged_in):
    assert pcbench.run(plugged_in, backend="torch").exit_code == 0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_plugged_in_backend_is_judged_by_any_case(plugged_in, tmp_path, dtype):
    suite = write_suite(tmp_path / "theorem.yaml", ENERGY, ORIGIN, UNFINISHED)
    report = pcbench.run(suite, backend="plain_numpy", dtype=dtype)
    assert [case.status for case in report.cases] == ["passed", "skipped", "skipped"]
    assert "does not offer hessian" in report.cases[1].message


def test_a_plugged_in_backend_that_is_wrong_is_found_out(plugged_in, monkeypatch):
    right = LinearNetwork.loss
    monkeypatch.setattr(LinearNetwork, "loss", lambda self, x, y: 2 * right(self, x, y))
    report = pcbench.run(plugged_in)
    assert report.exit_code == 1
    assert report.cases[0].message.startswith("loss at the origin: ")


def test_parameters_of_a_plugged_in_dataset_are_checked_at_their_place(plugged_in):
    plugged_in.write_text(plugged_in.read_text().replace("slope: -2", "slope: steep"))
    with pytest.raises(pcbench.UsageError, match="must be a number, not 'steep'") as caught:
        pcbench.run(plugged_in)
    assert str(caught.value).startswith(f"{plugged_in}:3:")
