"""Which of two recipes wins along x, and where they cross."""

from collections.abc import Sequence
from dataclasses import replace

from crossover.answers.compare import Settings
from crossover.answers.compare import compare as compare_arrays
from crossover.answers.comparison import Comparisons
from crossover.api.places import Place, read_place
from crossover.base.errors import UsageError
from crossover.runs.losses import find_checkpoints, name_lost, read_losses
from crossover.runs.roles import POOLED
from crossover.runs.table import Tabular, read_runs


def compare(
    table: Tabular,
    *,
    at: Place | None = None,
    x: str = "flops",
    loss: str = "loss",
    by: str = "recipe",
    pair: str | None = None,
    only: Sequence[tuple[str, str]] | None = None,
    cost: str | None = None,
    law: str = "auto",
    where: str | None = None,
) -> Comparisons:
    """Compare the recipes of a table along x: who wins, how sure that is, where they cross. Intervals are 90%.

    Runs of two recipes at one x with one pair label are compared pair by pair; recipes that share fewer than two sizes
    through each one's own law.

    Args:
        table: one row per run: a file's path, a DataFrame, or columns by name as arrays of one length n.
        at: a size to extrapolate the difference to, in the unit of x: 1e22, or {"x": 1e22}, or "x=1e22".
        x: column, or expression of columns, of n positive sizes in any unit: FLOPs, tokens, parameters.
        loss: column or expression of n losses, in any unit and of either sign; of a metric that rises `-accuracy`,
            which is refused without its sign; missing or infinite ones are diverged runs.
        by: column that names the recipe.
        pair: column that pairs runs of one size: the seed.
        only: pairs (A, B) to compare; all where absent.
        cost: column or expression of a run's cost (seconds, dollars), for what a recipe is worth at that throughput.
        law: of each recipe, for what a difference is worth in compute and for runs at unlike sizes: `power`,
            `power_floor` (`auto` from five sizes on), `m4` or `bnsl`.
        where: keep rows that satisfy this, as `flops > 1e18`.

    Returns:
        One `Comparison` per pair, B against A, differences loss(B) - loss(A) in the unit of the loss.

    Raises:
        UsageError: a column that is not there, one recipe alone, a value that is not positive.

    Source: the question of Xiao 2024 (arXiv 2409.15156); the belief is `crossover.belief.difference`, and
    docs/decide.md says how right it is on published ladders.

    >>> import numpy as np
    >>> size, seed = np.repeat([1e16, 1e17, 1e18, 1e19, 1e20], 3), np.tile([0, 1, 2], 5)
    >>> a = 3.0 * (size / 2e17) ** -0.05
    >>> b = 3.0 * (size / 2e17) ** -0.06 + 0.001 * (seed - 1)
    >>> runs = {"flops": np.tile(size, 2), "recipe": np.repeat(["a", "b"], 15), "seed": np.tile(seed, 2)}
    >>> found = compare(runs | {"loss": np.concatenate([a, b])}, pair="seed", at=1e21)
    >>> found.pairs[0].verdict, f"{found.pairs[0].crossover.value:.1g}", found.pairs[0].gap.decision.choose
    ('crosses', '2e+17', 'b')
    """
    if by == POOLED:
        raise UsageError("a comparison needs the column that names the recipe: --by")
    runs = read_runs(table, where)
    target = None if at is None else read_place(at, {"x": x})["x"]
    result = compare_arrays(
        runs.numbers(x), read_losses(runs, loss), runs.labels(by), pair=None if pair is None else runs.labels(pair),
        pairs=only, cost=None if cost is None else runs.numbers(cost), settings=Settings(law, target), names=(x, loss),
    )  # fmt: skip
    again = find_checkpoints(runs, x)
    pairs = [replace(item, flags=[*item.flags, *again]) for item in result.pairs] if again else result.pairs
    return replace(result, pairs=pairs, left_out=[*runs.left_out, *name_lost(result.left_out, runs, by, x, loss)])
