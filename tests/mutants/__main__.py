"""`make mutants`: plants each bug in a copy of the source and runs the tests of its area; writes docs/mutants.md.

python -m tests.mutants [number ...]
"""

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import REPOSITORY

DOCUMENT = Path("docs/mutants.md")
_AREAS = {
    "fit": ["tests/answers", "tests/laws", "tests/fit", "tests/verdicts"],
    "fingerprint": ["tests/base", "tests/study", "tests/cells", "tests/shards"],
    "evaluate": ["tests/evaluate", "tests/shards", "tests/cells", "tests/end_to_end/test_dvc.py"],
    "gates": ["tests/check"],
    "train": ["tests/train", "tests/study"],
    "trainers": ["tests/cells/test_command.py"],
    "advise": ["tests/answers/test_advise.py", "tests/cli/test_advise.py"],
    "forecasts": ["tests/ledger", "tests/cli/test_predict.py"],
    "import": ["tests/logs", "tests/cli/test_import.py"],
    "power": ["tests/verdicts/test_design.py"],
    "accept": ["tests/cells/test_again.py"],
    "sharded": ["-m", "slow", "tests/cells/test_together.py"],  # the last -m counts
}


@dataclass(frozen=True)
class Bug:
    """A piece of source, and what a tired person might have written instead."""

    area: str
    what: str
    file: str
    right: str
    wrong: str


