"""From a study and a scale to its cells. Pure arithmetic: it needs no data, no GPU and no torch.

A plan has one row per recipe, width, axis value and seed. Rows may share a cell: where two recipes coincide (two
learning-rate rules at the pivot) they are one run, marked as a structural pair, trained once.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import product
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from crossover.base.errors import UsageError
from stages.study.cell import Cell
from stages.study.collector import no_collection
from stages.study.costs import nonembedding, peak_memory, seconds
from stages.study.params import PARAMS, Params, Recipe, Scale, Study, WidthRule


class Row(BaseModel):
    """One planned cell under the name a study gives it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipe: str
    axes: dict[str, Any]
    """The value of each of the study's axes."""
    structural_pair: bool
    """Another recipe's row is this very run, so their difference is zero by construction."""
    cell: Cell


@no_collection()
def plan_rows(study: Study, scale: Scale) -> list[Row]:
    """Every row of a study at a scale, in a stable order. Raises `UsageError` for a cell that cannot exist."""
    drafts = list(_drafts(study, scale))
    recipes_of = Counter(cell for cell, _ in {(cell, name) for name, _, cell in drafts})
    return [Row(recipe=name, axes=axes, structural_pair=recipes_of[cell] > 1, cell=cell) for name, axes, cell in drafts]


def _drafts(study: Study, scale: Scale) -> Iterator[tuple[str, dict[str, Any], Cell]]:
    first, *others = study.seed_numbers(scale)
    for name, recipe in study.recipes.items():
        variants = list(_variants(study, recipe))
        for width, (axes, varied) in product(study.widths(scale.widths), variants):
            cell = resolve(varied, scale, width, first, study.window)
            yield name, axes, cell
            for seed in others:
                yield name, axes, cell.model_copy(update={"seed": seed})


def _variants(study: Study, recipe: Recipe) -> Iterator[tuple[dict[str, Any], Recipe]]:
    """The recipe at every combination of the axes' values."""
    for values in product(*study.axes.values()):
        axes = dict(zip(study.axes, values, strict=True))
        yield axes, Recipe.model_validate({**recipe.model_dump(), **axes})


def resolve(recipe: Recipe, scale: Scale, width: int, seed: int, window: int) -> Cell:
    """The cell of one recipe at one width of a scale."""
    batch = round(scale.batch * recipe.batch_factor)
    steps, windows = _length(recipe, scale, width, batch)
    lr = _rate(recipe, recipe.lr, scale, width)
    std = scale.pivot**-0.5
    beta2 = scale.beta2 if recipe.beta2 is None else recipe.beta2
    return _cell(
        width=width,
        depth=scale.depth,
        heads=width // scale.head_dim,
        seq_len=scale.seq_len,
        vocab_size=scale.tokenizer.vocab_size,
        qk_norm=recipe.qk_norm,
        activation=recipe.activation,
        hidden=round(recipe.mlp_ratio * width),
        embedding_std=recipe.embedding_std.at(std, width, scale.pivot),
        head_std=recipe.head_std.at(std, width, scale.pivot),
        batch=batch,
        micro_batch=_micro_batch(scale, batch),
        steps=steps,
        unique_tokens=windows * scale.seq_len,
        optimizer=recipe.optimizer,
        lr=lr,
        lr_embedding=_rate(recipe, recipe.lr_embedding, scale, width),
        lr_head=_rate(recipe, recipe.lr_head, scale, width),
        lr_gains=_rate(recipe, recipe.lr_gains, scale, width),
        final_lr=scale.final_lr,
        schedule=recipe.schedule,
        warmup_steps=round((scale.warmup if recipe.warmup is None else recipe.warmup) * steps),
        beta1=recipe.beta1,
        beta2=beta2 ** (recipe.batch_factor if recipe.beta2_half_life == "tokens" else 1),
        eps=recipe.eps,
        weight_decay=recipe.weight_decay.per_step(scale.weight_decay, width, scale.pivot, lr, steps),
        l2=recipe.l2,
        clip=recipe.clip,
        normalise=recipe.normalise,
        z_loss=recipe.z_loss,
        precision=scale.precision,
        window=window,
        seed=seed,
        trainer=recipe.trainer,
        options=tuple(sorted(recipe.options.items())),
    )


