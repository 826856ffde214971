"""One rule for launches and runs, on planted runs that are spliced, repeated and cut: no silence, no mixture."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from crossover.base.errors import CrossoverError, UsageError
from crossover.logs import find_runs
from crossover.logs.launches import join
from crossover.logs.logged import LoggedRun
from crossover.logs.points import Points
from tests.logs.encode import event_file


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


Segment = list[tuple[float, float]]
"""Steps and losses as one process logs them."""


def training(generator: random.Random, number: int) -> tuple[dict[float, float], list[Segment], str]:
    """A planted curve as far as it is valid at last, the segments it was logged in, and what an import must note."""
    curve = planted(generator, number)
    steps = list(curve)
    if generator.random() < 0.5:
        return curve, [list(curve.items())], ""
    crash = generator.randint(2, len(steps) - 1)
    back = generator.randint(1, crash - 1)  # it crashes, and is resumed from a checkpoint before
    first = [(step, curve[step] + 0.0001) for step in steps[:crash]]
    valid = {step: curve[step] + (0.0001 if place < back else 0) for place, step in enumerate(steps)}
    return valid, [first, [(step, curve[step]) for step in steps[back:]]], "again" if back == crash - 1 else "resumed"


def as_lines(folder: Path, segments: list[Segment]) -> None:
    rows = [json.dumps({"step": step, "loss": loss}) + "\n" for part in segments for step, loss in part]
    (folder / "log.jsonl").write_text("".join(rows))


def as_csv(folder: Path, segments: list[Segment]) -> None:
    """With its header again at each start, as loggers that append do."""
    parts = ["epoch,val_loss\n" + "".join(f"{step:g},{loss:.4f}\n" for step, loss in part) for part in segments]
    (folder / "log.csv").write_text("".join(parts))


def as_print(folder: Path, segments: list[Segment]) -> None:
    rows = [f"step:{step:g}/999 val_loss:{loss:.4f} train_time:1ms\n" for part in segments for step, loss in part]
    (folder / "train.log").write_text("".join(rows))


def as_events(folder: Path, segments: list[Segment]) -> None:
    """A file for each."""
    for number, part in enumerate(segments):
        content = event_file((loss for _, loss in part), (int(step) for step, _ in part))
        (folder / f"events.out.tfevents.{1000 + number}").write_bytes(content)


def as_one_event_file(folder: Path, segments: list[Segment]) -> None:
    rows = [row for part in segments for row in part]
    content = event_file((loss for _, loss in rows), (int(step) for step, _ in rows))
    (folder / "events.out.tfevents.1000").write_bytes(content)


FORMATS = {"jsonl": as_lines, "csv": as_csv, "printed": as_print, "events": as_events, "one file": as_one_event_file}


def readable(folder: Path) -> list[LoggedRun]:
    """As it is, or by --as curves where it is asked whether a row is a run."""
    try:
        return find_runs([folder])
    except UsageError:
        return find_runs([folder], "curves")


def read_or_told(folder: Path) -> tuple[list[LoggedRun], str]:
    try:
        return readable(folder), ""
    except CrossoverError as error:
        return [], str(error)


def losses(run: LoggedRun) -> dict[float, float]:
    (points,) = run.curves.values() or [{float(run.facts["epoch"]): float(run.facts["val_loss"])}]
    return {step: round(loss, 4) for step, loss in points.items()}


def rounded(curve: dict[float, float]) -> dict[float, float]:
    return {step: round(loss, 4) for step, loss in curve.items()}


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("seed", range(80))
def test_spliced_repeated_and_resumed_histories_give_planted_runs(tmp_path: Path, form: str, seed: int) -> None:
    """A log into which trainings were written one after another, each perhaps crashed and resumed.

    Every row that comes out is a whole planted curve, as far as it is valid, and whatever was joined is noted.
    """
    generator = random.Random(seed)
    trainings = [training(generator, number) for number in range(generator.randint(1, 4))]
    FORMATS[form](tmp_path, [segment for _, segments, _ in trainings for segment in segments])
    runs = readable(tmp_path)
    assert [losses(run) for run in runs] == [rounded(curve) for curve, _, _ in trainings]
    notes = " ".join(note for run in runs for note in run.notes)
    kinds = [kind for _, _, kind in trainings]
    assert notes.count("resumed at step") + notes.count("replaced by later ones") >= kinds.count("resumed") + (
        "again" in kinds and form != "events"
    )
    assert notes.count("launch ") == len(trainings) - 1


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("seed", range(40))
def test_a_log_cut_anywhere_gives_the_beginnings_of_planted_runs(tmp_path: Path, form: str, seed: int) -> None:
    """Or one line that names the file."""
    generator = random.Random(seed)
    curves = [planted(generator, number) for number in range(generator.randint(1, 3))]
    FORMATS[form](tmp_path, [list(curve.items()) for curve in curves])
    path = sorted(tmp_path.iterdir())[-1]
    content = path.read_bytes()
    path.write_bytes(content[: generator.randint(0, len(content))])
    runs, complaint = read_or_told(tmp_path)
    assert runs or str(tmp_path) in complaint
    for run, curve in zip(runs, curves, strict=False):
        found, whole = losses(run), rounded(curve)
        cut = [step for step in found if found[step] != whole.get(step)]
        assert not cut or (form in ("csv", "printed") and cut == [list(found)[-1]]), "half a number is a number"
        assert list(found)[:-1] == list(whole)[: len(found) - 1]


@pytest.mark.parametrize("form", ["jsonl", "csv", "printed", "one file"])
@pytest.mark.parametrize("seed", range(40))
def test_two_trainings_that_write_into_one_log_are_never_silent(tmp_path: Path, form: str, seed: int) -> None:
    """Their rows are interleaved as they come: what is read is one of them whole, or it is noted or asked."""
    generator = random.Random(seed)
    curves = [planted(generator, number) for number in range(2)]
    rows, left = Segment(), [list(curve.items()) for curve in curves]
    while any(left):
        rows.append(generator.choice([part for part in left if part]).pop(0))
    FORMATS[form](tmp_path, [rows])
    runs, complaint = read_or_told(tmp_path)
    assert runs or "several trainings seem to write into it at once" in complaint
    notes = " ".join(note for run in runs for note in run.notes)
    said = any(words in notes for words in ("resumed at", "replaced by", "launch ", "a copy of"))
    assert said or not runs or [losses(run) for run in runs] == [rounded(curve) for curve in curves]