BUGS = [
    Bug("fit", "a one-sided t factor for a two-sided interval", "crossover/runs/estimates.py",
        "special.stdtrit(dof, 0.5 + CONFIDENCE / 2)", "special.stdtrit(dof, CONFIDENCE)"),
    Bug("fit", "P(B better) with the sign of P(A better)", "crossover/belief/spread.py",
        "student_cdf(-self.mean / self.scale)", "student_cdf(self.mean / self.scale)"),
    Bug("fit", "the evidence of a long ladder at its whole word", "crossover/belief/difference.py",
        "min(1.0, self.prior.rungs / len(self.track.x))", "1.0"),
    Bug("fit", "the noise of a mean is that of one run", "crossover/belief/difference.py",
        "spread.with_noise(self.track.noise / runs)", "spread.with_noise(self.track.noise)"),
    Bug("fit", "rows logged twice are repeats", "crossover/answers/ladders.py",
        "return stays | ~is_full(loss)", "return np.ones(len(x), bool)"),
    Bug("fit", "what a seed adds to all rungs is a difference of recipes", "crossover/answers/ladders.py",
        "return min(max(share - error, 0.0), 1.0), seeds", "return 0.0, seeds"),
    Bug("fit", "the lever arm in natural logarithms", "crossover/answers/crossing.py",
        "root - high)) / _DECADE for", "root - high)) for"),
    Bug("fit", "one badly tuned rung makes a crossing", "crossover/answers/crossing.py",
        "return CROSSES if stays else UNDECIDED", "return CROSSES"),
    Bug("fit", "Welch's variance over n", "crossover/runs/groups.py",
        "for name in repeated]) / dof", "for name in repeated]) / (dof + 1)"),
    Bug("fit", "the noise of seeds is one for all widths", "crossover/runs/groups.py",
        "steep = float(np.clip(steep + step", "steep = float(0 * np.clip(steep + step"),
    Bug("fit", "a negligible difference is a difference", "stages/verdicts/judge.py",
        '"below": (lower and not negligible, higher or negligible)', '"below": (lower, higher)'),
    Bug("fit", "blocks of text are left out of a variance as if they were independent runs", "stages/verdicts/noise.py",
        "(len(values) - 1) / len(values) *", "1 / len(values) *"),
    Bug("fingerprint", "JSON whose keys keep their order", "crossover/base/canonical.py",
        "JSONEncoder(sort_keys=True", "JSONEncoder(sort_keys=False"),
    Bug("fingerprint", "the shard of the last target is left out", "stages/cells/plan.py",
        'text.digests("train", cell.unique_tokens + 1)', 'text.digests("train", cell.unique_tokens)'),
    Bug("fingerprint", "imports of imports are not followed", "stages/study/identity.py",
        "waiting += _imports(", "_ = _imports("),
    Bug("fingerprint", "the tokenizer is no part of it", "stages/store/store.py",
        "return digest(self.model_dump())", 'return digest(self.model_dump(exclude={"tokenizer"}))'),
    Bug("fingerprint", "constants of the source do not count", "stages/study/identity.py",
        'return ["Constant", repr(node.value)]', 'return ["Constant", type(node.value).__name__]'),
    Bug("evaluate", "documents end a token early", "stages/evaluate/losses.py",
        "held_out[1 : len(losses_T) + 1] == end_of_text", "held_out[: len(losses_T)] == end_of_text"),
    Bug("evaluate", "unseen windows are those trained on", "stages/shards/windows.py",
        "return windows + np.sort(drawn)", "return np.sort(drawn)"),
    Bug("evaluate", "the last window is forgotten", "stages/evaluate/losses.py",
        "np.arange(validation_tokens // cell.seq_len)", "np.arange(validation_tokens // cell.seq_len - 1)"),
    Bug("evaluate", "no correction for few blocks", "stages/evaluate/losses.py",
        "np.sqrt(blocks / (blocks - 1) * ", "np.sqrt("),
    Bug("evaluate", "training text is held out", "stages/cells/one.py",
        'plan.text, "validation", plan', 'plan.text, "train", plan'),
    Bug("evaluate", "bits per byte multiplied by the bytes", "stages/cells/assemble.py",
        "bits / plan.text.validation", "bits * plan.text.validation"),
    Bug("gates", "one pass counts as repeated text", "stages/check/losses.py",
        'table["tokens"] > table["unique_tokens"]', 'table["tokens"] >= table["unique_tokens"]'),
    Bug("gates", "cells that nobody planned pass", "stages/check/losses.py",
        'column="planned", value_set=[True])', 'column="planned", value_set=[True, False])'),
    Bug("gates", "tokens of the wrong size on disk pass", "stages/check/tokens.py",
        '(2 if text.dtype == "uint16" else 4)', '(4 if text.dtype == "uint16" else 2)'),
    Bug("gates", "a shard in both splits passes", "stages/check/tokens.py",
        'ExpectColumnValuesToBeUnique(column="sha256")', 'ExpectColumnValuesToNotBeNull(column="sha256")'),
    Bug("train", "no bias correction", "stages/train/optimizer.py",
        "float(step), 1 - cell.beta1**step", "1e6, 1 - cell.beta1**step"),
    Bug("train", "the cosine is a step late", "stages/train/schedule.py",
        "(step - cell.warmup_steps + 1)", "(step - cell.warmup_steps)"),
    Bug("train", "a checkpoint of any owner is taken", "stages/train/checkpoint.py",
        'f"{self.owner} {step} {seconds!r}"', 'f"{step} {seconds!r}"'),
    Bug("trainers", "each of the three held-out sets is checked for the size of the first", "stages/cells/command.py",
        "if found[name].size != len(numbers) * cell.seq_len or", "if found[name].size % cell.seq_len or"),
    Bug("trainers", "the program is no part of its cells' fingerprints", "stages/cells/plan.py",
        "trained_by = trainers[cell.trainer].source if cell.trainer else source", "trained_by = source"),
    Bug("trainers", "divergence is looked for at the end alone", "stages/cells/command.py",
        "ends = [*range(cell.window, len(steps), cell.window), len(steps)]", "ends = [len(steps)]"),
    Bug("advise", "the gain of a choice without what it gives up", "crossover/answers/decision.py",
        "- abs(mean) * special.ndtr(-ratio)", "- 0.0 * abs(mean) * special.ndtr(-ratio)"),
    Bug("advise", "P(B wins) with the sign of P(A wins)", "crossover/answers/advising/standing.py",
        "special.ndtr(-value / sd)), regret)", "special.ndtr(value / sd)), regret)"),
    Bug("advise", "the second run of a pair has all of the noise", "crossover/answers/advising/sequence.py",
        "self.cells.noise[cells] * (1 - lean[:, 0] ** 2)", "self.cells.noise[cells]"),
    Bug("advise", "a chosen cell leaves what the others would tell as it was", "crossover/answers/advising/sequence.py",
        "self.cov -= seen.T * seen / spread", "self.cov -= 0 * seen.T * seen / spread"),
    Bug("advise", "what was spent is not missed", "crossover/answers/advising/sequence.py",
        "self.left -= float(cost[best])", "self.left -= 0.0 * float(cost[best])"),
    Bug("advise", "what the law lacks is never rough", "crossover/belief/posterior.py",
        "_ROUGH = (0.03, 1.0)", "_ROUGH = (0.03, 0.03)"),
    Bug("advise", "a run that went astray counts like the others", "crossover/belief/posterior.py",
        "width = np.sqrt((_FREEDOM + (off**2 + doubt) / unit**2) / (_FREEDOM + 1))", "width = np.ones(len(loss))"),
    Bug("advise", "what a recipe lacks the other lacks too", "crossover/belief/posterior.py",
        "_APART = (0.02, 0.5)", "_APART = (0.0, 0.0)"),
    Bug("advise", "a pair's noise is nowhere shared", "crossover/belief/posterior.py",
        "noise[first, later] = shared * scale", "noise[first, later] = 0.0 * scale"),
    Bug("advise", "what the law lacks is certain at the target", "crossover/belief/posterior.py",
        "* (between - gain @ across.T) + flat", "* 0.0 * (between - gain @ across.T) + flat"),
    Bug("advise", "members agree on the answer", "crossover/belief/posterior.py",
        "sum(within) + apart.T @ apart", "sum(within) + 0.0 * apart.T @ apart"),
    Bug("forecasts", "a line sealed without the one before it", "crossover/ledger/chain.py",
        'seal = digest({"body": body, "previous": previous})', 'seal = digest({"body": body})'),
    Bug("forecasts", "a whole chain written anew passes", "crossover/ledger/chain.py",
        "if not content.startswith(older):", "if content.count(b\"\\n\") < older.count(b\"\\n\"):"),
    Bug("forecasts", "the Brier score of the other recipe", "crossover/ledger/scoring.py",
        "0.5 if a == b else float(b < a)", "0.5 if a == b else float(a < b)"),
    Bug("forecasts", "a one-sided interval of the coverage", "crossover/ledger/scoring.py",
        "tail = (1 - CONFIDENCE) / 2", "tail = 1 - CONFIDENCE"),
    Bug("forecasts", "the mean of many runs scatters as one does", "crossover/answers/predict.py",
        "fitted.cov.residual_sd / math.sqrt(count)", "fitted.cov.residual_sd"),
    Bug("forecasts", "cells in training before the forecast are scored", "crossover/ledger/scoring.py",
        "datetime.fromisoformat(found.started) < lodged", "datetime.fromisoformat(found.started) > lodged"),
    Bug("import", "beside the smallest loss, the other metrics of the end", "crossover/logs/picking.py",
        "[step for step in curve if step <= end]", "list(curve)"),
    Bug("import", "what was logged first at a step counts", "crossover/logs/logged.py",
        "setdefault(metric, {})[step] = value", "setdefault(metric, {}).setdefault(step, value)"),
    Bug("import", "val/loss is taken for the training loss", "crossover/logs/guessing.py",
        "sorted(role.names, key=len, reverse=True)", "sorted(role.names, key=len)"),
    Bug("import", "a mean from the first points", "crossover/logs/picking.py",
        "list(points.values())[-count:]", "list(points.values())[:count]"),
    Bug("power", "a normal quantile for the noncentral t", "stages/verdicts/design.py",
        "special.nctdtrinc(dof, 1 - power, factor)", "(factor + special.ndtri(power))"),
    Bug("power", "noise of a run for that of a pair", "stages/verdicts/design.py",
        "math.sqrt(2) * self.seed_sd", "self.seed_sd"),
    Bug("accept", "a loss far lower passes for the same", "stages/cells/again.py",
        "abs(self.difference) <= allowed", "self.difference <= allowed"),
    Bug("accept", "the same steps are the same curve", "stages/cells/again.py",
        "and _curve(before, old).equals(_curve(now, new))", "and len(_curve(before, old)) == len(_curve(now, new))"),
    Bug("accept", "two that were not evaluated are told nothing of", "stages/cells/again.py",
        "    return [record.loss_online for _, record in whole if record.loss_online is not None]", "    return []"),
    Bug("sharded", "the norm of this process's part alone", "stages/train/parameters.py",
        "        dist.all_reduce(square)\n", ""),
    Bug("sharded", "parameters of a checkpoint that never arrive", "stages/train/parameters.py",
        "            part.copy_(laid.to_local().flatten())\n", "            laid.to_local()\n"),
    Bug("sharded", "moments of a checkpoint that never arrive", "stages/train/parameters.py",
        "                self.take(row, whole_row)", "                whole_row"),
    Bug("sharded", "an update that the model never sees", "stages/train/parameters.py",
        "self._part(parameter.detach()).copy_(", "self._part(parameter.detach()).clone().copy_("),
]  # fmt: skip


