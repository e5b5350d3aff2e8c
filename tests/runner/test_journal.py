"""A journal keeps what is finished, and a run goes on from it and from no other."""

import errno
import json
import os

import pytest

from pcbench.runner import Observer, run_suites
from pcbench.runner.journal import Journal, JournalError
from tests.runner.scripted_cases import PASSED, planned, suite_of, yielding


class Interrupting:
    """A case that is interrupted once."""

    def __init__(self):
        self.asked = 0

    def __call__(self, context):
        self.asked += 1
        if self.asked == 1:
            raise KeyboardInterrupt
        yield PASSED


@pytest.fixture
def file(tmp_path):
    return tmp_path / "journal"


@pytest.fixture
def cut_off(run, file):
    """A run of three cases that was interrupted in the second, and its cases."""
    second = Interrupting()
    cases = [planned(yielding(PASSED), "a"), planned(second, "b"), planned(yielding(PASSED), "c")]
    report = run(*cases, journal=file)
    assert report.interrupted
    return cases


def lines(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_every_result_is_in_the_journal_at_once(run, file):
    seen = []

    def look(context):
        seen.append([line["result"]["id"] for line in lines(file)[1:]])
        yield PASSED

    run(planned(look, "a"), planned(look, "b"), journal=file)
    assert seen == [[], ["a"]]


class Listener(Observer):
    def __init__(self):
        self.started, self.finished = [], []

    def case_started(self, case):
        self.started.append(case.id)

    def case_finished(self, result):
        self.finished.append(result.id)


def test_a_run_that_is_resumed_runs_what_is_left_and_reports_all(run, cut_off, file):
    listener = Listener()
    report = run(*cut_off, journal=file, resume=True, observer=listener)
    assert [case.id for case in report.cases] == ["a", "b", "c"]
    assert listener.started == ["b", "c"]
    assert listener.finished == ["a", "b", "c"]
    assert not report.interrupted
    assert [line["result"]["id"] for line in lines(file)[1:]] == ["a", "b", "c"]


@pytest.mark.parametrize("left", range(1, 40, 7))
def test_a_line_that_was_cut_off_is_run_again(run, cut_off, file, left):
    whole = file.read_bytes()
    last = whole[: whole.rstrip(b"\n").rfind(b"\n") + 1 + left]
    file.write_bytes(last)
    report = run(*cut_off, journal=file, resume=True)
    assert [case.id for case in report.cases] == ["a", "b", "c"]
    assert len(lines(file)) == 4


def test_a_run_of_other_cases_does_not_go_on(run, cut_off, file):
    before = file.read_bytes()
    with pytest.raises(JournalError, match="the cases or their parameters changed"):
        run(*cut_off[:2], journal=file, resume=True)
    with pytest.raises(JournalError, match="the shard"):
        run(*cut_off, journal=file, resume=True, shard=(1, 2))
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("what", "says"),
    [("code", "the code of pcbench"), ("data", "the data"), ("environment", "Python")],
)
def test_a_run_of_other_code_data_or_libraries_does_not_go_on(run, cut_off, file, what, says):
    heading, *results = lines(file)
    heading["fingerprints"][what] = "another"
    file.write_text("".join(f"{json.dumps(line)}\n" for line in (heading, *results)))
    with pytest.raises(JournalError, match=says):
        run(*cut_off, journal=file, resume=True)


FOREIGN = [b"\n", b"{}\n", b"[1]\n", b"not a journal\n", b"\xff\n"]
DAMAGED = [
    b'{"pcbench_journal": 1}\n',
    b'{"pcbench_journal":1}\n',
    b'{"pcbench_journal":2,"fingerprints":{},"shard":""}\n',
]


@pytest.mark.parametrize("content", [*FOREIGN, *DAMAGED])
def test_what_is_no_journal_is_refused(run, file, content):
    file.write_bytes(content)
    with pytest.raises(JournalError, match="no journal"):
        run(planned(yielding(PASSED)), journal=file, resume=True)


@pytest.mark.parametrize("content", FOREIGN)
def test_what_is_no_journal_is_not_moved_aside_either(run, file, content):
    file.write_bytes(content)
    with pytest.raises(JournalError, match="is no journal, and left as it is"):
        run(planned(yielding(PASSED)), journal=file)
    assert file.read_bytes() == content


def test_what_is_no_file_is_refused(run, tmp_path):
    with pytest.raises(JournalError, match="it is no regular file"):
        run(planned(yielding(PASSED)), journal=tmp_path)


@pytest.mark.parametrize("content", [b"", b'{"pcbench_jou', b'{"pcbench_journal":1,"fing'])
@pytest.mark.parametrize("resume", [True, False])
def test_a_journal_that_was_cut_off_in_its_first_line_is_begun_anew(run, file, content, resume):
    file.write_bytes(content)
    run(planned(yielding(PASSED)), journal=file, resume=resume)
    assert len(lines(file)) == 2


def test_without_resume_an_older_journal_is_kept_beside_the_new_one(run, cut_off, file):
    before = file.read_bytes()
    run(*cut_off, journal=file)
    assert file.with_name("journal.old").read_bytes() == before


class Warned(Observer):
    def __init__(self):
        self.sentences = []

    def warned(self, sentence):
        self.sentences.append(sentence)


def test_a_disk_that_is_full_ends_the_journal_and_not_the_run(run, file, monkeypatch):
    write, written = Journal._write, []

    def fill(journal, line):
        written.append(line)
        if len(written) > 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(journal, line)

    monkeypatch.setattr(Journal, "_write", fill)
    warned = Warned()
    report = run(
        *(planned(yielding(PASSED), each) for each in "abc"), journal=file, observer=warned
    )
    assert [case.status for case in report.cases] == ["passed"] * 3
    assert [line["result"]["id"] for line in lines(file)[1:]] == ["a"]
    [sentence] = warned.sentences
    assert os.strerror(errno.ENOSPC) in sentence


def test_a_place_that_takes_no_journal_is_refused_before_anything_runs(run, tmp_path):
    ran = []

    def remember(context):
        ran.append(context)
        yield PASSED

    with pytest.raises(JournalError, match="choose another place"):
        run(planned(remember), journal=tmp_path / "absent" / "journal")
    assert ran == []


def test_suites_of_two_names_may_have_cases_of_one(places, backend, file):
    one, other = suite_of(planned(yielding(PASSED), "a")), suite_of(planned(yielding(PASSED), "a"))
    object.__setattr__(other, "name", "other")
    report = run_suites([one, other], places=places, journal=file)
    again = run_suites([one, other], places=places, journal=file, resume=True)
    assert again.cases == report.cases
