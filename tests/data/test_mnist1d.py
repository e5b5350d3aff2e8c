import random
import shutil
import sys
from importlib.metadata import version

import numpy as np
import pytest

from pcbench.data import DatasetCorruptError, DatasetMissingError, DatasetTooSmallError, Places
from pcbench.data import mnist1d as module
from pcbench.data.mnist1d import Mnist1d

PACKAGES = ("mnist1d", "numpy", "scipy")
FILE = f"mnist1d/{'-'.join(f'{package}-{version(package)}' for package in PACKAGES)}-seed42.npz"


@pytest.fixture(autouse=True)
def forgetful():
    """Forget what this process has read, so that each test reads its own cache."""
    module._arrays.cache_clear()


@pytest.fixture
def cached(generated, tmp_path):
    """Places with a copy of the generated cache."""
    shutil.copytree(generated, tmp_path / "own")
    return Places((), tmp_path / "own")


@pytest.fixture
def no_generator(monkeypatch):
    """Make a use of the generator fail."""
    monkeypatch.setitem(sys.modules, "mnist1d.data", None)


@pytest.fixture
def fake_generator(monkeypatch):
    """Replace the generator by quick arrays of the right layout; returns them."""
    arrays = {key: np.zeros(shape, dtype) for key, (shape, dtype) in module.LAYOUT.items()}
    arrays["x"] += 7
    monkeypatch.setattr(module, "_generate", lambda: arrays)
    return arrays


def load(places, seed=0, **parameters):
    parameters = Mnist1d.Parameters(name="mnist1d", **parameters)
    return Mnist1d(parameters, places).load(np.random.default_rng(seed))


def test_both_splits_have_forty_points_and_ten_classes(cached):
    train, test = load(cached, samples=4000), load(cached, samples=1000, split="test")
    assert (train.x.shape, test.x.shape) == ((4000, 40), (1000, 40))
    for samples in (train, test):
        np.testing.assert_array_equal(samples.y.sum(axis=1), 1)
        assert set(samples.y.argmax(axis=1)) == set(range(10))


def test_both_splits_together_are_standardised_and_balanced(cached):
    train, test = load(cached, samples=4000), load(cached, samples=1000, split="test")
    x, y = np.concatenate([train.x, test.x]), np.concatenate([train.y, test.y])
    assert abs(x.mean()) < 1e-12
    assert abs(x.std() - 1) < 1e-12
    np.testing.assert_array_equal(y.sum(axis=0), 500)


def test_signals_are_those_of_the_generator_with_their_labels(cached):
    from mnist1d.data import get_dataset_args, make_dataset

    random_state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002
    drawn = make_dataset(get_dataset_args())
    random.setstate(random_state)
    np.random.set_state(numpy_state)  # noqa: NPY002
    samples = load(cached, samples=1000, split="test")
    label_of = {x.tobytes(): y for x, y in zip(drawn["x_test"], drawn["y_test"], strict=True)}
    expected = [label_of[np.ascontiguousarray(x).tobytes()] for x in samples.x]
    np.testing.assert_array_equal(samples.y.argmax(axis=1), expected)


def test_an_image_is_one_channel_of_forty_points(cached):
    flat, image = (load(cached, samples=5, shape=shape).x for shape in ("flat", "image"))
    assert image.shape == (5, 1, 40)
    np.testing.assert_array_equal(image[:, 0], flat)


