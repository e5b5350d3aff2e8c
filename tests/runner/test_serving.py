"""What a worker answers to what it is asked."""

import io
import pickle

import pytest

from pcbench.data import Places
from pcbench.report import CaseResult
from pcbench.runner.workers import messages
from pcbench.runner.workers.serving import limited_memory, serve
from tests.runner import hostile_cases as hostile
from tests.runner.hostile_cases import planned

NUMPY = (("numpy", "cpu", "float64"), False)


class NothingMoreError(Exception):
    """Nothing more is asked."""


def served(tmp_path, *asked, backends=()):
    """Return what a worker says."""
    first = messages.Prepare(Places((tmp_path,), tmp_path / "cache"), backends)
    left, told = [first, *asked], []

    def ask():
        if not left:
            raise NothingMoreError
        return pickle.dumps(left.pop(0))

    with pytest.raises(NothingMoreError):
        serve(ask, told.append)
    return told


def task(number, case):
    return messages.Task(number, pickle.dumps(case))


def test_it_makes_backends_and_says_what_they_are(tmp_path):
    [prepared] = served(tmp_path, backends=[NUMPY])
    assert list(prepared.descriptions) == ["numpy cpu float64"]


def test_it_refuses_backends_that_cannot_be_had(tmp_path):
    [refused] = served(tmp_path, backends=[(("numpy", "cuda", "float64"), True)])
    assert "runs on the CPU alone" in refused.reason


def test_it_answers_each_task_by_its_number(tmp_path):
    cases = planned(hostile.Sound), planned(hostile.RaiseUnshowable)
    _, *told = served(tmp_path, task(3, cases[0]), task(9, cases[1]))
    assert [(type(each), each.number) for each in told] == [
        (messages.Begun, 3),
        (messages.Done, 3),
        (messages.Begun, 9),
        (messages.Done, 9),
    ]
    results = [CaseResult.model_validate_json(each.result) for each in (told[1], told[3])]
    assert [result.status for result in results] == ["passed", "errored"]


def test_it_says_which_task_it_cannot_read(tmp_path):
    _, unreadable, begun, _ = served(
        tmp_path, messages.Task(1, b"no pickle"), task(2, planned(hostile.Sound))
    )
    assert (type(unreadable), unreadable.number) == (messages.Unreadable, 1)
    assert begun.number == 2


def test_a_case_on_a_backend_that_is_missing_is_skipped(tmp_path):
    _, _, done = served(tmp_path, task(1, planned(hostile.Sound, device="cuda")))
    assert CaseResult.model_validate_json(done.result).status == "skipped"


def test_a_limit_of_memory_ends_with_the_case():
    with limited_memory(2**30):
        pass
    assert len(bytearray(2**26)) == 2**26


def test_messages_come_whole_or_not_at_all():
    pipe = io.BytesIO()
    for number in (1, 2):
        messages.send(messages.Begun(number), pipe)
    whole = pipe.getvalue()
    pipe = io.BytesIO(whole)
    assert [pickle.loads(messages.receive(pipe)).number for _ in range(2)] == [1, 2]
    assert messages.receive(pipe) is None
    for left in range(1, len(whole) // 2):
        assert messages.receive(io.BytesIO(whole[:left])) is None
