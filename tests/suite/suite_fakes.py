"""Case kinds and backends made up for the tests, and suites with marked places."""

from typing import Annotated, ClassVar, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveInt,
    SerializeAsAny,
    model_validator,
)

from pcbench import registry
from pcbench.case import Case, CaseParameters

MARK = "¶"


class Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Widths(Strict):
    widths: Annotated[list[PositiveInt], Field(min_length=1)]


class Uniform(Strict):
    hidden_layers: int
    width: PositiveInt


class Data(Strict):
    name: str
    samples: PositiveInt = 64


class GaussianData(Data):
    name: Literal["gaussian"] = "gaussian"
    dimension: int = 3


class DigitsData(Data):
    name: Literal["digits"] = "digits"


def data_by_name(value):
    if isinstance(value, str):
        value = {"name": value}
    models = {"gaussian": GaussianData, "digits": DigitsData}
    if not isinstance(value, dict) or value.get("name") not in models:
        raise ValueError("no such dataset")
    return models[value["name"]].model_validate(value)


class Exact(Strict):
    engine: Literal["exact"]


class Gradient(Strict):
    engine: Literal["gradient"]
    tolerance: float = Field(1e-6, gt=0, allow_inf_nan=False)


class Layer(Strict):
    units: int
    within: list["Layer"] = Field([])


def rounds_of(value):
    return {"ten": 10, "odd": object()}.get(value, value)


class ToyParameters(CaseParameters):
    """One of everything that a kind's model may hold."""

    data: Annotated[SerializeAsAny[Data], BeforeValidator(data_by_name)]
    network: Widths | Uniform = Widths(widths=[5])
    inference: Annotated[Exact | Gradient, Field(discriminator="engine")] = Exact(engine="exact")
    steps: int | Literal["auto"] = "auto"
    scale: float = Field(1.0, ge=0, le=10)
    limit: float | None = None
    label: str = Field("x", min_length=1, max_length=5, pattern="^[a-z]*$")
    flag: bool = False
    activation: Literal["identity", "tanh", "relu"] = "identity"
    pair: tuple[float, float] = (0.0, 1.0)
    layers: list[Layer] = Field([])
    table: dict[str, int] = Field({})
    rounds: Annotated[int, BeforeValidator(rounds_of)] = 1
    even: Annotated[int, Field(multiple_of=2)] = 2


class Toy(Case[ToyParameters]):
    kind: ClassVar = "toy"
    description: ClassVar = "Everything a model may hold"
    Parameters: ClassVar = ToyParameters

    def run(self, context):
        yield from ()


class OrderedParameters(CaseParameters):
    low: int = 0
    high: int = 1

    @model_validator(mode="after")
    def _ordered(self):
        if self.low > self.high:
            raise ValueError("low must not exceed high")
        return self


class Ordered(Case[OrderedParameters]):
    kind: ClassVar = "ordered"
    description: ClassVar = "A rule between two parameters"
    Parameters: ClassVar = OrderedParameters

    def run(self, context):
        yield from ()


class ExplosiveParameters(CaseParameters):
    @model_validator(mode="before")
    @classmethod
    def _explode(cls, value):
        raise KeyError("a bug in a plug-in")


class Explosive(Case[ExplosiveParameters]):
    kind: ClassVar = "explosive"
    description: ClassVar = "Its model has a bug"
    Parameters: ClassVar = ExplosiveParameters

    def run(self, context):
        yield from ()


class FakeRegistry:
    """Stands in for a registry; an exception is raised where it is asked for."""

    def __init__(self, noun, **entries):
        self.noun = noun
        self.entries = entries

    def names(self):
        return sorted(self.entries)

    def load(self, name):
        if name not in self.entries:
            hint = registry.did_you_mean(name, self.entries)
            raise registry.UnknownNameError(f"unknown {self.noun} {name!r}{hint}")
        if isinstance(self.entries[name], Exception):
            raise self.entries[name]
        return self.entries[name]

    def module(self, name):
        return self.entries[name].__module__ if isinstance(self.entries.get(name), type) else ""

    load_subclass = registry.Registry.load_subclass
    _misfit = registry.Registry._misfit


def fake_kinds():
    return FakeRegistry(
        "case kind",
        toy=Toy,
        ordered=Ordered,
        explosive=Explosive,
        broken=registry.BrokenPluginError("the case kind 'broken' cannot be imported: no\nluck"),
        impostor=dict,
        bare=type("Bare", (Case,), {}),
    )


def fake_backends():
    return FakeRegistry("backend", torch=object, numpy=object)


def unmark(text):
    """Return a text without its marks, and the places (line, column) that they mark."""
    places, clean = [], ""
    for part in text.split(MARK):
        clean += part
        lines = clean.split("\n")
        places.append((len(lines), len(lines[-1]) + 1))
    return clean, places[:-1]
