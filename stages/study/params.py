"""params.yaml as typed values: what differs (recipes, axes), how big (scales), on which text (corpora).

Strict: an unknown key is an error that names the nearest known one, and everything is checked before the first
costly step. YAML is read by the parser DVC uses, so both see the same numbers.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from stages.study.errors import UsageError
from stages.study.hints import nearest

PARAMS = Path("params.yaml")
_T = TypeVar("_T")
_NAME = r"^[A-Za-z0-9][A-Za-z0-9_]*$"
Name = Annotated[str, Field(pattern=_NAME)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(gt=0, strict=True)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class WidthRule(_Strict):
    """value(D) = (the scale's value at its pivot width) x factor x (D / pivot)^exponent."""

    exponent: float = 0.0
    factor: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0

    def at(self, base: float, width: int, pivot: int) -> float:
        """The value at `width`, given `base` at the pivot."""
        return float(base * self.factor * (width / pivot) ** self.exponent)


class Recipe(_Strict):
    """What differs between two ways of training. Every field can also be an axis of a study."""

    label: str | None = None
    lr: WidthRule = WidthRule()
    lr_octaves: float = 0.0
    """Shift of the learning rate, in factors of two."""
    weight_decay: WidthRule = WidthRule()
    qk_norm: bool = True
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup: Fraction = 0.1
    """Warmup as a fraction of the steps."""
    beta1: Fraction = 0.9
    beta2: Fraction = 0.95
    eps: Positive = 1e-8
    clip: Positive | None = 1.0
    z_loss: Annotated[float, Field(ge=0)] = 0.0
    batch_factor: Positive = 1.0
    """Batch relative to the scale's, at fixed tokens."""
    epochs: Count = 1
    """Passes over the data; above 1 the cell repeats its (shorter) prefix."""


AXES = tuple(name for name in Recipe.model_fields if name != "label")


class Study(_Strict):
    """A question: recipes to compare, along the scale's ladder of widths and along further axes."""

    title: str
    recipes: Annotated[dict[Name, Recipe], Field(min_length=1)]
    seeds: Count = 1
    rungs: Count | None = None
    """Only the smallest so many widths of the scale's ladder; all where absent."""
    axes: dict[Literal[AXES], Annotated[list[Any], Field(min_length=1)]] = Field(default_factory=dict)  # type: ignore[valid-type]
    window: Count = 50
    """A run has diverged when a loss in it is not finite, or when the mean over a window of so many steps exceeds
    the loss at initialisation. Spikes are judged against the preceding window."""

    @model_validator(mode="after")
    def _axes_hold_valid_values(self) -> Self:
        for name, values in self.axes.items():
            for value in values:
                Recipe.model_validate({name: value})
        return self


class Tokenizer(_Strict):
    """A byte-level BPE trained on the first `train_bytes` of the training split, or a given tokenizer.json."""

    vocab_size: Annotated[int, Field(ge=257, strict=True)]
    train_bytes: Count = 4_000_000
    file: str | None = None


class Machine(_Strict):
    """Where cells are expected to run; used for predictions only."""

    name: str
    flops_per_second: Positive
    """Sustained by the whole machine, all convention parts counted."""
    usd_per_hour: Annotated[float, Field(ge=0)] = 0.0


class Scale(_Strict):
    """How big: the ladder of widths and everything that recipes do not name."""

    corpus: Name
    tokenizer: Tokenizer
    shard_tokens: Count
    machine: Machine
    depth: Count
    widths: Annotated[list[Count], Field(min_length=1)]
    head_dim: Annotated[int, Field(gt=0, multiple_of=2)]
    seq_len: Count
    batch: Count
    tokens_per_parameter: Positive = 20.0
    """Per non-embedding parameter (12 L D^2)."""
    tokens: Count | None = None
    """A fixed budget instead of tokens_per_parameter."""
    pivot: Count
    """Width at which every width rule has exponent-free value; two LR rules meet here."""
    lr: Positive
    final_lr: Annotated[float, Field(ge=0)] = 1e-5
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    precision: Literal["fp32", "tf32", "bf16"] = "fp32"
    validation_tokens: Count
    seen_tokens: Count
    """Trained-on tokens that `loss_seen` is measured on."""
    keep: Literal["none", "final"] = "final"
    """Whether a finished cell keeps its weights."""

    @field_validator("widths")
    @classmethod
    def _ascending(cls, widths: list[int]) -> list[int]:
        if widths != sorted(set(widths)):
            raise ValueError("widths must ascend without repeats")
        return widths

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        for width in self.widths:
            if width % self.head_dim:
                raise ValueError(f"width {width} is not a multiple of head_dim {self.head_dim}")
        for name in ("validation_tokens", "seen_tokens"):
            if getattr(self, name) < self.seq_len:
                raise ValueError(f"{name} must hold at least one sequence of {self.seq_len}")
        return self

    @property
    def text(self) -> str:
        """Name of the tokenized text this scale reads: one per corpus and tokenizer."""
        stem = Path(self.tokenizer.file).stem if self.tokenizer.file else "bpe"
        return f"{self.corpus}-{stem}{self.tokenizer.vocab_size}"


class Pydocs(_Strict):
    """Docstrings and prose of installed packages; `python` is the standard library."""

    kind: Literal["pydocs"]
    packages: Annotated[list[str], Field(min_length=1)]
    validation_share: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Of the subpackages, each of which is held out as a whole or not at all."""


class C4(_Strict):
    """C4's own layout, from the hub at a pinned revision or from a local folder."""

    kind: Literal["c4"]
    path: str = "allenai/c4"
    config: str = "en"
    revision: str | None = None
    train_shards: Count = 1024
    validation_shards: Count = 8


class Files(_Strict):
    """Globs of txt, jsonl, json.gz or parquet. Without validation globs, documents are split by their digest."""

    kind: Literal["files"]
    train: Annotated[list[str], Field(min_length=1)]
    validation: list[str] = Field(default_factory=list)
    text_column: str = "text"
    validation_share: Annotated[float, Field(gt=0, lt=1)] = 0.05


Corpus = Annotated[Pydocs | C4 | Files, Field(discriminator="kind")]


class Active(_Strict):
    """One study at one scale, run by `dvc repro`."""

    study: Name
    scale: Name


class Params(_Strict):
    """All of params.yaml."""

    active: dict[str, Active]
    corpora: dict[Name, Corpus]
    scales: dict[Name, Scale]
    studies: dict[Name, Study]

    @model_validator(mode="after")
    def _references_exist(self) -> Self:
        for key, item in self.active.items():
            if key != f"{item.study}-{item.scale}":
                raise ValueError(f"active.{key} must be named {item.study}-{item.scale}")
            self.study(item.study)
            self.scale(item.scale)
        for name, scale in self.scales.items():
            _look_up(self.corpora, scale.corpus, f"scales.{name}.corpus")
        return self

    def study(self, name: str) -> Study:
        """The study of that name; `UsageError` names the nearest otherwise."""
        return _look_up(self.studies, name, "study")

    def scale(self, name: str) -> Scale:
        """The scale of that name; `UsageError` names the nearest otherwise."""
        return _look_up(self.scales, name, "scale")


def _look_up(entries: dict[str, _T], name: str, what: str) -> _T:
    if name in entries:
        return entries[name]
    raise UsageError(f"{PARAMS}: {what} '{name}' is unknown; {nearest(name, list(entries))}")


def load_params(path: Path = PARAMS) -> Params:
    """Read and check params.yaml. Raises `UsageError` that names the key and the remedy."""
    from ruamel.yaml import YAML  # needed where studies are declared, not on a bare training host
    from ruamel.yaml.error import YAMLError

    try:
        raw = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"{path} is missing; run this in the project's root") from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(raw, dict):
        raise UsageError(f"{path} must map active, corpora, scales and studies")
    try:
        return Params.model_validate(raw)
    except ValidationError as error:
        raise UsageError(_explain(path, error)) from None


