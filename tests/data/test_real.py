"""The real files, where PCBENCH_DATA names them; their checksums are those of the data's README."""

import gzip
import hashlib

import numpy as np
import pytest

from pcbench.data.cifar10 import Cifar10
from pcbench.data.mnist import FashionMnist, Mnist, read_pair

# SHA-256 of the files, unpacked.
FASHION_MNIST = {
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
}
MNIST = {
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
}
CIFAR10 = {
    "data_batch_1.bin": "d9997b739ea2eecbc960de3969952264a13564e49800f153de5a66c92f3dc2a3",
    "test_batch.bin": "ad7c0838f2f77a32a06cb9996bdf90bb7f4dbde8ca059e1a21ad26de7f777061",
}
FILES = [
    *((f"fashion-mnist/{name}.gz", digest) for name, digest in FASHION_MNIST.items()),
    *((f"mnist/{name}.gz", digest) for name, digest in MNIST.items()),
    *((f"cifar10/cifar-10-batches-bin/{name}", digest) for name, digest in CIFAR10.items()),
]


def load(dataset, places, **parameters):
    parameters = dataset.Parameters(name=dataset.name, **parameters)
    return dataset(parameters, places).load(np.random.default_rng(0))


@pytest.mark.parametrize(("name", "digest"), FILES)
def test_files_are_the_ones_that_were_published(real_places, name, digest):
    content = (real_places.folders[0] / name).read_bytes()
    if name.endswith(".gz"):
        content = gzip.decompress(content)
    assert hashlib.sha256(content).hexdigest() == digest


@pytest.mark.parametrize("dataset", [Mnist, FashionMnist, Cifar10])
def test_both_splits_are_located(real_places, dataset):
    assert all(dataset.locate(real_places).values())


def labels(dataset, places, split):
    """Read the labels of a split, leaving the images as they are."""
    images = dataset.locate(places)[split]
    names = images.with_name(images.name.replace("images-idx3", "labels-idx1"))
    return read_pair(images, names)[1]


# How often each digit occurs in MNIST as published.
MNIST_COUNTS = {
    "train": [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
    "test": [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009],
}


@pytest.mark.parametrize("split", ["train", "test"])
def test_each_digit_of_mnist_occurs_as_often_as_published(real_places, split):
    counts = np.bincount(labels(Mnist, real_places, split))
    np.testing.assert_array_equal(counts, MNIST_COUNTS[split])


@pytest.mark.parametrize(("split", "each"), [("train", 6000), ("test", 1000)])
def test_the_classes_of_fashion_mnist_are_balanced(real_places, split, each):
    counts = np.bincount(labels(FashionMnist, real_places, split))
    np.testing.assert_array_equal(counts, [each] * 10)


@pytest.mark.parametrize(("split", "n"), [("train", 5000), ("test", 1000)])
def test_the_classes_of_the_subset_of_cifar10_are_balanced(real_places, split, n):
    samples = load(Cifar10, real_places, samples=n, split=split)
    np.testing.assert_array_equal(samples.y.sum(axis=0), [n / 10] * 10)


def test_mnist_is_standardised_by_its_constants(real_places):
    x = load(Mnist, real_places, samples=5000).x
    assert abs(x.mean()) < 0.02
    assert abs(x.std() - 1) < 0.02


def test_cifar10_is_standardised_a_channel_by_its_constants(real_places):
    x = load(Cifar10, real_places, samples=2000, shape="image").x
    np.testing.assert_allclose(x.mean(axis=(0, 2, 3)), 0, atol=0.1)
    np.testing.assert_allclose(x.std(axis=(0, 2, 3)), 1, atol=0.1)


def test_fashion_mnist_spans_minus_one_to_one(real_places):
    x = load(FashionMnist, real_places, samples=1000).x
    assert (x.min(), x.max()) == (-1, 1)
