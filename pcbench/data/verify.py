"""Whether files of data are sound, and whether they are those that were published."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np

from pcbench.data.base import Dataset, DatasetError, DatasetMissingError, Places, dataset_class
from pcbench.data.labelled import opened
from pcbench.data.published import Published

Verdict = Literal["as published", "sound", "not sound", "not here"]


@dataclass(frozen=True, slots=True)
class Verified:
    """What is known of a split."""

    dataset: str
    split: str
    verdict: Verdict
    detail: str  # where it is, or why it is not sound, or how to get it


def verify(name: str, places: Places) -> Iterator[Verified]:
    """Yield what is known of each split of a dataset; nothing if it needs no files.

    What is sound, and not as published, may be a part of it, or the same in other files.
    """
    dataset = dataset_class(name)
    files = dataset.files(places)
    for split, place in dataset.locate(places).items():
        if place is None:
            yield Verified(name, split, "not here", f"pcbench data fetch {name}")
            continue
        try:
            unsound = _load_one(dataset, split, places)
        except DatasetMissingError as missing:
            yield Verified(name, split, "not here", str(missing))
            continue
        except DatasetError as error:
            unsound = (str(error),)
        for reason in unsound:
            yield Verified(name, split, "not sound", reason)
        if not unsound:  # else what was read instead is another file
            own = [file for what, file in files.items() if what.split()[0] == split]
            published = all(_is_published(file, dataset.published) for file in own)
            yield Verified(name, split, "as published" if published else "sound", str(place))


def _load_one(dataset: type[Dataset[Any]], split: str, places: Places) -> tuple[str, ...]:
    """Load a sample, for which a file is read whole; return what was passed over."""
    written = {"name": dataset.name, "samples": 1}
    if "split" in dataset.Parameters.model_fields:
        written["split"] = split
    parameters = dataset.Parameters.model_validate(written)
    return dataset(parameters, places).load(np.random.default_rng(0)).passed_over


def _plain(name: str) -> str:
    """Return the name of a file as it is published, less what says that it is compressed."""
    return name.removesuffix(".gz").replace(".idx", "-idx")


def _is_published(file: Path, published: Iterable[Published]) -> bool:
    known = {_plain(PurePosixPath(each.path).name): each for each in published}.get(
        _plain(file.name)
    )
    if known is None:
        return False
    if not known.content:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest() == known.sha256
    whole = hashlib.sha256()
    with opened(file) as content:
        while chunk := content.read(2**20):
            whole.update(chunk)
    return whole.hexdigest() == known.content