def _explain(path: Path, error: ValidationError) -> str:
    """One complaint in one line: an unknown key with the nearest known one, before the key it leaves missing."""
    complaints = error.errors()
    first = next((complaint for complaint in complaints if complaint["type"] == "extra_forbidden"), complaints[0])
    where = [str(part) for part in first["loc"]]
    if first["type"] == "extra_forbidden":
        hint = nearest(where[-1], _known_keys(where[:-1]))
        return f"{path}: unknown key {'.'.join(where)}; {hint}"
    if first["type"] == "missing":
        return f"{path}: {'.'.join(where)} is missing; add it"
    message = first["msg"].removeprefix("Value error, ")
    return f"{path}: {'.'.join(where)}: {message}" if where else f"{path}: {message}"


def _known_keys(where: list[str]) -> list[str]:
    """Field names of the model at a validation path such as studies.x.recipes.y.lr."""
    model: type[BaseModel] = Params
    models: dict[str, type[BaseModel]] = {
        "active": Active, "scales": Scale, "studies": Study, "recipes": Recipe, "tokenizer": Tokenizer,
        "machine": Machine, "lr": WidthRule, "weight_decay": WidthRule, "pydocs": Pydocs, "c4": C4, "files": Files,
    }  # fmt: skip
    for part in where:
        model = models.get(part, model)
    return list(model.model_fields)
