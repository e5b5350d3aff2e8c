"""Which of several places data are read from, and what is said of those passed over."""

import gzip
import sys

import numpy as np
import pytest

from pcbench.data import DatasetCorruptError, DatasetMissingError, Places
from pcbench.data.cifar10 import ARCHIVE, FOLDER, Cifar10
from pcbench.data.mnist import Mnist
from pcbench.data.verify import verify
from pcbench.report.console import make_console, render_report
from pcbench.runner import run_suites
from tests.data.synthetic_data import TRAIN_IMAGES, TRAIN_LABELS, cifar_records, tar, write
from tests.data.synthetic_data import write_idx_split as write_split
from tests.helpers.toy_suites import load_suite


@pytest.fixture
def places(tmp_path):
    return Places((tmp_path / "first", tmp_path / "second"), tmp_path / "cache")


def load(places, dataset=Mnist, samples=5):
    parameters = dataset.Parameters(name=dataset.name, samples=samples)
    return dataset(parameters, places).load(np.random.default_rng(0))


def damage(path):
    path.write_bytes(path.read_bytes()[:-20])
    return path


def test_a_place_with_a_damaged_file_is_passed_over_and_named(places):
    first, second = (place / "mnist" for place in places.folders)
    write_split(first, seed=1)
    write_split(second, seed=2)
    expected = load(Places((places.folders[1],), places.cache)).x
    assert load(places).passed_over == ()
    damaged = damage(first / f"{TRAIN_IMAGES}.gz")
    found = load(places)
    np.testing.assert_array_equal(found.x, expected)
    [sentence] = found.passed_over
    assert sentence.startswith(f"{damaged} is truncated")


def test_a_plain_file_that_is_damaged_gives_way_to_the_gzipped_one_beside_it(places):
    folder = places.folders[0] / "mnist"
    write_split(folder)
    content = gzip.decompress((folder / f"{TRAIN_IMAGES}.gz").read_bytes())
    (folder / TRAIN_IMAGES).write_bytes(content[:-1])
    found = load(places)
    assert len(found.passed_over) == 1
    assert str(folder / TRAIN_IMAGES) in found.passed_over[0]


def test_a_damaged_folder_of_cifar_gives_way_to_the_archive(places):
    place = places.folders[0]
    records = cifar_records(7).tobytes()
    write(place / FOLDER / "data_batch_1.bin", records[:-1])
    write(place / ARCHIVE, tar({f"{FOLDER}/data_batch_1.bin": records}))
    found = load(places, Cifar10)
    assert len(found.x) == 5
    assert "not a whole number of records" in found.passed_over[0]


def test_where_none_is_sound_each_is_named(places):
    files = [place / "mnist" / f"{TRAIN_LABELS}.gz" for place in places.folders]
    for seed, file in enumerate(files):
        write_split(file.parent, seed=seed)
        damage(file)
    with pytest.raises(DatasetCorruptError) as caught:
        load(places)
    for file in files:
        assert str(file) in str(caught.value)


def test_what_is_not_here_can_be_fetched(places):
    with pytest.raises(DatasetMissingError, match="run pcbench data fetch mnist, or put "):
        load(places)


SUITE = """\
suite: s
cases:
  - id: a
    kind: origin_hessian
    backend: numpy
    data: {name: mnist, samples: 4}
    network: {widths: [1]}
"""


def test_the_report_says_what_was_passed_over(places, tmp_path, capsys):
    for seed, place in enumerate(places.folders):
        write_split(place / "mnist", seed=seed)
    damaged = damage(places.folders[0] / "mnist" / f"{TRAIN_IMAGES}.gz")
    (tmp_path / "s.yaml").write_text(SUITE)
    report = run_suites([load_suite(tmp_path / "s.yaml")], places=places)
    [case] = report.cases
    assert case.status == "passed", case.message
    assert [str(damaged) in sentence for sentence in case.passed_over] == [True]
    render_report(report, make_console(sys.stdout))
    assert f"{case.passed_over[0]}: passed over." in capsys.readouterr().out


# Verifying


def test_what_is_sound_and_what_is_not_is_told_by_split(places):
    write_split(places.folders[0] / "mnist")
    write_split(places.folders[0] / "mnist", prefix="t10k")
    assert [(each.split, each.verdict) for each in verify("mnist", places)] == [
        ("train", "sound"),
        ("test", "sound"),
    ]
    damaged = damage(places.folders[0] / "mnist" / f"{TRAIN_IMAGES}.gz")
    train, test = verify("mnist", places)
    assert (train.verdict, test.verdict) == ("not sound", "sound")
    assert str(damaged) in train.detail


def test_what_is_not_here_is_told_with_the_remedy(places):
    assert {(each.verdict, each.detail) for each in verify("cifar10", places)} == {
        ("not here", "pcbench data fetch cifar10")
    }
    assert [*verify("toy_gaussian", places)] == []


def test_a_sound_file_beside_one_that_is_not_does_not_hide_it(places):
    for seed, place in enumerate(places.folders):
        write_split(place / "mnist", seed=seed)
    damage(places.folders[0] / "mnist" / f"{TRAIN_IMAGES}.gz")
    assert [each.verdict for each in verify("mnist", places)] == ["not sound", "not here"]


@pytest.mark.parametrize("dataset", ["mnist", "fashion_mnist"])
def test_the_published_files_are_known_by_their_content(real_places, dataset):
    assert {each.verdict for each in verify(dataset, real_places)} == {"as published"}


def test_a_part_of_what_is_published_is_sound(real_places):
    assert {each.verdict for each in verify("cifar10", real_places)} == {"sound"}


def test_one_bit_less_is_another_file(real_places, tmp_path):
    folder = real_places.folders[0] / "mnist"
    place = tmp_path / "mnist"
    place.mkdir()
    for file in folder.iterdir():
        content = bytearray(gzip.decompress(file.read_bytes()))
        content[-1] ^= 1
        (place / file.name).write_bytes(gzip.compress(bytes(content), 1))
    verdicts = {each.verdict for each in verify("mnist", Places((tmp_path,), tmp_path))}
    assert verdicts == {"sound"}
