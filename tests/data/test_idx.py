import gzip
import os
import re
import struct
from pathlib import Path

import numpy as np
import pytest

from pcbench.data import DatasetCorruptError
from pcbench.data.mnist import Mnist
from tests.data.synthetic_data import (
    TRAIN_IMAGES,
    TRAIN_LABELS,
    idx,
    peak_memory,
    pixels_and_labels,
    write,
)

N = 4
IMAGES, LABELS = pixels_and_labels(N, (28, 28))
IMAGES_FILE, LABELS_FILE = idx(IMAGES), idx(LABELS)


def refusal(places):
    """Load, and return the sentence with which the load is refused."""
    parameters = Mnist.Parameters(name="mnist", samples=1)
    with pytest.raises(DatasetCorruptError) as caught:
        Mnist(parameters, places).load(np.random.default_rng(0))
    return str(caught.value)


def header(*sizes):
    return bytes((0, 0, 8, len(sizes))) + struct.pack(f">{len(sizes)}I", *sizes)


BROKEN_IMAGES = {
    "empty": (b"", "is empty"),
    "cut in its magic number": (IMAGES_FILE[:3], "is truncated"),
    "cut in its header": (IMAGES_FILE[:11], "is truncated"),
    "cut in its pixels": (IMAGES_FILE[:-1], "promises 3136 bytes of images and holds only 3135"),
    "without pixels": (IMAGES_FILE[:16], "holds only 0"),
    "too long": (IMAGES_FILE + b"\0", "promises 3136 bytes of images and holds more"),
    "another magic number": (b"\1" + IMAGES_FILE[1:], "begins with 01 00 08 03"),
    "another type of numbers": (b"\0\0\x0d\3" + IMAGES_FILE[4:], "begins with 00 00 0d 03"),
    "four axes": (b"\0\0\x08\4" + IMAGES_FILE[4:], "begins with 00 00 08 04"),
    "labels": (LABELS_FILE, "holds labels, and images are due"),
    "little-endian": (IMAGES_FILE[:4] + struct.pack("<3I", N, 28, 28), "holds images of"),
    "32 × 32": (header(N, 32, 32) + bytes(N * 1024), "holds images of 32 × 32 pixels, not 28 × 28"),
    "no images": (header(0, 28, 28), "promises 0 images"),
    "absurd": (header(2**32 - 1, 28, 28), "promises 4294967295 images"),
    "fewer than labels": (idx(IMAGES[1:]), "holds 3 images, but .* 4 labels"),
    "a page": (b"<!DOCTYPE html><html>", "is not an IDX file of images"),
}


@pytest.mark.parametrize("gz", ["", ".gz"])
@pytest.mark.parametrize("what", BROKEN_IMAGES)
def test_broken_images_are_refused_by_name(places, place, what, gz):
    content, sentence = BROKEN_IMAGES[what]
    path = write(place / "mnist" / (TRAIN_IMAGES + gz), content)
    write(place / "mnist" / TRAIN_LABELS, LABELS_FILE)
    assert re.match(f"{re.escape(str(path))} .*{sentence}", refusal(places))


BROKEN_LABELS = {
    "images": (IMAGES_FILE, "holds images, and labels are due"),
    "empty": (b"", "is empty"),
    "an eleventh class": (idx(np.array([0, 1, 2, 10], np.uint8)), "holds the label 10"),
    "too long": (LABELS_FILE + b"\0", "promises 4 bytes of labels and holds more"),
    "more than images": (idx(np.zeros(5, np.uint8)), "holds 4 images, but .* 5 labels"),
    "absurd": (header(2**31), "promises 2147483648 labels"),
}


@pytest.mark.parametrize("what", BROKEN_LABELS)
def test_broken_labels_are_refused_by_name(places, place, what):
    content, sentence = BROKEN_LABELS[what]
    write(place / "mnist" / TRAIN_IMAGES, IMAGES_FILE)
    path = write(place / "mnist" / TRAIN_LABELS, content)
    message = refusal(places)
    assert re.search(sentence, message)
    assert str(path) in message


def broken_gzip(compressed):
    body = bytearray(compressed)
    body[len(body) // 2] ^= 0xFF
    return bytes(body)


COMPRESSED = gzip.compress(IMAGES_FILE)
BROKEN_GZIP = {
    "not gzip": (IMAGES_FILE, "is not a sound gzip file"),
    "cut": (COMPRESSED[:-100], "is truncated"),
    "cut in its checksum": (COMPRESSED[:-4], "is truncated"),
    "a wrong checksum": (COMPRESSED[:-8] + bytes(8), "is not a sound gzip file"),
    "garbage after its end": (COMPRESSED + b"garbage", "is not a sound gzip file"),
    "a flipped byte": (broken_gzip(COMPRESSED), "is not a sound gzip file|promises|truncated"),
}


@pytest.mark.parametrize("what", BROKEN_GZIP)
def test_broken_gzip_is_refused_by_name(places, place, what):
    content, sentence = BROKEN_GZIP[what]
    path = place / "mnist" / f"{TRAIN_IMAGES}.gz"
    path.parent.mkdir()
    path.write_bytes(content)
    write(place / "mnist" / TRAIN_LABELS, LABELS_FILE)
    assert re.match(f"{re.escape(str(path))} ({sentence})", refusal(places))


def test_a_directory_where_a_file_is_due_is_refused(places, place):
    path = place / "mnist" / TRAIN_IMAGES
    path.mkdir(parents=True)
    write(place / "mnist" / TRAIN_LABELS, LABELS_FILE)
    assert refusal(places) == f"{path} is not a regular file, and one is due there"


def test_a_pipe_where_a_file_is_due_is_refused_without_waiting_for_a_writer(places, place):
    path = place / "mnist" / TRAIN_IMAGES
    write(place / "mnist" / TRAIN_LABELS, LABELS_FILE)
    os.mkfifo(path)
    assert "is not a regular file" in refusal(places)


def test_a_file_that_may_not_be_read_is_refused_with_the_reason(places, place, monkeypatch):
    path = write(place / "mnist" / TRAIN_IMAGES, IMAGES_FILE)
    write(place / "mnist" / TRAIN_LABELS, LABELS_FILE)

    def denied(self, mode="r"):  # whoever runs the tests as root may read anything
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", denied)
    assert refusal(places) == f"{path} cannot be read: Permission denied"


@pytest.mark.parametrize("promised", [2**32 - 1, N])
def test_memory_is_bounded_by_what_a_file_should_hold_not_by_what_it_unpacks_to(
    places, place, promised
):
    write(place / "mnist" / f"{TRAIN_IMAGES}.gz", header(promised, 28, 28) + bytes(2**25))
    write(place / "mnist" / TRAIN_LABELS, LABELS_FILE)
    assert "promises" in refusal(places)
    assert peak_memory(lambda: refusal(places)) < 2**20