_COPIED = ("crossover", "stages", "flows", "tests", "trainers", "docs")
_LEFT = (".git", ".venv")


def lay_out(folder: Path) -> None:
    """A working tree of which a bug may have the source."""
    for name in _COPIED:
        shutil.copytree(REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in REPOSITORY.iterdir():
        if path.name not in (*_COPIED, *_LEFT):
            (folder / path.name).symlink_to(path)


def plant(bug: Bug, folder: Path) -> None:
    """Put the wrong words in place of the right ones."""
    path = folder / bug.file
    text = path.read_text()
    assert text.count(bug.right) == 1, f"{bug.what}: the source has changed; update the bug"
    path.write_text(text.replace(bug.right, bug.wrong))


def failing(area: str, folder: Path) -> str:
    """The first test of the area that fails, or nothing."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-m", "not slow", "-p", "no:cacheprovider", *_AREAS[area]]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(folder)}
    )
    failed = [line.split()[1] for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return failed[0].rsplit("/", 1)[-1].split("[")[0] if failed else ""


def require_passing(areas: set[str]) -> None:
    """A test that fails without any bug would be taken for one that catches it. Raises `SystemExit`."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        lay_out(Path(folder))
        for area in sorted(areas):
            if test := failing(area, Path(folder)):
                raise SystemExit(f"{area}: {test} fails without a bug; nothing was planted")


def main() -> None:
    """Plant them all, or those named by number; exit code 1 where more than one is missed."""
    chosen = [BUGS[int(number) - 1] for number in sys.argv[1:]] or BUGS
    require_passing({bug.area for bug in chosen})
    lines, missed = [], 0
    for bug in chosen:
        with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
            lay_out(Path(folder))
            plant(bug, Path(folder))
            test = failing(bug.area, Path(folder))
        missed += not test
        lines.append(f"| {bug.area} | {bug.what} | {f'`{test}`' if test else '**missed**'} |")
        print(lines[-1], flush=True)
    if chosen is BUGS:
        count = f"{len(BUGS) - missed} of {len(BUGS)} are caught"
        head = f"# Bugs planted by hand\n\n`make mutants`: {count}.\n"
        DOCUMENT.write_text("\n".join([head, "| where | bug | caught by |", "|---|---|---|", *lines, ""]))
    sys.exit(missed > 1)


if __name__ == "__main__":
    main()