def test_the_same_stream_chooses_the_same_samples(cached):
    first, again, other = (load(cached, seed=seed, samples=9).x for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_more_samples_than_the_split_holds_are_refused(cached):
    unchecked = Mnist1d.Parameters(name="mnist1d", split="test").model_copy(
        update={"samples": 1001}
    )
    with pytest.raises(DatasetTooSmallError, match=r"holds 1000 .* 1001 are asked"):
        Mnist1d(unchecked, cached).load(np.random.default_rng(0))


@pytest.mark.usefixtures("no_generator")
def test_what_is_cached_is_not_generated_again(cached):
    assert (cached.cache / FILE).is_file()
    assert load(cached, samples=3).x.shape == (3, 40)


@pytest.mark.usefixtures("no_generator")
def test_a_package_that_cannot_be_imported_is_named(places):
    with pytest.raises(DatasetMissingError, match="pip install mnist1d"):
        load(places)


def test_generating_leaves_the_global_random_states_alone():
    random.seed(5)
    np.random.seed(5)  # noqa: NPY002
    expected = random.random(), np.random.random()  # noqa: NPY002
    random.seed(5)
    np.random.seed(5)  # noqa: NPY002
    module._generate()
    assert (random.random(), np.random.random()) == expected  # noqa: NPY002


def stored(**changes):
    """What a cache holds, with changes; None leaves the key out."""
    arrays = {key: np.zeros(shape, dtype) for key, (shape, dtype) in module.LAYOUT.items()}
    return {key: value for key, value in (arrays | changes).items() if value is not None}


BROKEN = {
    "a key less": stored(y=None),
    "another shape": stored(x=np.zeros((4000, 41))),
    "another type": stored(x=np.zeros((4000, 40), np.float32)),
    "not a number": stored(x=np.full((4000, 40), np.nan)),
    "an eleventh class": stored(y=np.full(4000, 10, np.uint8)),
    "objects": stored(x=np.array([{}], dtype=object)),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_cache_of_other_arrays_is_replaced(places, fake_generator, what):
    file = places.cache / FILE
    file.parent.mkdir(parents=True)
    np.savez(file, **BROKEN[what])
    np.testing.assert_array_equal(load(places, samples=3).x, 7)
    with np.load(file) as replaced:
        np.testing.assert_array_equal(replaced["x"], fake_generator["x"])


@pytest.mark.parametrize("damage", [lambda b: b"", lambda b: b"junk", lambda b: b[: len(b) // 2]])
def test_a_damaged_cache_is_replaced(cached, fake_generator, damage):
    file = cached.cache / FILE
    file.write_bytes(damage(file.read_bytes()))
    np.testing.assert_array_equal(load(cached, samples=3).x, 7)
    assert module._read(file) is not None


def test_a_flipped_byte_in_the_cache_is_noticed(cached, fake_generator):
    file = cached.cache / FILE
    content = bytearray(file.read_bytes())
    content[10_000] ^= 1
    file.write_bytes(content)
    np.testing.assert_array_equal(load(cached, samples=3).x, 7)


@pytest.mark.parametrize("changed", PACKAGES)
def test_a_cache_made_with_another_version_is_not_used(
    cached, fake_generator, monkeypatch, changed
):
    monkeypatch.setattr(
        module, "version", lambda name: "99.0" if name == changed else version(name)
    )
    np.testing.assert_array_equal(load(cached, samples=3).x, 7)
    assert len(list((cached.cache / "mnist1d").iterdir())) == 2


def test_nothing_but_the_cache_is_left_behind(places, fake_generator):
    load(places)
    assert list(places.cache.rglob("*.*")) == [places.cache / FILE]


def test_a_cache_that_cannot_be_written_does_not_fail_the_load(places, fake_generator):
    places.cache.write_text("a file where a directory is due")
    assert load(places, samples=3).x.shape == (3, 40)


def test_a_write_that_fails_midway_leaves_nothing(places, fake_generator, monkeypatch):
    def full(stream, **arrays):
        stream.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    load(places)
    assert list((places.cache / "mnist1d").iterdir()) == []


def test_a_generator_that_draws_other_shapes_is_refused(places, fake_generator):
    fake_generator["x"] = np.zeros((12_000, 40))
    with pytest.raises(DatasetCorruptError, match="generates other arrays"):
        load(places)
    assert not places.cache.exists()


def test_the_dataset_needs_no_files(places):
    assert Mnist1d.locate(places) == {}
