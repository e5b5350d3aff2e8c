import pickle
import re
import tarfile

import numpy as np
import pytest

from pcbench.data import DatasetCorruptError, DatasetMissingError, DatasetTooSmallError
from pcbench.data import cifar10 as module
from pcbench.data.cifar10 import Cifar10
from tests.data.synthetic_data import RECORD, cifar_records, peak_memory, tar, write

MEAN, STD = np.array((0.4914, 0.4822, 0.4465)), np.array((0.247, 0.243, 0.261))
FOLDER, ARCHIVE = "cifar-10-batches-bin", "cifar-10-binary.tar.gz"
FIRST, SECOND, TEST = (cifar_records(n, seed=n) for n in (8, 5, 3))
FILES = {
    "data_batch_1.bin": FIRST.tobytes(),
    "data_batch_2.bin": SECOND.tobytes(),
    "test_batch.bin": TEST.tobytes(),
    "batches.meta.txt": b"airplane\n",
}


def load(places, seed=0, **parameters):
    parameters = Cifar10.Parameters(name="cifar10", **parameters)
    return Cifar10(parameters, places).load(np.random.default_rng(seed))


def refusal(places, **parameters):
    with pytest.raises(DatasetCorruptError) as caught:
        load(places, samples=1, **parameters)
    return str(caught.value)


def write_folder(parent):
    for name, content in FILES.items():
        write(parent / FOLDER / name, content)


def write_archive(parent, members=FILES, links=()):
    inside = {f"{FOLDER}/{name}": content for name, content in members.items()}
    return write(parent / ARCHIVE, tar(inside, links))


def raw(samples):
    """Undo the normalisation and the one-hot coding: records, sorted."""
    images = samples.x.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1) * STD + MEAN
    pixels = np.round(images * 255).astype(np.uint8).transpose(0, 3, 1, 2).reshape(-1, 3072)
    return sorted(map(bytes, np.column_stack([samples.y.argmax(axis=1).astype(np.uint8), pixels])))


PYTHON_FOLDER = "cifar-10-batches-py"


def pickled(records, protocol=2, **others):
    batch = {
        b"data": records[:, 1:].copy(),
        b"labels": records[:, 0].tolist(),
        b"batch_label": b"x",
    }
    return pickle.dumps({**batch, **others}, protocol)


def write_python_folder(parent, protocol=2):
    batches = {"data_batch_1": FIRST, "data_batch_2": SECOND, "test_batch": TEST}
    for name, records in batches.items():
        write(parent / PYTHON_FOLDER / name, pickled(records, protocol))
    write(parent / PYTHON_FOLDER / "batches.meta", pickle.dumps({b"label_names": [b"airplane"]}))


@pytest.mark.parametrize("inside", ["", "cifar10"])
@pytest.mark.parametrize("layout", [write_folder, write_archive, write_python_folder])
def test_all_samples_of_a_split_are_the_records_of_its_files_each_once(
    places, place, layout, inside
):
    layout(place / inside)
    train = sorted(map(bytes, np.concatenate([FIRST, SECOND])))
    assert raw(load(places, samples=13)) == train
    assert raw(load(places, samples=3, split="test")) == sorted(map(bytes, TEST))
    names = {write_folder: FOLDER, write_archive: ARCHIVE, write_python_folder: PYTHON_FOLDER}
    found = place / inside / names[layout]
    assert Cifar10.locate(places) == {"train": found, "test": found}


def test_directory_and_archive_give_the_same_samples(places, place):
    write_folder(place)
    from_folder = load(places, samples=6).x
    for file in (place / FOLDER).iterdir():
        file.unlink()
    write_archive(place)
    np.testing.assert_array_equal(load(places, samples=6).x, from_folder)


def test_each_channel_is_normalised_with_its_own_constants(places, place):
    record = np.zeros((1, RECORD), np.uint8)
    record[0, 1:] = np.repeat([0, 51, 255], 1024)  # planes red, green, blue
    write(place / FOLDER / "test_batch.bin", record.tobytes())
    x = load(places, samples=1, split="test", shape="image").x
    assert x.shape == (1, 3, 32, 32)
    expected = (np.array([0, 0.2, 1]) - MEAN) / STD
    np.testing.assert_allclose(x[0], np.broadcast_to(expected[:, None, None], (3, 32, 32)))


