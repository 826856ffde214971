"""params.yaml as typed values: what differs (recipes, axes), how big (scales), on which text (corpora).

Strict: an unknown key is an error that names the nearest known one, and everything is checked before the first
costly step. YAML is read by the parser DVC uses, so both see the same numbers.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from crossover.base.errors import UsageError
from crossover.base.fields import Count, Fraction, Name, NotNegative, Positive, Strict
from crossover.base.hints import nearest
from stages.study.claims import Claim, Interest
from stages.study.corpora import C4, SOURCES, Corpus, Files, Pydocs, Tokenizer
from stages.study.trainers import Command

PARAMS = Path("params.yaml")
_T = TypeVar("_T")


class WidthRule(Strict):
    """value(D) = (the scale's value at its pivot width) x factor x (D / pivot)^exponent."""

    exponent: float = 0.0
    factor: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0

    def at(self, base: float, width: int, pivot: int) -> float:
        """The value at `width`, given `base` at the pivot."""
        return float(base * self.factor * (width / pivot) ** self.exponent)


class DecayRule(WidthRule):
    """A width rule for weight decay, and what its value means."""

    per: Literal["step", "lr", "run"] = "step"
    """`step`: the share by which a step at the peak rate shrinks matrices (independent, arXiv 2309.14322). `lr`: that
    share is the value x the peak rate (decoupled, AdamW, arXiv 1711.05101). `run`: it is the value / steps."""

    def per_step(self, base: float, width: int, pivot: int, lr: float, steps: int) -> float:
        """The share that a step at the peak rate `lr` takes off."""
        return self.at(base, width, pivot) * {"step": 1.0, "lr": lr, "run": 1 / steps}[self.per]


_FAN_IN = WidthRule(exponent=-0.5)


class Recipe(Strict):
    """What differs between two ways of training. Every field can also be an axis of a study."""

    label: str | None = None
    lr: WidthRule = WidthRule()
    """Rule of the peak learning rate: of the blocks' matrices, and of all parameters but for the next three."""
    lr_embedding: WidthRule | None = None
    lr_head: WidthRule | None = None
    lr_gains: WidthRule | None = None
    lr_octaves: float = 0.0
    """Shift of all learning rates, in factors of two."""
    lr_batch_exponent: float = 0.0
    """Learning rates go as batch_factor to this power."""
    embedding_std: WidthRule = _FAN_IN
    """Of the embedding at initialisation; 1/sqrt(D) at the pivot."""
    head_std: WidthRule = _FAN_IN
    """Of the output head at initialisation; 1/sqrt(D) at the pivot."""
    optimizer: Literal["adamw", "lion"] = "adamw"
    weight_decay: DecayRule = DecayRule()
    l2: NotNegative = 0.0
    """Coefficient of the loss term l2 / 2 x sum of squares of all matrices."""
    qk_norm: bool = True
    activation: Literal["gelu", "geglu"] = "gelu"
    mlp_ratio: Positive = 4.0
    """F / D. A GeGLU has three matrices: with 8/3 it has the parameters of a plain MLP with 4."""
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup: Fraction | None = None
    """Warmup as a fraction of the steps; the scale's where absent."""
    beta1: Fraction = 0.9
    beta2: Fraction | None = None
    """The scale's where absent."""
    beta2_half_life: Literal["steps", "tokens"] = "steps"
    """What stays when the batch changes: with `tokens` beta2 becomes beta2^batch_factor (arXiv 2507.07101)."""
    eps: Positive = 1e-8
    clip: Positive | None = 1.0
    normalise: bool = False
    """Divide each tensor's gradient by its norm instead of clipping (arXiv 1707.04822)."""
    z_loss: NotNegative = 0.0
    batch_factor: Positive = 1.0
    """Batch relative to the scale's, at fixed tokens."""
    tokens_factor: Positive = 1.0
    """Tokens relative to the scale's budget."""
    epochs: Count = 1
    """Passes over the data; above 1 the cell repeats its (shorter) prefix."""
    data_share: Positive | None = None
    """A data set of this share of the pivot's budget at every width, passed over `epochs` times."""
    trainer: Name | None = None
    """A command of `trainers` that trains it; our own loop where absent."""
    options: dict[str, bool | int | float | str] = Field(default_factory=dict)
    """What only that command understands."""


AXES = tuple(name for name in Recipe.model_fields if name != "label")


class Study(Strict):
    """A question: recipes to compare, along the scale's ladder of widths and along further axes."""

    title: str
    recipes: Annotated[dict[Name, Recipe], Field(min_length=1)]
    seeds: Count | Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)] = 1
    """So many, from the scale's `first_seed` on, or a list of them."""
    seeds_at: dict[Name, Count] = Field(default_factory=dict)
    """By scale: so many instead, as its noise and its price ask."""
    rungs: Count | Annotated[list[Count], Field(min_length=1)] | None = None
    """Only the smallest so many widths of the scale's ladder, or a list of places on it, from 1; all where absent."""
    hours: dict[Name, Positive] = Field(default_factory=dict)
    """By scale: what the study may take on that scale's machine, where it is not the scale's `study_hours`."""
    pairs: list[tuple[Name, Name]] | None = None
    """Which recipes are compared, [a, b] each; all pairs where absent."""
    axes: dict[Literal[AXES], Annotated[list[Any], Field(min_length=1)]] = Field(default_factory=dict)  # type: ignore[valid-type]
    window: Count = 50
    """A run has diverged when a loss in it is not finite, or when the mean over a window of so many steps exceeds
    the loss at initialisation. Spikes are judged against the preceding window."""

    def seed_numbers(self, scale: "Scale") -> list[int]:
        """The seeds at a scale, each once; those that are only counted are numbered from its `first_seed`."""
        seeds = self.seeds_at.get(scale.name, self.seeds)
        return list(
            dict.fromkeys(range(scale.first_seed, scale.first_seed + seeds) if isinstance(seeds, int) else seeds)
        )

    def one_seed(self, **changes: Any) -> "Study":
        """The same with one seed at every scale, to be counted and priced."""
        return self.model_copy(update={"seeds": 1, "seeds_at": {}, **changes})

    @model_validator(mode="after")
    def _axes_hold_valid_values(self) -> Self:
        for name, values in self.axes.items():
            for value in values:
                Recipe.model_validate({name: value})
        return self

    @model_validator(mode="after")
    def _pairs_are_recipes(self) -> Self:
        for name in (name for pair in self.pairs or [] for name in pair):
            if name not in self.recipes:
                raise ValueError(f"pairs: recipe '{name}' is unknown; {nearest(name, list(self.recipes))}")
        return self

    @model_validator(mode="after")
    def _options_have_a_reader(self) -> Self:
        for name, recipe in self.recipes.items():
            if (recipe.options or "options" in self.axes) and not (recipe.trainer or "trainer" in self.axes):
                raise ValueError(f"recipes.{name}: options are for a trainer of one's own; name it as `trainer`")
        return self

    @model_validator(mode="after")
    def _labels_differ(self) -> Self:
        labels = [recipe.label or name for name, recipe in self.recipes.items()]
        for label in labels:
            if labels.count(label) > 1:
                raise ValueError(f"recipes: two are called '{label}' in figures and tables; give each its own label")
        return self

    @property
    def trainers(self) -> list[str]:
        """Commands that its recipes and axes name, each once."""
        named = [*(recipe.trainer for recipe in self.recipes.values()), *self.axes.get("trainer", [])]
        return list(dict.fromkeys(name for name in named if name is not None))

    def widths(self, ladder: list[int]) -> list[int]:
        """The widths of a ladder that the study uses. Raises `UsageError` for a place beyond its end."""
        if not isinstance(self.rungs, list):
            return ladder[: self.rungs]
        if max(self.rungs) > len(ladder):
            raise UsageError(f"{PARAMS}: rung {max(self.rungs)} is beyond the {len(ladder)} widths of the scale")
        return [ladder[place - 1] for place in sorted(set(self.rungs))]


