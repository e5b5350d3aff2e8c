"""Options of `pcbench run` that say where, how and how strictly."""

import json
import subprocess

import pytest

from pcbench.report import read_report
from tests.helpers.command_line import PCBENCH, environment, pcbench
from tests.helpers.toy_suites import ENERGY, ON_CIFAR10, ORIGIN, write_suite


@pytest.fixture
def absent(tmp_path):
    """A suite whose only case lacks its data, and an empty directory of data."""
    (tmp_path / "data").mkdir()
    return write_suite(tmp_path / "absent.yaml", ON_CIFAR10), tmp_path / "data"


def test_a_run_that_judges_nothing_says_so_and_why(absent):
    suite, data = absent
    done = pcbench("run", suite, PCBENCH_DATA=data)
    assert done.returncode == 4
    assert done.stdout.splitlines()[-1].endswith("nothing was judged")
    assert "cifar10 is not on this machine" in " ".join(done.stdout.split())


def test_strict_skips_make_an_error_of_a_skip(absent):
    suite, data = absent
    done = pcbench("run", suite, "--strict-skips", PCBENCH_DATA=data)
    assert done.returncode == 3
    assert "--strict-skips forbids" in " ".join(done.stdout.split())


def test_a_report_on_standard_output_is_json_alone(suite, tmp_path):
    done = pcbench("run", suite, "--json", "-", "--quiet", cwd=tmp_path)
    assert json.loads(done.stdout)["summary"]["passed"] == 1
    assert done.stderr.splitlines()[-1].startswith("1 passed")
    assert [path.name for path in tmp_path.iterdir()] == ["suite.yaml"]


def test_shards_are_merged_to_the_report_of_the_whole_run(tmp_path):
    suite = write_suite(tmp_path / "suite.yaml", ENERGY, ORIGIN)
    shards = [tmp_path / f"{i}.json" for i in (1, 2)]
    for i, file in enumerate(shards, 1):
        assert pcbench("run", suite, "--shard", f"{i}/2", "--json", file).returncode == 0
    whole = tmp_path / "whole.json"
    done = pcbench("merge", *reversed(shards), "--json", whole)
    assert done.returncode == 0, done.stderr
    assert [case.id for case in read_report(whole).cases] == ["energy", "origin"]
    assert pcbench("run", suite, "--json", tmp_path / "at-once.json").returncode == 0
    assert pcbench("compare", tmp_path / "at-once.json", whole).returncode == 0
    refused = pcbench("merge", shards[0], "--json", whole)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == "of 2 shards 2 is missing; name all reports\n"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--jobs", "0"], "--jobs must be 'auto' or a number from 1 to 1024, not '0'"),
        (["--jobs", "two"], "--jobs must be 'auto' or a number from 1 to 1024, not 'two'"),
        (["--shard", "3/2"], "--shard must be I/N, such as 2/3, not '3/2'"),
        (["--shard", "half"], "--shard must be I/N, such as 2/3, not 'half'"),
        (["--resume"], "--resume needs the journal to go on with: name --json or --journal"),
        (["--in-process", "-j", "2"], "--jobs and --timeout need worker processes"),
        (["--pdb", "--timeout", "5"], "--jobs and --timeout need worker processes"),
        (["--timeout", "-1"], "--timeout must be a number of seconds above 0, not -1"),
        (["--timeout", "nan"], "--timeout must be a number of seconds above 0, not nan"),
    ],
)
def test_an_option_that_is_not_valid_is_refused_in_a_sentence(suite, options, says):
    done = pcbench("run", suite, *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("timeout: 0", ":8:14: 'timeout' must be seconds, such as 60, or null"),
        ("timeout: soon", ":8:14: 'timeout' must be seconds, such as 60, or null"),
        ("memory_limit: lots", ":8:19: 'memory_limit' must be a size, such as '4 GiB', or null"),
    ],
)
def test_a_limit_that_is_not_valid_is_named_with_its_place(tmp_path, line, says):
    case = (
        "  - id: a\n    kind: origin_hessian\n    data: toy_gaussian\n    network: {widths: [2]}\n"
    )
    file = tmp_path / "suite.yaml"
    file.write_text(f"suite: s\ncases:\n{case}\n    {line}\n")
    done = pcbench("run", file)
    assert done.returncode == 2
    assert says in done.stderr


def test_limits_stand_in_a_suite(tmp_path):
    slow = ENERGY.replace("{id", "{timeout: 60, memory_limit: 1 GiB, id")
    done = pcbench("run", write_suite(tmp_path / "suite.yaml", slow))
    assert done.returncode == 0, done.stdout


def test_a_reader_that_has_read_enough_ends_it_quietly():
    with subprocess.Popen(
        [*PCBENCH, "schema", "suite"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    ) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_a_full_disk_is_said_in_a_sentence():
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*PCBENCH, "list"],
            stdout=full,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            env=environment(),
            check=False,
        )
    assert done.returncode == 2
    assert done.stderr == "the disk is full, and the output is cut off; free some space\n"
