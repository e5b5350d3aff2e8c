"""Files of a dataset as its publishers have them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Published:
    """A file that a dataset is read from.

    Parameters
    ----------
    path
        Where it belongs in a data directory, such as ``mnist/train-images-idx3-ubyte.gz``.
    size
        Its size in bytes.
    sha256
        The digest of the file.
    sources
        URLs that it can be had from, the publisher's own first.
    content
        The digest of what it holds decompressed, if it is compressed: the same content may be
        compressed anew.
    """

    path: str
    size: int
    sha256: str
    sources: tuple[str, ...]
    content: str = ""