class Machine(Strict):
    """Where cells are expected to run; used for predictions only."""

    name: str
    flops_per_second: Positive
    """Sustained by the whole machine, all convention parts counted; in matrix products alone beside a bandwidth."""
    bytes_per_second: Positive | None = None
    """Memory bandwidth that the whole machine sustains; where absent, `flops_per_second` is the rate of everything."""
    step_seconds: NotNegative = 0.0
    """What a step costs besides its FLOPs, divided by the cells that run at once."""
    cells_at_once: Annotated[int, Field(ge=1)] = 1
    """On a CPU its cores; on GPUs how many cells share one, for models too small to fill it (docs/speed.md)."""
    memory_gb: Positive | None = None
    """Of one GPU, in 10^9 bytes; `crossover plan` states what each cell asks for and refuses what does not fit."""
    usd_per_hour: Annotated[float, Field(ge=0)] = 0.0


class Scale(Strict):
    """How big: the ladder of widths and everything that recipes do not name."""

    name: str = ""
    """Its key in params.yaml, filled in when that is read."""
    corpus: Name
    tokenizer: Tokenizer
    shard_tokens: Count
    machine: Machine
    depth: Count
    widths: Annotated[list[Count], Field(min_length=1)]
    head_dim: Annotated[int, Field(gt=0, multiple_of=2)]
    seq_len: Count
    batch: Count
    micro_batch: Count | None = None
    """Sequences per forward pass, for batches that do not fit; gradients are added up. The whole batch where absent."""
    tokens_per_parameter: Positive = 20.0
    """Per non-embedding parameter (12 L D^2)."""
    tokens: Count | None = None
    """A fixed budget instead of tokens_per_parameter."""
    study_hours: Positive = 1.0
    """What a study may take on the machine; `plan` refuses more."""
    pivot: Count
    """Width at which every width rule has exponent-free value; two LR rules meet here."""
    lr: Positive
    final_lr: Annotated[float, Field(ge=0)] = 1e-5
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    warmup: Fraction = 0.1
    """Of recipes that name none: how long depends on how few the steps are."""
    beta2: Fraction = 0.95
    """Of recipes that name none: how long Adam remembers depends on the batch."""
    first_seed: Annotated[int, Field(ge=0)] = 0
    """Where seeds that a study only counts begin: settings chosen on some seeds are measured on others."""
    precision: Literal["fp32", "tf32", "bf16"] = "fp32"
    validation_tokens: Count
    seen_tokens: Count
    """Trained-on tokens that `loss_seen` is measured on."""
    interest: Interest | None = None
    """Smallest effect of interest of the claims at this scale."""
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


