import numpy as np
import pytest

from pcbench.data import DatasetMissingError, DatasetTooSmallError, Places
from pcbench.data import mnist as module
from pcbench.data.mnist import FashionMnist, Mnist
from tests.data.synthetic_data import (
    TRAIN_IMAGES,
    TRAIN_LABELS,
    idx,
    peak_memory,
    write,
    write_idx_split,
)


def load(places, dataset=Mnist, seed=0, **parameters):
    parameters = dataset.Parameters(name=dataset.name, **parameters)
    return dataset(parameters, places).load(np.random.default_rng(seed))


def raw(samples, mean=0.1307, std=0.3081):
    """Undo the normalisation: the pixels as bytes, one image a row."""
    pixels = (samples.x.reshape(len(samples.x), -1) * std + mean) * 255
    np.testing.assert_allclose(pixels, pixels.round(), atol=1e-9)
    return pixels.round().astype(np.uint8)


def rows(images):
    return sorted(map(bytes, images.reshape(len(images), -1)))


@pytest.mark.parametrize(
    ("dataset", "folder"),
    [
        (Mnist, "mnist"),
        (Mnist, "MNIST/raw"),
        (FashionMnist, "fashion-mnist"),
        (FashionMnist, "fashion_mnist"),
        (FashionMnist, "FashionMNIST/raw"),
    ],
)
def test_files_are_found_in_each_layout(places, place, dataset, folder):
    write_idx_split(place / folder)
    assert load(places, dataset, samples=3).x.shape == (3, 784)
    located = dataset.locate(places)
    assert located == {"train": place / folder / f"{TRAIN_IMAGES}.gz", "test": None}


@pytest.mark.parametrize("gz", ["", ".gz"])
@pytest.mark.parametrize("dot", ["-", "."])
def test_files_are_found_in_each_spelling(places, place, dot, gz):
    write_idx_split(place / "mnist", dot=dot, gz=gz)
    assert len(load(places, samples=2).x) == 2


def test_a_place_with_half_a_split_is_passed_over(tmp_path):
    places = Places((tmp_path / "half", tmp_path / "whole"), tmp_path)
    images, _ = write_idx_split(tmp_path / "whole/mnist", seed=1)
    write_idx_split(tmp_path / "half/mnist", seed=2)
    (tmp_path / "half/mnist" / f"{TRAIN_LABELS}.gz").unlink()
    assert rows(raw(load(places, samples=20))) == rows(images)


def test_all_samples_of_a_split_are_the_images_of_its_files_each_once(places, place):
    images, _ = write_idx_split(place / "mnist", prefix="train", seed=1)
    others, _ = write_idx_split(place / "mnist", prefix="t10k", seed=2)
    assert rows(raw(load(places, samples=20))) == rows(images)
    assert rows(raw(load(places, samples=20, split="test"))) == rows(others)


def test_each_image_keeps_its_own_label(places, place):
    images, labels = write_idx_split(place / "mnist")
    label_of = {bytes(image.ravel()): label for image, label in zip(images, labels, strict=True)}
    samples = load(places, samples=12)
    assert samples.y.shape == (12, 10)
    expected = np.eye(10)[[label_of[bytes(image)] for image in raw(samples)]]
    np.testing.assert_array_equal(samples.y, expected)


def test_fashion_mnist_is_normalised_with_its_own_constants(places, place):
    images, _ = write_idx_split(place / "fashion-mnist")
    samples = load(places, FashionMnist, samples=20)
    assert rows(raw(samples, 0.5, 0.5)) == rows(images)
    assert samples.x.dtype == samples.y.dtype == np.float64


def test_images_have_a_channel_and_are_the_flat_inputs_in_another_shape(places, place):
    write_idx_split(place / "mnist")
    flat, image = (load(places, samples=5, shape=shape).x for shape in ("flat", "image"))
    assert image.shape == (5, 1, 28, 28)
    np.testing.assert_array_equal(image.reshape(5, 784), flat)


def test_the_same_stream_chooses_the_same_samples(places, place):
    write_idx_split(place / "mnist", n=50)
    first, again, other = (load(places, seed=seed, samples=10).x for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_more_samples_than_the_split_holds_are_refused(places, place):
    write_idx_split(place / "mnist", n=20)
    with pytest.raises(DatasetTooSmallError, match=r"mnist's train split holds 20 .* 21 are asked"):
        load(places, samples=21)


def test_missing_files_are_named_with_where_they_belong(places, place):
    with pytest.raises(DatasetMissingError) as caught:
        load(places, FashionMnist, split="test")
    for part in ("fashion_mnist", "t10k-images-idx3-ubyte", "fashion-mnist/", "PCBENCH_DATA"):
        assert part in str(caught.value)
    assert str(place) in str(caught.value)


def test_files_are_read_once_however_often_they_are_drawn_from(places, place, monkeypatch):
    write_idx_split(place / "mnist")
    opened, paths = module.opened, []
    monkeypatch.setattr(module, "opened", lambda path: paths.append(path) or opened(path))
    for seed in range(3):
        load(places, seed=seed, samples=2)
    assert len(paths) == 2


def test_files_that_change_are_read_again(places, place):
    write_idx_split(place / "mnist", n=20)
    load(places, samples=1)
    write_idx_split(place / "mnist", n=30)
    assert len(load(places, samples=30).x) == 30


def test_only_the_chosen_images_are_converted(places, place):
    n = 5000
    write(place / "mnist" / TRAIN_IMAGES, idx(np.zeros((n, 28, 28), np.uint8)))
    write(place / "mnist" / TRAIN_LABELS, idx(np.zeros(n, np.uint8)))
    peak = peak_memory(lambda: load(places, samples=4))
    assert peak < 2 * n * 784  # a byte a pixel, twice; in float64 it would be eight
