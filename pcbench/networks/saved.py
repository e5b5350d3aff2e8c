"""A point in weight space that somebody saved."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import BinaryIO, Literal
from zipfile import BadZipFile

import numpy as np
from jaxtyping import Float, Shaped
from pydantic import Field

from pcbench.networks.initialisation import ImpossibleNetworkError, Initialisation, Weights
from pcbench.networks.specification import NetworkSpec

BESIDE_A_CANDIDATE = frozenset(
    {"x", "y", "hessian", "energy", "directions", "coefficients", "falls"}
)
"""What ``critical_points`` keeps beside the weights of a candidate: a record, no parameters."""


class Saved(Initialisation):
    """Weights ``W_1 … W_L``, and biases ``b_1 … b_L``, from a ``.npz`` file.

    So are candidates of ``critical_points`` kept. Nothing that is read is executed.
    """

    name: Literal["saved"] = "saved"
    path: str = Field(description="The .npz file, relative to the folder in which pcbench is run.")

    def draw(self, network: NetworkSpec, rng: np.random.Generator) -> Weights:
        """Read the weights.

        Raises
        ------
        ImpossibleNetworkError
            If the file cannot be read, or does not fit the network entry by entry.
        """
        return self._read(network)[: network.n_layers]

    def draw_biases(
        self, network: NetworkSpec, rng: np.random.Generator
    ) -> list[Float[np.ndarray, " _out"]]:
        """Read the biases, if the network has any.

        Raises
        ------
        ImpossibleNetworkError
            Likewise.
        """
        return self._read(network)[network.n_layers :]

    def check(self, network: NetworkSpec) -> None:
        """Refuse a file that cannot be read, or does not fit the hidden layers.

        The widths of input and output are the data's, which are not known here.

        Raises
        ------
        ImpossibleNetworkError
            With file, entry, the shape that is due and the one that was found.
        """
        self._read(network, with_ends=False)

    def _read(self, network: NetworkSpec, *, with_ends: bool = True) -> Weights:
        """Read weights, then biases; without the ends, widths of input and output may be any."""
        last = network.n_layers
        due: dict[str, tuple[int | None, ...]] = {}
        for letter, shapes in (("W", network.shapes), ("b", network.bias_shapes)):
            for layer, shape in enumerate(shapes, start=1):
                out, *inputs = shape
                open_out, open_in = (not with_ends and layer == end for end in (last, 1))
                due[f"{letter}_{layer}"] = (
                    None if open_out else out,
                    *(None if open_in else size for size in inputs),
                )
        if not Path(self.path).is_file():
            raise ImpossibleNetworkError(
                f"there is no file {self.path!r}; make initialisation.path that of saved weights"
            )
        try:
            with Path(self.path).open("rb") as stream, _opened(stream) as file:
                unused = sorted({*file.files} - {*due} - BESIDE_A_CANDIDATE)
                found = {name: file[name] for name in due if name in file.files}
        except (OSError, BadZipFile, ValueError, EOFError, zlib.error) as error:
            raise ImpossibleNetworkError(
                f"{self.path!r} is no .npz file of numbers, as numpy.savez writes them"
            ) from error
        if missing := [name for name in due if name not in found]:
            raise ImpossibleNetworkError(
                f"{self.path!r} lacks {', '.join(missing)}, which the network needs; save W_1 … "
                f"W_{last}{f', and b_1 … b_{last}' if network.bias else ''}"
            )
        if unused:
            raise ImpossibleNetworkError(
                f"{self.path!r} holds {', '.join(unused)}, which the network has no use for: it "
                f"has {last} layers {'with' if network.bias else 'without'} biases; take them out "
                "of the file, or change network"
            )
        return [self._fitting(name, found[name], shape) for name, shape in due.items()]

    def _fitting(
        self, name: str, array: Shaped[np.ndarray, "..."], due: tuple[int | None, ...]
    ) -> Float[np.ndarray, "..."]:
        """Return an entry as float64, or refuse it."""
        fits = len(array.shape) == len(due) and all(
            wanted in (None, size) for size, wanted in zip(array.shape, due, strict=True)
        )
        if not fits:
            shape = ", ".join("any" if size is None else str(size) for size in due)
            turned = array.ndim == 2 and array.shape[::-1] == due
            raise ImpossibleNetworkError(
                f"{name} in {self.path!r} has shape {array.shape}, and the network needs ({shape})"
                f"{': save it transposed' if turned else ', one row a unit'}"
            )
        numbers = array.dtype.kind in "fiu"
        if not numbers or not np.isfinite(array).all():
            held = "numbers that are not finite" if numbers else f"{array.dtype}, no real numbers"
            raise ImpossibleNetworkError(
                f"{name} in {self.path!r} holds {held}; save finite real numbers"
            )
        return np.asarray(array, np.float64)


def _opened(stream: BinaryIO) -> np.lib.npyio.NpzFile:
    opened = np.load(stream, allow_pickle=False)
    if not isinstance(opened, np.lib.npyio.NpzFile):
        raise ValueError("one array, where several are due")
    return opened
