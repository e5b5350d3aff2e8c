"""Whatever bytes the files hold, a load ends in samples or in one sentence."""

import gzip
import tarfile
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcbench.data import DatasetCorruptError, Places
from pcbench.data.cifar10 import Cifar10
from pcbench.data.mnist import Mnist
from tests.data.synthetic_data import (
    TRAIN_IMAGES,
    TRAIN_LABELS,
    cifar_records,
    idx,
    pixels_and_labels,
    tar,
)

IMAGES, LABELS = (idx(array) for array in pixels_and_labels(2, (28, 28)))
RECORDS = cifar_records(1).tobytes()
ARCHIVE = tar({"cifar-10-batches-bin/data_batch_1.bin": RECORDS})


@st.composite
def mutated(draw, content, first):
    """Bytes overwritten, cut out or put in; most of them among the first, where headers are."""
    content = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        end = draw(st.sampled_from([first, len(content)]))
        start = draw(st.integers(0, min(end, len(content))))
        length = draw(st.integers(0, 8))
        content[start : start + length] = draw(st.binary(max_size=8))
    return bytes(content[: draw(st.sampled_from([None, len(content) // 2, -1]))])


def ends_well(dataset, files):
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            path = Path(folder, name)
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
        parameters = dataset.Parameters(name=dataset.name, samples=1)
        reader = dataset(parameters, Places((Path(folder),), Path(folder)))
        try:
            samples = reader.load(np.random.default_rng(0))
        except DatasetCorruptError as error:
            samples, sentence = None, str(error)
        if samples is None:
            assert folder in sentence
        else:
            assert np.isfinite(samples.x).all()
            np.testing.assert_array_equal(samples.y.sum(axis=1), 1)


@settings(deadline=None, max_examples=150)
@given(images=mutated(IMAGES, 16), labels=mutated(LABELS, 8), breaks=st.sampled_from("ilb"))
def test_any_idx_files(images, labels, breaks):
    images = IMAGES if breaks == "l" else images
    labels = LABELS if breaks == "i" else labels
    files = {f"mnist/{TRAIN_IMAGES}": images, f"mnist/{TRAIN_LABELS}": labels}
    ends_well(Mnist, files)


@settings(deadline=None, max_examples=150)
@given(images=mutated(gzip.compress(IMAGES), 20))
def test_any_gzip(images):
    ends_well(Mnist, {f"mnist/{TRAIN_IMAGES}.gz": images, f"mnist/{TRAIN_LABELS}": LABELS})


@settings(deadline=None, max_examples=50)
@given(records=mutated(RECORDS, 8))
def test_any_cifar10_file(records):
    ends_well(Cifar10, {"cifar-10-batches-bin/data_batch_1.bin": records})


@settings(deadline=None, max_examples=200)
@given(archive=mutated(ARCHIVE, 512))
def test_any_tar(archive):
    ends_well(Cifar10, {"cifar-10-binary.tar.gz": gzip.compress(archive, 1)})


@settings(deadline=None, max_examples=100)
@given(archive=mutated(gzip.compress(ARCHIVE), 20))
def test_any_gzipped_tar(archive):
    ends_well(Cifar10, {"cifar-10-binary.tar.gz": archive})


@pytest.mark.parametrize("kind", [b"L", b"K", b"x", b"g"])
def test_a_long_chain_of_extended_headers(kind):
    """Each asks tarfile to read the next within itself."""
    info = tarfile.TarInfo("././@LongLink")
    info.type = kind
    chain = info.tobuf(tarfile.GNU_FORMAT) * 5000
    ends_well(Cifar10, {"cifar-10-binary.tar.gz": gzip.compress(chain, 1)})
