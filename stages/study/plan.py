"""From a study and a scale to its cells. Pure arithmetic: it needs no data, no GPU and no torch.

A plan has one row per recipe, width, axis value and seed. Rows may share a cell: where two recipes coincide (two
learning-rate rules at the pivot) they are one run, marked as a structural pair, trained once.
"""

from collections import Counter
from collections.abc import Iterator
from itertools import product
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from stages.study.cell import Cell
from stages.study.costs import nonembedding
from stages.study.errors import UsageError
from stages.study.params import Params, Recipe, Scale, Study


class Row(BaseModel):
    """One planned cell under the name a study gives it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipe: str
    axes: dict[str, Any]
    """The value of each of the study's axes."""
    structural_pair: bool
    """Another recipe's row is this very run, so their difference is zero by construction."""
    cell: Cell


def plan_rows(study: Study, scale: Scale) -> list[Row]:
    """Every row of a study at a scale, in a stable order. Raises `UsageError` for a cell that cannot exist."""
    drafts = list(_drafts(study, scale))
    recipes_of = Counter(cell for cell, _ in {(cell, name) for name, _, cell in drafts})
    return [Row(recipe=name, axes=axes, structural_pair=recipes_of[cell] > 1, cell=cell) for name, axes, cell in drafts]


def _drafts(study: Study, scale: Scale) -> Iterator[tuple[str, dict[str, Any], Cell]]:
    widths = scale.widths[: study.rungs]
    for (name, recipe), width, values, seed in product(
        study.recipes.items(), widths, product(*study.axes.values()), range(study.seeds)
    ):
        axes = dict(zip(study.axes, values, strict=True))
        varied = Recipe.model_validate({**recipe.model_dump(), **axes})
        yield name, axes, resolve(varied, scale, width, seed, study.window)


def resolve(recipe: Recipe, scale: Scale, width: int, seed: int, window: int) -> Cell:
    """The cell of one recipe at one width of a scale."""
    batch = round(scale.batch * recipe.batch_factor)
    budget = scale.tokens or scale.tokens_per_parameter * nonembedding(scale.depth, width)
    steps = round(budget / (batch * scale.seq_len)) if batch else 0
    if steps < 1:
        raise UsageError(f"width {width}: {budget:.0f} tokens do not fill one batch of {batch} x {scale.seq_len}")
    windows = -(-steps * batch // recipe.epochs)
    return _cell(
        width=width,
        depth=scale.depth,
        heads=width // scale.head_dim,
        seq_len=scale.seq_len,
        vocab_size=scale.tokenizer.vocab_size,
        qk_norm=recipe.qk_norm,
        batch=batch,
        steps=steps,
        unique_tokens=windows * scale.seq_len,
        lr=recipe.lr.at(scale.lr, width, scale.pivot) * 2.0**recipe.lr_octaves,
        final_lr=scale.final_lr,
        schedule=recipe.schedule,
        warmup_steps=round(recipe.warmup * steps),
        beta1=recipe.beta1,
        beta2=recipe.beta2,
        eps=recipe.eps,
        weight_decay=recipe.weight_decay.at(scale.weight_decay, width, scale.pivot),
        clip=recipe.clip,
        z_loss=recipe.z_loss,
        precision=scale.precision,
        window=window,
        seed=seed,
    )


def _cell(**fields: Any) -> Cell:
    try:
        return Cell(**fields)
    except ValidationError as error:
        raise UsageError(f"width {fields['width']}: {error.errors()[0]['msg']}") from None


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
            # one token more than the inputs: the last input's target
            train_tokens=max([row.cell.unique_tokens + 1 for row in rows] + [known.train_tokens if known else 0]),
            validation_tokens=max(scale.validation_tokens + 1, known.validation_tokens if known else 0),
        )
    return needs
