"""A point in weight space that somebody saved."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, Literal
from zipfile import BadZipFile

import numpy as np
from jaxtyping import Float
from pydantic import Field

from pcbench.networks.initialisation import ImpossibleNetworkError, Initialisation, Weights
from pcbench.networks.specification import NetworkSpec


class Saved(Initialisation):
    """Weights ``W_1 … W_L``, and biases ``b_1 … b_L``, from a ``.npz`` file.

    So are candidates of ``critical_points`` kept. Nothing that is read is executed.
    """

    name: Literal["saved"] = "saved"
    path: str = Field(description="Of the .npz file, from where pcbench is run.")

    def draw(self, network: NetworkSpec, rng: np.random.Generator) -> Weights:
        """Read the weights.

        Raises
        ------
        ImpossibleNetworkError
            If the file cannot be read, or holds another network.
        """
        return self._read("W", network.shapes)

    def draw_biases(
        self, network: NetworkSpec, rng: np.random.Generator
    ) -> list[Float[np.ndarray, " _out"]]:
        """Read the biases, if the network has any.

        Raises
        ------
        ImpossibleNetworkError
            Likewise.
        """
        return self._read("b", network.bias_shapes)

    def check(self, network: NetworkSpec) -> None:
        """Refuse a file that is not there.

        Raises
        ------
        ImpossibleNetworkError
            With its name.
        """
        if not Path(self.path).is_file():
            raise ImpossibleNetworkError(f"there is no file {self.path!r} to read weights from")

    def _read(self, letter: str, shapes: Sequence[tuple[int, ...]]) -> Weights:
        arrays = []
        try:
            with Path(self.path).open("rb") as stream, _opened(stream) as file:
                for layer, shape in enumerate(shapes, start=1):
                    array = file[f"{letter}_{layer}"]
                    real = array.dtype.kind in "fiu"
                    if array.shape != shape or not (real and np.isfinite(array).all()):
                        raise ImpossibleNetworkError(
                            f"{letter}_{layer} in {self.path!r} has shape {array.shape}, or holds "
                            f"what is no number; the network needs numbers of shape {shape}"
                        )
                    arrays.append(np.asarray(array, np.float64))
        except KeyError as error:
            raise ImpossibleNetworkError(
                f"{self.path!r} lacks an array: {error.args[0]}; save W_1 … W_L, and b_1 … b_L"
            ) from error
        except ImpossibleNetworkError:
            raise
        except (OSError, BadZipFile, ValueError, EOFError, zlib.error) as error:
            raise ImpossibleNetworkError(
                f"{self.path!r} is no .npz file of numbers, as numpy.savez writes them"
            ) from error
        return arrays


def _opened(stream: BinaryIO) -> np.lib.npyio.NpzFile:
    opened = np.load(stream, allow_pickle=False)
    if not isinstance(opened, np.lib.npyio.NpzFile):
        raise ValueError("one array, where several are due")
    return opened