class Active(Strict):
    """One study at one scale, run by `dvc repro`."""

    study: Name
    scale: Name


class Params(Strict):
    """All of params.yaml."""

    active: dict[str, Active]
    claims: dict[Name, Claim] = Field(default_factory=dict)
    corpora: dict[Name, Corpus]
    scales: dict[Name, Scale]
    studies: dict[Name, Study]
    trainers: dict[Name, Command] = Field(default_factory=dict)

    @field_validator("scales")
    @classmethod
    def _scales_know_their_names(cls, scales: dict[str, Scale]) -> dict[str, Scale]:
        return {name: scale.model_copy(update={"name": name}) for name, scale in scales.items()}

    @model_validator(mode="after")
    def _references_exist(self) -> Self:
        for key, item in self.active.items():
            if key != f"{item.study}-{item.scale}":
                raise ValueError(f"active.{key} must be named {item.study}-{item.scale}")
            self.study(item.study)
            self.scale(item.scale)
        for name, scale in self.scales.items():
            _look_up(self.corpora, scale.corpus, f"scales.{name}.corpus")
            if scale.interest:
                where = f"scales.{name}.interest"
                study = _look_up(self.studies, scale.interest.study, f"{where}.study")
                _look_up(study.recipes, scale.interest.recipe, f"{where}.recipe")
        for name, claim in self.claims.items():
            _look_up(self.studies, claim.study, f"claims.{name}.study")
        for name, study in self.studies.items():
            for trainer in study.trainers:
                _look_up(self.trainers, trainer, f"studies.{name}: trainer")
        return self

    @model_validator(mode="after")
    def _changes_of_sources_are_noticed(self) -> Self:
        named = {f"scales.{name}.tokenizer.file": scale.tokenizer.outside for name, scale in self.scales.items()}
        named |= {f"corpora.{name}": corpus.outside for name, corpus in self.corpora.items()}
        for where, path in named.items():
            if path:
                raise ValueError(
                    f"{where}: '{path}' lies outside {SOURCES}, where DVC would not notice that it changed; "
                    "put the files there, or links to them"
                )
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
        "active": Active, "claims": Claim, "scales": Scale, "studies": Study, "recipes": Recipe, "tokenizer": Tokenizer,
        "machine": Machine, "trainers": Command, "weight_decay": DecayRule, "pydocs": Pydocs, "c4": C4, "files": Files,
        **dict.fromkeys(
            ("lr", "lr_embedding", "lr_head", "lr_gains", "embedding_std", "head_std"), WidthRule
        ),
    }  # fmt: skip
    for part in where:
        model = models.get(part, model)
    return list(model.model_fields)
