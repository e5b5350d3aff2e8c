"""Streams of randomness: each its own, and the same for ever."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcbench.runner.context import stream
from tests.helpers.command_line import python

PURPOSE = (0, "origin[widths=5x5]", "weights")
DRAWN = (1026953069, 1594613973, 2138831509, 460979281)

IN_A_PROCESS = f"""
from pcbench.runner.context import stream
print(*stream(*{PURPOSE}).integers(0, 2**32, 4))
"""


def draw(*purpose):
    return tuple(stream(*purpose).integers(0, 2**32, 4).tolist())


def test_a_stream_draws_what_it_has_always_drawn():
    """If this fails, every number of every report made before can no longer be made again."""
    assert draw(*PURPOSE) == DRAWN


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_a_stream_is_the_same_in_every_process(hash_seed):
    done = python("-c", IN_A_PROCESS, PYTHONHASHSEED=hash_seed)
    assert tuple(map(int, done.stdout.split())) == DRAWN


def test_streams_differ_by_seed_and_case_and_name():
    purposes = list(product([0, 1, 2**40], ["a", "ab", "a[width=3]"], ["", "b", "data", "weights"]))
    assert len({draw(*purpose) for purpose in purposes}) == len(purposes)


@given(st.text("abc", max_size=4), st.text("abc", max_size=4), st.text("abc", max_size=4))
def test_a_stream_does_not_run_case_and_name_together(left, middle, right):
    same = (left + middle, right) == (left, middle + right)
    assert (draw(0, left + middle, right) == draw(0, left, middle + right)) == same


def test_drawing_from_one_stream_changes_no_other():
    other = stream(0, "a", "weights")
    stream(0, "a", "data").standard_normal(1000)
    np.random.default_rng().standard_normal(1000)
    assert tuple(other.integers(0, 2**32, 4).tolist()) == draw(0, "a", "weights")
