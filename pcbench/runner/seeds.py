"""Randomness: one stream for each purpose of each case, from the suite's seed."""

from __future__ import annotations

import hashlib

import numpy as np


def stream(seed: int, case_id: str, name: str) -> np.random.Generator:
    """Return the generator that belongs to one purpose of one case.

    It depends on the three arguments alone, through SHA-256: not on the order of cases, on which of
    them run, or on what other streams have drawn.

    Parameters
    ----------
    seed
        The suite's or the case's, not negative.
    case_id
        The concrete case's identifier.
    name
        What the randomness is for, such as ``weights``.
    """
    digest = hashlib.sha256(f"{case_id}\0{name}".encode()).digest()
    words = np.frombuffer(digest, dtype="<u4").tolist()
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, *words])))