def _rate(recipe: Recipe, rule: WidthRule | None, scale: Scale, width: int) -> float:
    """The peak rate by a rule, or by the recipe's own where there is none."""
    base = (rule or recipe.lr).at(scale.lr, width, scale.pivot)
    return float(base * 2.0**recipe.lr_octaves * recipe.batch_factor**recipe.lr_batch_exponent)


def _length(recipe: Recipe, scale: Scale, width: int, batch: int) -> tuple[int, int]:
    """Steps, and the windows of the data set they go over. Raises `UsageError` where it does not fill a batch."""
    budget = recipe.tokens_factor * _budget(scale, width)
    if recipe.data_share is not None:
        budget = recipe.data_share * _budget(scale, scale.pivot) * recipe.epochs
    steps = round(budget / (batch * scale.seq_len)) if batch else 0
    windows = -(-steps * batch // recipe.epochs)
    if windows < max(batch, 1):
        raise UsageError(
            f"width {width}: {budget / recipe.epochs:.0f} tokens do not fill one batch of {batch} x {scale.seq_len}"
        )
    return steps, windows


def _budget(scale: Scale, width: int) -> float:
    return scale.tokens or scale.tokens_per_parameter * nonembedding(scale.depth, width)


def _micro_batch(scale: Scale, batch: int) -> int:
    micro = min(scale.micro_batch or batch, batch)
    if batch % micro:
        raise UsageError(f"a batch of {batch} is no multiple of micro_batch {micro}; choose one that divides it")
    return micro


def _cell(**fields: Any) -> Cell:
    try:
        return Cell(**fields)
    except ValidationError as error:
        raise UsageError(f"width {fields['width']}: {error.errors()[0]['msg']}") from None


def hours(cells: Iterable[Cell], scale: Scale) -> float:
    """Predicted hours of some cells on the scale's machine."""
    return math.fsum(seconds(cell, scale) for cell in cells) / 3600


def require_budget(params: Params, study_name: str, scale_name: str, needed: float) -> None:
    """Refuse a study that is predicted to need more hours than it may. Raises `UsageError`."""
    study, scale = params.study(study_name), params.scale(scale_name)
    allowed = study.hours.get(scale_name, scale.study_hours)
    if needed > allowed:
        raise UsageError(
            f"{PARAMS}: {study_name}-{scale_name} would take {needed:.3g} h on {scale.machine.name}, over its budget "
            f"of {allowed:g} h; take away seeds, rungs or axis values, or raise studies.{study_name}.hours.{scale_name}"
        )


def require_memory(scale_name: str, scale: Scale, cells: Iterable[Cell]) -> None:
    """Refuse cells that do not fit the scale's GPU. Raises `UsageError` for the largest."""
    if (room := scale.machine.memory_gb) is None:
        return
    needed, largest = max(((peak_memory(cell, 1e9 * room) / 1e9, cell) for cell in cells), key=lambda item: item[0])
    if needed > room:
        raise UsageError(
            f"{PARAMS}: width {largest.width} of scale {scale_name} would take {needed:.3g} GB of "
            f"{scale.machine.name}, which has {room:g}; lower scales.{scale_name}.micro_batch (now "
            f"{largest.micro_batch}), leave wide rungs out, or state another machine"
        )


class TextNeed(BaseModel):
    """What the active studies need of one tokenized text."""

    model_config = ConfigDict(frozen=True)

    scale: Scale
    """A scale that declares the text: its corpus, tokenizer and shard size."""
    train_tokens: int
    validation_tokens: int


def texts_needed(params: Params) -> dict[str, TextNeed]:
    """Per tokenized text, what all active studies together need of it."""
    needs: dict[str, TextNeed] = {}
    for item in params.active.values():
        scale = params.scale(item.scale)
        rows = plan_rows(params.study(item.study), scale)
        known = needs.get(scale.text)
        if known and (known.scale.tokenizer, known.scale.shard_tokens) != (
            scale.tokenizer,
            scale.shard_tokens,
        ):
            raise UsageError(
                f"scale {item.scale}: tokenizer or shard_tokens differ from another scale's of {scale.text}"
            )
        needs[scale.text] = TextNeed(
            scale=known.scale if known else scale,
            train_tokens=max(
                [row.cell.reach(scale.seen_tokens) for row in rows] + [known.train_tokens if known else 0]
            ),
            validation_tokens=max(scale.validation_tokens + 1, known.validation_tokens if known else 0),
        )
    return needs
