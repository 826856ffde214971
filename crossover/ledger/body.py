"""What a line of the ledger says, a forecast or what came of one, field by field; any other kind is refused."""

from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from crossover.answers.predict import Expected, PairChance
from crossover.base.fields import Finite, Fraction, Positive, Strict


def _moment(text: str) -> str:
    if datetime.fromisoformat(text).tzinfo is None:
        raise ValueError("a time needs its zone")
    return text


Moment = Annotated[str, AfterValidator(_moment)]
"""UTC, ISO 8601."""
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Inputs(Strict):
    """The runs that the forecast rests on."""

    source: str
    """The file they were read from."""
    sha256: Sha256
    """Of that file."""
    rows: int
    digest: str
    """Of the numbers that were fitted."""
    places: list[dict[str, Positive]]
    """Where the runs lie, each place once."""
    cells: list[str] = Field(default_factory=list)
    """Fingerprints, for a study of this project."""


class Gate(Strict):
    """What a launch must come to, fixed before it."""

    below: Finite
    """The loss, in the unit of the forecast's, that the mean of a recipe's runs must be below."""
    p: dict[str, Fraction]
    """By recipe: the probability of that, as forecast."""


class Forecast(Strict):
    """One forecast, as it is lodged."""

    kind: Literal["forecast"] = "forecast"
    name: str
    date: Moment
    """When it was lodged."""
    commit: str | None
    """Of the source that made it."""
    study: str | None = None
    """study-scale, for a study of this project."""
    columns: dict[str, str]
    """Which column, or expression of columns, is which input, `loss`, `recipe` and `where`."""
    at: dict[str, Positive]
    """The target, by input."""
    lever_arm_decades: Finite
    """How far outside the runs the target lies, by the input for which that is furthest."""
    runs: Annotated[int, Field(ge=1)]
    """How many runs of each recipe the realised mean is expected to have."""
    confidence: Fraction
    recipes: dict[str, Expected]
    pairs: list[PairChance]
    inputs: Inputs
    nearest: dict[str, Finite] | None = None
    """Mean loss of each recipe at the place of its runs nearest to the target: what a forecast has to beat."""
    notes: list[str] = Field(default_factory=list)
    gate: Gate | None = None

    @model_validator(mode="after")
    def _places_have_its_inputs(self) -> Self:
        if any(set(place) != set(self.at) for place in self.inputs.places):
            raise ValueError("places and target have other inputs")
        return self

    @model_validator(mode="after")
    def _own_study_says_its_width(self) -> Self:
        if self.study and not self.columns.get("width", "").isdecimal():
            raise ValueError("a forecast of a study needs its width")
        return self

    @model_validator(mode="after")
    def _gate_is_of_its_recipes(self) -> Self:
        if self.gate and set(self.gate.p) != set(self.recipes):
            raise ValueError("the gate has other recipes")
        return self

    def same_question(self, other: "Forecast") -> bool:
        """Whether only name, date and commit differ."""
        return self == other.model_copy(update={"name": self.name, "date": self.date, "commit": self.commit})


class Came(Strict):
    """What one recipe came to at the target."""

    loss: Finite
    """Mean over its runs, in the unit of the forecast's."""
    runs: Annotated[int, Field(ge=1)]


class Outcome(Strict):
    """What came of a forecast of runs that are no study of this project, as it is lodged."""

    kind: Literal["outcome"] = "outcome"
    forecast: str
    """Its name."""
    date: Moment
    """When it was lodged."""
    source: str
    """The file it was read from."""
    sha256: Sha256
    """Of that file."""
    where: str | None = None
    """Which of its rows were looked at, where not all were."""
    recipes: dict[str, Came]


Entry = Annotated[Forecast | Outcome, Field(discriminator="kind")]
