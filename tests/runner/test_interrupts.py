"""An interrupt that is dropped comes again."""

import signal
import threading
import time

import pytest

from pcbench.runner.interrupts import insistent_interrupts
from tests.helpers.interruptions import interruptible


def drop_one():
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def drop_one_and_go_on():
    with insistent_interrupts(every_s=0.02):
        drop_one()
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            time.sleep(0.01)


def test_an_interrupt_that_was_dropped_is_raised_again():
    with interruptible(), pytest.raises(KeyboardInterrupt):
        drop_one_and_go_on()


def test_nobody_is_interrupted_who_did_not_ask():
    with interruptible():
        with insistent_interrupts(every_s=0.01):
            assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
            time.sleep(0.1)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_nothing_comes_after_the_block():
    with interruptible():
        with insistent_interrupts(every_s=0.2):
            drop_one()
        time.sleep(0.4)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_handler_of_somebody_else_is_left_alone():
    with interruptible():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        with insistent_interrupts():
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_another_thread_may_run_suites_too():
    entered = []

    def run():
        with insistent_interrupts():
            entered.append(signal.getsignal(signal.SIGINT))

    with interruptible():
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        assert entered == [signal.default_int_handler]
