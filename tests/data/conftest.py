import os
from pathlib import Path

import numpy as np
import pytest

from pcbench.data import DataDirectoryError, Places
from pcbench.data.mnist1d import Mnist1d


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def places(tmp_path):
    """One empty data directory, and a cache that does not exist yet."""
    folder = tmp_path / "data"
    folder.mkdir()
    return Places((folder,), tmp_path / "cache")


@pytest.fixture
def place(places):
    """The data directory of ``places``."""
    return places.folders[0]


@pytest.fixture(scope="session")
def generated(tmp_path_factory):
    """A cache that holds MNIST-1D, generated once for all tests."""
    cache = tmp_path_factory.mktemp("cache")
    parameters = Mnist1d.Parameters(name="mnist1d", samples=1)
    Mnist1d(parameters, Places((), cache)).load(np.random.default_rng(0))
    return cache


@pytest.fixture(scope="session")
def real_places(tmp_path_factory):
    """The real data. Where PCBENCH_DATA is set, data that are not there are a failure."""
    named = os.environ.get("PCBENCH_DATA")
    if not named:
        pytest.skip("PCBENCH_DATA is not set: there are no real data to test on")
    try:
        folder = Places.default().folders[0]
    except DataDirectoryError as error:
        pytest.fail(str(error))
    assert folder == Path(named).absolute()
    return Places((folder,), tmp_path_factory.mktemp("cache"))
