"""An observer hears everything, in order."""

from pcbench.runner import Observer
from tests.runner.scripted_cases import PASSED, planned, yielding


class Listener(Observer):
    def __init__(self):
        self.heard = []

    def run_started(self, cases):
        self.heard.append(f"run of {cases}")

    def case_started(self, case):
        self.heard.append(f"{case.id} starts")

    def stage_advanced(self, case, stage, done, total):
        self.heard.append(f"{stage} {done}/{total}")

    def case_finished(self, result):
        self.heard.append(f"{result.id} {result.status}")


def staged(context):
    for step in context.progress("training", "xyz", 3):
        if step == "y":
            yield PASSED


def left_early(context):
    for _ in context.progress("training", range(3), 3):
        yield PASSED
        break


def test_an_observer_hears_of_cases_and_of_their_stages_in_order(run):
    listener = Listener()
    broken = planned(yielding(then=ValueError()), "broken")
    run(planned(staged, "staged"), broken, planned(left_early, "short"), observer=listener)
    assert listener.heard == [
        "run of 3",
        "staged starts",
        "training 0/3",
        "training 1/3",
        "training 2/3",
        "training 3/3",
        "staged passed",
        "broken starts",
        "broken errored",
        "short starts",
        "training 0/3",
        "short passed",
    ]


def test_an_interrupted_case_starts_and_never_finishes(run):
    listener = Listener()
    run(planned(yielding(then=KeyboardInterrupt()), "long"), observer=listener)
    assert listener.heard == ["run of 1", "long starts"]