def test_flat_inputs_are_the_images_in_another_shape(places, place):
    write_folder(place)
    flat, image = (load(places, samples=4, shape=shape).x for shape in ("flat", "image"))
    np.testing.assert_array_equal(image.reshape(4, 3072), flat)


def test_more_samples_than_the_split_holds_are_refused(places, place):
    write_folder(place)
    with pytest.raises(DatasetTooSmallError, match=r"cifar10's test split holds 3 .* 4 are asked"):
        load(places, samples=4, split="test")


def test_missing_files_are_named_with_where_they_belong(places, place):
    with pytest.raises(DatasetMissingError) as caught:
        load(places)
    for part in ("cifar10", ARCHIVE, FOLDER, "data_batch_*.bin", "PCBENCH_DATA", str(place)):
        assert part in str(caught.value)
    assert Cifar10.locate(places) == {"train": None, "test": None}


BROKEN = {
    "empty": (b"", "is empty"),
    "cut": (FIRST.tobytes()[:-1], "holds 24583 bytes, not a whole number of records"),
    "too long": (FIRST.tobytes() + b"\0", "holds 24585 bytes, not a whole number of records"),
    "an eleventh class": (b"\x0a" + FIRST.tobytes()[1:], "holds the label 10"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_broken_files_are_refused_by_name(places, place, what):
    content, sentence = BROKEN[what]
    write_folder(place)
    path = write(place / FOLDER / "data_batch_2.bin", content)
    assert re.match(f"{re.escape(str(path))} {sentence}", refusal(places))


@pytest.mark.parametrize("what", BROKEN)
def test_broken_members_are_refused_by_name(places, place, what):
    content, sentence = BROKEN[what]
    path = write_archive(place, FILES | {"data_batch_2.bin": content})
    assert re.match(f"data_batch_2.bin in {re.escape(str(path))} {sentence}", refusal(places))


@pytest.mark.parametrize(("split", "kept"), [("train", "test_batch"), ("test", "data_batch")])
def test_an_archive_without_the_split_is_refused(places, place, split, kept):
    members = {name: content for name, content in FILES.items() if name.startswith(kept)}
    path = write_archive(place, members)
    assert refusal(places, split=split).startswith(f"{path} has no member")


KINDS = {
    "symbolic link": tarfile.SYMTYPE,
    "hard link": tarfile.LNKTYPE,
    "directory": tarfile.DIRTYPE,
    "pipe": tarfile.FIFOTYPE,
    "sparse file": tarfile.GNUTYPE_SPARSE,
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_a_plain_file_in_an_archive_is_refused_and_no_link_followed(
    places, place, tmp_path, kind
):
    elsewhere = write(tmp_path / "elsewhere.bin", FIRST.tobytes())
    write_archive(place, {}, [(f"{FOLDER}/test_batch.bin", str(elsewhere), KINDS[kind])])
    assert "test_batch.bin in" in refusal(places, split="test")
    assert "is not a regular file" in refusal(places, split="test")


def test_an_archive_is_read_without_writing_anything(places, place, tmp_path):
    write_archive(place, {"../../test_batch.bin": TEST.tobytes()})
    before = sorted(tmp_path.rglob("*"))
    assert raw(load(places, samples=3, split="test")) == sorted(map(bytes, TEST))
    assert sorted(tmp_path.rglob("*")) == before


PACKED = tar({f"{FOLDER}/{name}": content for name, content in FILES.items()})
BROKEN_TAR = {
    "not a tar": (b"not a tar" * 200, "is not a sound tar archive"),
    "empty": (b"", "is not a sound tar archive"),
    "cut in a member": (PACKED[: len(FIRST) * RECORD // 2], "is not a sound tar archive"),
    "a broken header": (PACKED[:100] + b"\xff" * 200 + PACKED[300:], "is not a sound tar archive"),
}


@pytest.mark.parametrize("what", BROKEN_TAR)
def test_broken_archives_are_refused_by_name(places, place, what):
    content, sentence = BROKEN_TAR[what]
    path = write(place / ARCHIVE, content)
    assert refusal(places).startswith(f"{path} {sentence}")


@pytest.mark.parametrize("end", [20, -5000, -4])
def test_a_truncated_gzip_is_refused_even_where_all_members_can_be_read(places, place, end):
    path = write_archive(place)
    path.write_bytes(path.read_bytes()[:end])
    assert refusal(places).startswith(f"{path} is truncated")


def test_a_wrong_gzip_checksum_is_refused(places, place):
    path = write_archive(place)
    path.write_bytes(path.read_bytes()[:-8] + bytes(8))
    assert refusal(places).startswith(f"{path} is not a sound gzip file")


def test_an_archive_that_is_not_gzip_is_refused(places, place):
    (place / ARCHIVE).write_bytes(PACKED)
    assert "is not a sound gzip file" in refusal(places)


def test_an_archive_that_unpacks_without_end_is_refused_within_bounded_memory(
    places, place, monkeypatch
):
    monkeypatch.setattr(module, "MOST_BYTES", 10 * RECORD)
    write(place / ARCHIVE, tar({"padding": bytes(2**24)} | FILES))
    assert "unpacks to more than" in refusal(places)
    assert peak_memory(lambda: refusal(places)) < 2**22


def test_a_member_that_promises_more_than_any_cifar10_is_refused_unread(places, place):
    info = tarfile.TarInfo(f"{FOLDER}/test_batch.bin")
    info.size = 2**40
    write(place / ARCHIVE, info.tobuf(tarfile.GNU_FORMAT))
    assert "promises more than" in refusal(places, split="test")


def test_a_directory_of_more_than_any_cifar10_is_refused_unread(places, place):
    (place / FOLDER).mkdir()
    with (place / FOLDER / "test_batch.bin").open("wb") as file:
        file.truncate(2**40)  # sparse: it takes no room
    assert "holds more than" in refusal(places, split="test")


@pytest.mark.parametrize("name", [ARCHIVE, f"{FOLDER}/data_batch_1.bin"])
def test_a_directory_where_a_file_is_due_is_refused(places, place, name):
    (place / name).mkdir(parents=True)
    assert refusal(places) == f"{place / name} is not a regular file, and one is due there"


@pytest.mark.parametrize(("layout", "opens"), [(write_folder, 2), (write_archive, 1)])
def test_files_are_read_once_however_often_they_are_drawn_from(
    places, place, monkeypatch, layout, opens
):
    layout(place)
    opened, paths = module.opened, []
    monkeypatch.setattr(module, "opened", lambda path: paths.append(path) or opened(path))
    for seed in range(3):
        load(places, seed=seed, samples=2)
    assert len(paths) == opens


# Batches for Python, which are pickles


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_batches_of_any_protocol_are_read(places, place, protocol):
    write_python_folder(place, protocol)
    assert raw(load(places, samples=3, split="test")) == sorted(map(bytes, TEST))


class Executed:
    def __reduce__(self):
        return (print, ("this was executed",))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (pickle.dumps(Executed()), "it asks for builtins.print, which is no array"),
        (pickled(TEST, data=Executed()), "print, which is no array"),
        (pickled(TEST)[:100], "is not a sound batch of CIFAR-10"),
        (b"no pickle", "is not a sound batch of CIFAR-10"),
        (pickle.dumps([1, 2]), "is not a sound batch of CIFAR-10"),
        (pickle.dumps({b"labels": [1]}), "is not a sound batch of CIFAR-10"),
        (pickled(TEST[:, :-1]), "its data are no bytes of that many images"),
        (pickled(TEST.astype(np.int16)), "is not a sound batch of CIFAR-10"),
        (pickled(TEST).replace(b"batch_label", b"batch_lable")[:-1], "is not a sound batch"),
    ],
)
def test_a_pickle_that_is_no_batch_is_refused_and_nothing_is_executed(
    places, place, capsys, content, says
):
    write(place / PYTHON_FOLDER / "test_batch", content)
    assert says in refusal(places, split="test")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "labels", [[1, 2], [1, 2, 300], [1, 2, -1], [1, 2, 11], "abc", [[1], 2, 3]]
)
def test_labels_that_do_not_fit_are_refused(places, place, labels):
    batch = {b"data": TEST[:, 1:].copy(), b"labels": labels}
    write(place / PYTHON_FOLDER / "test_batch", pickle.dumps(batch))
    refusal(places, split="test")


def test_all_files_of_a_distribution_are_named(places, place):
    write_python_folder(place)
    names = {path.name for path in Cifar10.files(places).values()}
    assert names == {"data_batch_1", "data_batch_2", "test_batch", "batches.meta"}
