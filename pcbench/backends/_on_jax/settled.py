"""Answers that are there when a call returns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, is_dataclass
from functools import wraps
from typing import ParamSpec, TypeVar

import jax

Question = ParamSpec("Question")
Answer = TypeVar("Answer")


def settled(ask: Callable[Question, Answer]) -> Callable[Question, Answer]:
    """Wait for the arrays of an answer: JAX returns before it has computed, and hides the time."""

    @wraps(ask)
    def waiting(*args: Question.args, **kwargs: Question.kwargs) -> Answer:
        answer = ask(*args, **kwargs)
        arrays = (
            [getattr(answer, field.name) for field in fields(answer)]
            if is_dataclass(answer)
            else answer
        )
        jax.block_until_ready(arrays)
        return answer

    return waiting
