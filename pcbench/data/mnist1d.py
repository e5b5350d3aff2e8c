"""MNIST-1D: signals of 40 points in ten classes, generated on this machine from a seed.

The package ``mnist1d`` (Greydanus and Kobak, ICML 2024) draws padded, shifted, sheared and noisy
copies of ten templates, standardises them together, and splits them 4000 to 1000. What it draws is
kept in the cache as plain arrays, since importing the package takes longer than reading them.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar, Literal
from uuid import uuid4

import numpy as np

from pcbench.data.base import Dataset, DatasetCorruptError, DatasetMissingError, Samples
from pcbench.data.labelled import N_CLASSES, LabelledParameters, drawn

SEED = 42  # the generator's own default, named because it is part of what the cache holds

# What the generator returns with its default arguments, under its own names.
LAYOUT = {
    "x": ((4000, 40), np.float64),
    "y": ((4000,), np.uint8),
    "x_test": ((1000, 40), np.float64),
    "y_test": ((1000,), np.uint8),
}

Arrays = dict[str, Any]  # arrays by the names of LAYOUT


class Mnist1dParameters(LabelledParameters):
    """Parameters of the dataset ``mnist1d``."""

    published: ClassVar = {"train": LAYOUT["x"][0][0], "test": LAYOUT["x_test"][0][0]}
    name: Literal["mnist1d"]


class Mnist1d(Dataset[Mnist1dParameters]):
    """MNIST-1D, as its generator standardises it: mean 0 and variance 1 over both splits."""

    name = "mnist1d"
    description = "Signals of 40 points, ten classes, generated from a seed and cached"
    Parameters = Mnist1dParameters

    def load(self, rng: np.random.Generator) -> Samples:
        """Return chosen signals, ``(N, 40)`` or ``(N, 1, 40)``, and their classes ``(N, 10)``."""
        arrays = _arrays(self.places.cache)
        suffix = "" if self.parameters.split == "train" else "_test"
        x, labels = arrays[f"x{suffix}"], arrays[f"y{suffix}"]
        return drawn(x, labels, self.parameters, rng, lambda chosen: chosen[:, None])


@lru_cache(maxsize=1)
def _arrays(cache: Path) -> Arrays:
    """Return both splits, from the cache where it holds them."""
    try:
        file = cache / "mnist1d" / _file_name()
        if kept := _read(file):
            return kept
        arrays = _generate()
    except ImportError as error:
        raise DatasetMissingError(
            f"mnist1d cannot be generated, since its package cannot be imported ({error}); "
            "run pip install mnist1d"
        ) from error
    if not _is_sound(arrays):
        raise DatasetCorruptError(
            f"mnist1d {version('mnist1d')} generates other arrays than {LAYOUT['x'][0]} for "
            f"training and {LAYOUT['x_test'][0]} for test; install a version that does"
        )
    with suppress(OSError):  # a cache that cannot be written costs a second next time, no more
        _keep(arrays, file)
    return arrays


def _file_name() -> str:
    # All that the numbers depend on, to the last bit: mnist1d's version stands for its default
    # arguments, and it computes with NumPy and SciPy.
    versions = (f"{package}-{version(package)}" for package in ("mnist1d", "numpy", "scipy"))
    return f"{'-'.join(versions)}-seed{SEED}.npz"


def _generate() -> Arrays:
    with warnings.catch_warnings(), _global_generators_kept():
        # The import brings in matplotlib and requests, whose warnings are not about this work.
        warnings.simplefilter("ignore")
        from mnist1d.data import get_dataset_args, make_dataset

        arguments = get_dataset_args()
        arguments.seed = SEED
        drawn = make_dataset(arguments)
    return {key: np.asarray(drawn[key], dtype) for key, (_, dtype) in LAYOUT.items()}


@contextmanager
def _global_generators_kept() -> Iterator[None]:
    """Give the global random states back as they were: ``mnist1d`` seeds both for its own use."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 (mnist1d draws from it)
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002


def _read(file: Path) -> Arrays | None:
    """Return what the cache holds, or None: it is then written anew."""
    try:
        # Nothing is unpickled, and zip's checksums vouch for every byte.
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            arrays = {key: stored[key] for key in LAYOUT}
    except Exception:  # damaged bytes draw many kinds out of zipfile and NumPy, to one effect
        return None
    return arrays if _is_sound(arrays) else None


def _is_sound(arrays: Arrays) -> bool:
    return all(
        (arrays[key].shape, arrays[key].dtype) == (shape, dtype)
        and bool(np.isfinite(arrays[key]).all())
        and (dtype is not np.uint8 or int(arrays[key].max()) < N_CLASSES)
        for key, (shape, dtype) in LAYOUT.items()
    )


def _keep(arrays: Arrays, file: Path) -> None:
    """Write the cache in one step: a reader meanwhile sees all of it or nothing."""
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_suffix(f".{uuid4().hex}")
    try:
        with draft.open("wb") as stream:
            np.savez(stream, **arrays)
        draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)
