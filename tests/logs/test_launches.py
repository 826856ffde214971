"""One rule for launches and runs, on planted runs that are spliced, repeated and cut: no silence, no mixture."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from crossover.base.errors import UsageError
from crossover.logs import find_runs
from crossover.logs.launches import join
from crossover.logs.logged import LoggedRun
from crossover.logs.points import Points


def log(losses: dict[float, float], **facts: Any) -> LoggedRun:
    run = LoggedRun("a", Path("a.jsonl"), facts)
    for step, loss in losses.items():
        run.log(step, {"loss": loss, "lr": 0.1})
    return run


FIRST = {0.0: 9.0, 10.0: 5.0, 20.0: 4.0, 30.0: 3.9}


def test_a_resume_takes_over_from_its_first_step() -> None:
    (run,) = join([log(FIRST), log({15.0: 4.5, 25.0: 3.5})])
    assert run.curves["loss"] == {0: 9.0, 10: 5.0, 15: 4.5, 25: 3.5}
    assert run.notes == ["resumed at step 15; 4 points logged from there on before it are left out"]


def test_what_begins_where_the_one_before_began_is_another_run() -> None:
    runs = join([log(FIRST), log({0.0: 8.0, 10.0: 3.0})])
    assert [run.curves["loss"] for run in runs] == [FIRST, {0: 8.0, 10: 3.0}]
    assert "launch 2 of 2" in runs[1].notes[0]


def test_other_settings_are_another_run_whatever_the_steps() -> None:
    assert len(join([log(FIRST, lr=0.1), log({15.0: 4.5}, lr=0.2)])) == 2
    assert len(join([log(FIRST, lr=0.1), log({15.0: 4.5}, lr=0.1)])) == 1


def test_an_identifier_says_that_it_is_one() -> None:
    (run,) = join([log(FIRST, lr=0.1), log({0.0: 8.0, 10.0: 3.0}, lr=0.2)], same="abc")
    assert run.curves["loss"] == {0: 8.0, 10: 3.0}
    assert "8 points" in run.notes[0]


def test_a_copy_and_a_part() -> None:
    (run,) = join([log(FIRST), log(dict(list(FIRST.items())[:2]))])
    assert run.curves["loss"] == FIRST
    assert "a copy of 4 of its points" in run.notes[0]
    other = LoggedRun("a", Path("b"), curves={"eval_loss": Points([30.0], [4.0])})
    (both,) = join([log(FIRST), other])
    assert set(both.curves) == {"loss", "lr", "eval_loss"}


def planted(generator: random.Random, number: int) -> dict[float, float]:
    """A training whose loss tells which it is and at what step: no point of one passes for another's."""
    every, points = generator.choice([1, 5, 10, 100]), generator.randint(4, 30)
    return {float(k * every): 9 - number / 8 - k / 1000 for k in range(points)}


@pytest.mark.parametrize("seed", range(200))
def test_spliced_repeated_and_cut_histories_give_planted_runs(tmp_path: Path, seed: int) -> None:
    """A file into which trainings were appended one after another, each perhaps crashed, resumed or logged twice.

    Every row that comes out is a whole planted curve, as far as it was logged, and whatever was joined is noted.
    """
    generator = random.Random(seed)
    truth, lines, events, again = [], [], 0, False
    for number in range(generator.randint(1, 4)):
        curve = planted(generator, number)
        steps = list(curve)
        if generator.random() < 0.5:  # it crashes, and is resumed from a checkpoint before
            crash = generator.randint(2, len(steps) - 1)
            back = generator.randint(1, crash - 1)  # at the last step before the crash it is only logged again
            lines += [{"step": step, "loss": curve[step] + 0.0001} for step in steps[:crash]]
            lines += [{"step": step, "loss": curve[step]} for step in steps[back:]]
            curve = {step: curve[step] + (0.0001 if place < back else 0) for place, step in enumerate(steps)}
            events += back < crash - 1 or not again
            again |= back == crash - 1
        else:
            lines += [{"step": step, "loss": curve[step]} for step in steps]
        truth.append(curve)
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    try:
        runs = find_runs([tmp_path / "log.jsonl"])
    except UsageError:  # a row may be a run; then it is asked
        runs = find_runs([tmp_path / "log.jsonl"], "curves")
    assert [run.curves["loss"] for run in runs] == truth
    notes = " ".join(note for run in runs for note in run.notes)
    assert notes.count("resumed at step") + notes.count("losses replaced by later ones") == events
    assert notes.count("launch ") == len(truth) - 1
