"""`pcbench compare`: exit code 1 only where something got worse, 4 where nothing was compared."""

import json

import pytest

from tests.helpers.toy_suites import ON_CIFAR10, UNFINISHED, write_suite

FINISHED = UNFINISHED.replace("max_steps: 1,", "max_steps: 10000,")


@pytest.fixture
def reports(invoke, tmp_path):
    """A report of a case that passed, and one in which it failed."""
    files = []
    for name, case in (("passed", FINISHED), ("failed", UNFINISHED)):
        suite = write_suite(tmp_path / f"{name}.yaml", case)
        files.append(tmp_path / f"{name}.json")
        invoke("run", suite, "--json", files[-1])
    return files


def test_a_report_is_no_worse_than_itself(invoke, reports):
    passed, _ = reports
    done = invoke("compare", passed, passed)
    assert done.code == 0
    assert done.out.splitlines()[-1].startswith("No regression")


def test_a_failure_is_worse_than_a_pass_and_not_the_other_way_round(invoke, reports):
    passed, failed = reports
    worse = invoke("compare", passed, failed)
    assert worse.code == 1
    assert "worse    unfinished\n" in worse.out
    assert worse.out.splitlines()[-1].startswith("Regression")
    assert invoke("compare", failed, passed).code == 0


def test_where_nothing_was_compared_the_exit_code_says_so(invoke, tmp_path, monkeypatch):
    monkeypatch.setenv("PCBENCH_DATA", str(tmp_path))
    skipped = tmp_path / "skipped.json"
    invoke("run", write_suite(tmp_path / "skipped.yaml", ON_CIFAR10), "--json", skipped)
    done = invoke("compare", skipped, skipped)
    assert done.code == 4
    assert done.out.splitlines()[-1].startswith("Nothing was compared")


def test_inputs_that_differ_are_named_with_both_values(invoke, reports):
    done = invoke("compare", *reports)
    assert "parameters.inference.max_steps from 10000 to 1" in done.out


def test_quiet_leaves_what_got_worse(invoke, reports):
    passed, failed = reports
    done = invoke("compare", passed, failed, "--quiet")
    assert done.out.startswith("worse")
    assert invoke("compare", passed, passed, "--quiet").out.count("\n") == 1


def test_the_comparison_is_written_as_json(invoke, reports, tmp_path):
    passed, failed = reports
    file = tmp_path / "comparison.json"
    assert invoke("compare", passed, failed, "--json", file).code == 1
    written = json.loads(file.read_text(encoding="utf-8"))
    assert written["regression"] is True
    assert {change["case"] for change in written["changes"]} == {"unfinished"}


@pytest.mark.parametrize("content", [None, "", "{}", "no JSON", '{"schema_version": 99}'])
def test_a_report_that_cannot_be_read_is_refused(invoke, reports, tmp_path, content):
    passed, _ = reports
    file = tmp_path / "damaged.json"
    if content is not None:
        file.write_text(content)
    for pair in ((passed, file), (file, passed)):
        done = invoke("compare", *pair)
        assert (done.code, done.out) == (2, "")
        assert done.err.startswith(str(file))


def test_a_comparison_that_cannot_be_written_is_found_before_anything_is_read(invoke, tmp_path):
    unread = tmp_path / "unread.json"
    done = invoke("compare", unread, unread, "--json", tmp_path / "absent" / "c.json")
    assert (done.code, done.out) == (2, "")
    assert "create it first" in done.err
