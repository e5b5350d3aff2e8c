import json
from importlib.metadata import EntryPoint
from typing import ClassVar, Literal

import jsonschema
import numpy as np
import pytest
from pydantic import BaseModel, ValidationError

from pcbench import registry
from pcbench.data import DataField, Dataset, DatasetParameters, Samples, dataset_class, load
from pcbench.data.mnist1d import Mnist1dParameters
from pcbench.data.toy_gaussian import ToyGaussianParameters
from pcbench.registry import BrokenPluginError, UnknownNameError


class Case(BaseModel):
    data: DataField


class OtherParameters(DatasetParameters):
    name: Literal["other"]
    offset: float = 0.5


class Other(Dataset[OtherParameters]):
    """A third party's dataset."""

    name = "other"
    description = "Constants"
    Parameters: ClassVar = OtherParameters

    def load(self, rng):
        x = np.full((self.parameters.samples, 1), self.parameters.offset)
        return Samples(x, x)


@pytest.fixture
def plug_in(monkeypatch):
    """Register one more dataset by name and value."""

    def register(name, value):
        entries = dict(registry._entries("pcbench.datasets"))
        entries[name] = EntryPoint(name, value, "pcbench.datasets")
        monkeypatch.setattr(registry, "_entries", lambda group: entries)

    return register


def errors(data):
    with pytest.raises(ValidationError) as caught:
        Case(data=data)
    return [(error["loc"], error["msg"]) for error in caught.value.errors()]


def described(data, mode="validation"):
    """Whether the published schema accepts the data."""
    schema = json.loads(json.dumps(Case.model_json_schema(mode=mode)))
    return jsonschema.Draft202012Validator(schema).is_valid({"data": data})


@pytest.mark.parametrize("name", registry.DATASETS.names())
def test_every_registered_dataset_is_there_under_its_own_name(name):
    assert dataset_class(name).name == name
    assert Case(data=name).data.name == name


@pytest.mark.parametrize(
    "data",
    [
        {"name": "mnist1d", "samples": 64},
        "mnist1d",
        Mnist1dParameters(name="mnist1d"),
    ],
)
def test_a_mapping_a_name_and_built_parameters_are_accepted(data):
    assert Case(data=data).data == Mnist1dParameters(name="mnist1d", samples=64)


def test_the_name_chooses_the_parameters_of_its_dataset():
    data = Case(data={"name": "toy_gaussian", "dimension": 2, "target": "mixed"}).data
    assert data == ToyGaussianParameters(name="toy_gaussian", dimension=2, target="mixed")


def test_an_unknown_name_offers_the_nearest_at_the_name():
    for data in ({"name": "mnits1d"}, "mnits1d"):
        ((location, message),) = errors(data)
        assert location == ("data", "name")
        assert message == "unknown dataset 'mnits1d'; did you mean 'mnist1d'?"


def test_braces_in_a_name_are_taken_literally():
    ((_, message),) = errors("{reason}")
    assert "'{reason}'" in message


@pytest.mark.parametrize(
    ("data", "location"),
    [
        ({}, ("data", "name")),
        ({"samples": 3}, ("data", "name")),
        ({"name": 3}, ("data", "name")),
        ({"name": None}, ("data", "name")),
        ({"name": "mnist1d", "samples": 0}, ("data", "samples")),
        ({"name": "mnist1d", "split": "validation"}, ("data", "split")),
        ({"name": "mnist1d", "dimension": 3}, ("data", "dimension")),
        ({"name": "toy_gaussian", "dimension": 1, "target": "mixed"}, ("data",)),
        (None, ("data",)),
        ([1, 2], ("data",)),
    ],
)
def test_each_mistake_is_reported_where_it_stands(data, location):
    assert [place for place, _ in errors(data)] == [location]


@pytest.mark.parametrize(
    ("name", "split", "most"),
    [
        ("mnist", "train", 60_000),
        ("mnist", "test", 10_000),
        ("fashion_mnist", "train", 60_000),
        ("fashion_mnist", "test", 10_000),
        ("cifar10", "train", 50_000),
        ("cifar10", "test", 10_000),
        ("mnist1d", "train", 4_000),
        ("mnist1d", "test", 1_000),
    ],
)
def test_more_samples_than_a_split_was_published_with_are_a_mistake(name, split, most):
    assert Case(data={"name": name, "split": split, "samples": most}).data.samples == most
    [(place, message)] = errors({"name": name, "split": split, "samples": most + 1})
    assert place == ("data", "samples")
    assert message == f"{name}'s {split} split has {most}; ask for at most that many"


def test_all_mistakes_are_reported_at_once():
    found = errors({"name": "mnist1d", "samples": -1, "shape": "round"})
    assert [place for place, _ in found] == [("data", "samples"), ("data", "shape")]


def test_every_field_of_the_dataset_survives_serialisation_and_back():
    case = Case(data={"name": "toy_gaussian", "dimension": 5})
    assert case.model_dump()["data"]["dimension"] == 5
    assert Case.model_validate_json(case.model_dump_json()) == case


@pytest.mark.parametrize(
    ("data", "valid"),
    [
        ("mnist1d", True),
        ("nothing", False),
        ({"name": "toy_gaussian", "dimension": 2}, True),
        ({"name": "mnist1d", "dimension": 2}, False),
        ({"name": "mnist1d", "samples": 0}, False),
        ({"samples": 3}, False),
    ],
)
def test_the_schema_accepts_what_the_field_accepts(data, valid):
    assert described(data) is valid


def test_the_schema_of_the_output_has_no_names_alone():
    assert described(Case(data="mnist1d").data.model_dump(), mode="serialization")
    assert not described("mnist1d", mode="serialization")


def test_a_third_partys_dataset_is_found_validated_described_and_loaded(plug_in, places, rng):
    plug_in("other", f"{__name__}:Other")
    case = Case(data={"name": "other", "samples": 2, "offset": 3})
    np.testing.assert_array_equal(load(case.data, rng, places).x, [[3], [3]])
    assert described(case.data.model_dump())


def test_a_broken_plug_in_is_told_at_its_name_and_breaks_nothing_else(plug_in):
    plug_in("broken", "no_such_module:Thing")
    ((location, message),) = errors("broken")
    assert location == ("data", "name")
    assert "no_such_module" in message
    assert Case(data="mnist1d").data.name == "mnist1d"
    assert described({"name": "mnist1d"})


def test_a_plug_in_that_is_no_dataset_is_refused(plug_in, places, rng):
    plug_in("other", f"{__name__}:OtherParameters")
    ((_, message),) = errors("other")
    assert "not a subclass of Dataset" in message
    with pytest.raises(BrokenPluginError):
        load(OtherParameters(name="other"), rng, places)


def test_loading_an_unknown_dataset_is_refused(places, rng):
    with pytest.raises(UnknownNameError, match="unknown dataset 'other'"):
        load(OtherParameters(name="other"), rng, places)
