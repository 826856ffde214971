"""The stage `ridge`: the text of the first active study -> data/results/ridge.json, errors by number of features.

python -m stages.ridge
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np

from crossover.base.entry import guarded
from crossover.base.errors import UsageError
from crossover.base.files import write_json
from stages.ridge.regression import mean_squares, random_features, ridge
from stages.ridge.text import Problem, text_problem
from stages.shards.index import read_index
from stages.shards.reading import read_prefix
from stages.study.params import load_params
from stages.study.processes import die_with_this_parent

RESULT = Path("data/results/ridge.json")
_SAMPLES, _TEST, _DRAWS = 400, 2000, 8
_SHARES = (0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 0.85, 1.0, 1.15, 1.4, 2.0, 3.0, 5.0, 8.0, 16.0)
"""Features per sample."""
_PENALTIES = [0.0, 1e-5, *np.geomspace(1e-4, 1.0, 9).tolist()]
_FIXED = 2  # the penalty shown next to none and the tuned one


def trace(problem: Problem, samples: int, test: int, draws: int = _DRAWS) -> dict[str, Any]:
    """Train and test error along the number of features, means over draws of samples and features.

    `ridgeless` has no penalty, `fixed` a small one, `tuned` the best of a grid on as many further samples.
    """
    counts = sorted({max(1, round(share * samples)) for share in _SHARES})
    errors = np.array([_draw(problem, samples, test, counts, seed) for seed in range(draws)])  # draws, P, kind, part
    kinds = ("ridgeless", "fixed", "tuned")
    return {
        "samples": samples,
        "draws": draws,
        "features": counts,
        "fixed_penalty": _PENALTIES[_FIXED],
        **{
            kind: {
                part: {"mean": errors[:, :, k, j].mean(0), "se": errors[:, :, k, j].std(0, ddof=1) / np.sqrt(draws)}
                for j, part in enumerate(("train", "test"))
            }
            for k, kind in enumerate(kinds)
        },
    }


def _draw(problem: Problem, samples: int, test: int, counts: list[int], seed: int) -> list[list[tuple[float, float]]]:
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(problem.y_N))
    train, tune, held = np.split(order[: 2 * samples + test], [samples, 2 * samples])
    weights_CxP = generator.normal(size=(problem.x_NxC.shape[1], counts[-1]))
    found = []
    for count in counts:
        phi = {
            name: random_features(problem.x_NxC[rows], weights_CxP[:, :count])
            for name, rows in (("train", train), ("tune", tune), ("test", held))
        }
        solutions = ridge(phi["train"], problem.y_N[train], _PENALTIES)
        best = int(mean_squares(phi["tune"], problem.y_N[tune], solutions).argmin())
        fit, off = (
            mean_squares(phi[part], problem.y_N[rows], solutions) for part, rows in (("train", train), ("test", held))
        )
        found.append([(float(fit[k]), float(off[k])) for k in (0, _FIXED, best)])
    return found


def main() -> None:
    """Trace the regression problem of the first active study's text."""
    params = load_params()
    scale = params.scale(next(iter(params.active.values())).scale)
    text = read_index().texts[scale.text]
    tokens = read_prefix(scale.text, text, "train", text.train.tokens).astype(np.int64)
    problem = text_problem(tokens, scale.tokenizer.vocab_size, scale.seq_len)
    samples = min(_SAMPLES, len(problem.y_N) // 4)
    if samples < 2:
        raise UsageError(
            f"text {scale.text} holds {len(problem.y_N)} windows of {scale.seq_len}, too few to regress on"
        )
    result = trace(problem, samples, min(_TEST, len(problem.y_N) - 2 * samples))
    write_json(RESULT, {"text": scale.text, **{key: _plain(value) for key, value in result.items()}})
    worst = result["features"][int(result["ridgeless"]["test"]["mean"].argmax())]
    print(f"without a penalty the test error peaks at {worst} features for {samples} samples")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value.tolist() if isinstance(value, np.ndarray) else value


if __name__ == "__main__":
    die_with_this_parent()
    sys.exit(guarded(main))
