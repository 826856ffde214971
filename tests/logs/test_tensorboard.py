"""Event files written by torch's and by tensorboard's own writer, whole, cut and damaged."""

import math
import random
import re
from pathlib import Path

import pytest

from crossover.base.errors import CrossoverError, DamageError
from crossover.logs import find_runs
from crossover.logs.logged import LoggedRun
from tests.logs.conftest import Written
from tests.logs.encode import event_file


def by_name(folder: Path) -> dict[str, LoggedRun]:
    return {run.name: run for run in find_runs([folder])}


@pytest.fixture
def scalars(events: Written) -> bytes:
    """The bytes of an event file of nothing but scalars, a histogram and text."""
    return next((events.folder / "torch").glob("*tfevents*")).read_bytes()


def test_scalars_of_both_forms_are_what_was_logged(events: Written) -> None:
    run = by_name(events.folder)["torch"]
    assert run.curves["val/loss"] == {step: 4 - step / 4 for step in range(5)}
    assert run.curves["new/float"] == {step: 3 - step / 4 for step in range(5)}
    assert run.curves["new/double"] == {step: 1 / (step + 3) for step in range(5)}
    assert run.curves["hparam/best"] == {0: 0.5}
    assert set(run.curves) == {"val/loss", "new/float", "new/double", "hparam/best"}


def test_hyperparameters_and_settings_as_text(events: Written) -> None:
    facts = by_name(events.folder)["torch"].facts
    expected = {
        "lr": 0.125,
        "optimizer": "lion",
        "warm": True,
        "cold": False,
        "args.optim": "lion",
        "args.data.seed": 5,
    }
    assert facts == expected


def test_tensors_of_every_kind_packed_or_not(events: Written) -> None:
    run = by_name(events.folder)["own"]
    expected = {
        f"{form}/{kind}": {7: value} for kind, value in events.told["kinds"].items() for form in ("values", "content")
    }
    assert run.curves == expected | {"plain": {7: 0.25}}


@pytest.mark.filterwarnings("ignore")
def test_our_reading_is_that_of_tensorboard(events: Written) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    theirs = accumulator.EventAccumulator(str(events.folder / "torch"))
    theirs.Reload()
    ours = by_name(events.folder)["torch"].curves
    assert ours["val/loss"] == {item.step: item.value for item in theirs.Scalars("val/loss")}


@pytest.mark.filterwarnings("ignore")
def test_long_files_of_mixed_layouts_are_read_as_tensorboard_reads_them(tmp_path: Path) -> None:
    """Most events differ in time, step and number alone and are read without parsing them anew."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    from tensorboard.util.tensor_util import make_ndarray
    from torch.utils.tensorboard import SummaryWriter

    generator, values = random.Random(0), [0.0, -0.0, 1.0, math.inf, -math.inf, math.nan, 1e-45, 3.4e38]
    with SummaryWriter(str(tmp_path)) as writer:
        for step in sorted([*generator.sample(range(2**40), 300), 0, 1, 127, 128, 2**31, 2**32]):
            for tag in ("loss", "lr", "lrs", "val/loss"):
                writer.add_scalar(tag, generator.choice([*values, generator.gauss(0, 5)]), step)
            writer.add_scalar("float", generator.choice(values), step, new_style=True)
            writer.add_scalar("double", generator.gauss(0, 5), step, new_style=True, double_precision=True)
    theirs = accumulator.EventAccumulator(str(tmp_path), size_guidance={"scalars": 0, "tensors": 0})
    theirs.Reload()
    ours = by_name(tmp_path)[tmp_path.name].curves
    told = {tag: {item.step: item.value for item in theirs.Scalars(tag)} for tag in theirs.Tags()["scalars"]}
    for tag in theirs.Tags()["tensors"]:
        told[tag] = {item.step: float(make_ndarray(item.tensor_proto)) for item in theirs.Tensors(tag)}
    assert set(ours) == set(told) == {"loss", "lr", "lrs", "val/loss", "float", "double"}
    for tag, points in told.items():
        assert ours[tag] == pytest.approx(points, rel=0, abs=0, nan_ok=True)


def test_events_that_tell_no_time_keep_their_steps(tmp_path: Path) -> None:
    """As other writers than TensorBoard's leave them: the step comes first, and is no part of the layout."""
    path = tmp_path / "run/events.out.tfevents.1.host"
    path.parent.mkdir()
    path.write_bytes(event_file((4.0, 3.0, 2.5), steps=(5, 5, 7)))
    assert by_name(path.parent)["run"].curves["val/loss"] == {5: 3.0, 7: 2.5}


def test_a_file_cut_anywhere_gives_what_was_before(scalars: bytes, tmp_path: Path) -> None:
    path = tmp_path / "events.out.tfevents.1.host"
    path.write_bytes(scalars)
    (whole,) = find_runs([path])
    assert not whole.notes
    seen, complaints = set(), set()
    for end in range(0, len(scalars), 7):
        path.write_bytes(scalars[:end])
        try:
            (run,) = find_runs([path])
        except DamageError as error:
            complaints.add(str(error).removeprefix(str(tmp_path)))
            continue
        for tag, points in run.curves.items():
            assert points.items() <= whole.curves[tag].items()
        seen.add(sum(map(len, run.curves.values())))
        assert any("ends early" in note for note in run.notes) or end in ends(scalars)
    assert seen == set(range(1, 16))
    assert complaints == {" holds event files without a single scalar; leave it out"}


def ends(content: bytes) -> list[int]:
    """Where records end: a file cut there is a shorter whole one."""
    found, at = [], 0
    while at < len(content):
        at += 16 + int.from_bytes(content[at : at + 8], "little")
        found.append(at)
    return found


def test_zeros_of_a_crashed_machine_are_a_cut(scalars: bytes, tmp_path: Path) -> None:
    path = tmp_path / "events.out.tfevents.1.host"
    path.write_bytes(scalars + bytes(5000))
    (run,) = find_runs([path])
    assert run.curves["val/loss"][4] == 3.0
    assert "ends early" in run.notes[0]


def test_a_flipped_bit_never_changes_a_value(scalars: bytes, tmp_path: Path) -> None:
    path = tmp_path / "events.out.tfevents.1.host"
    path.write_bytes(scalars)
    (whole,) = find_runs([path])
    complaints = list[str]()
    for at in range(0, len(scalars), 5):
        path.write_bytes(scalars[:at] + bytes([scalars[at] ^ 4]) + scalars[at + 1 :])
        try:
            (run,) = find_runs([path])
        except DamageError as error:
            complaints.append(str(error))
            continue
        for tag, points in run.curves.items():
            assert points.items() <= whole.curves[tag].items()
    assert len(complaints) > 20
    assert all(re.fullmatch(r"\S+ is damaged \(.*\); copy it again, or leave it out", item) for item in complaints)


def test_a_resumed_run_goes_on_in_a_second_file(events: Written, scalars: bytes, tmp_path: Path) -> None:
    (tmp_path / "events.out.tfevents.1.host").write_bytes(scalars)
    cut = ends(scalars)[4]
    (tmp_path / "events.out.tfevents.2.host").write_bytes(scalars[:cut])
    (run,) = find_runs([tmp_path])
    assert run.curves["val/loss"] == {step: 4 - step / 4 for step in range(5)}


def test_parts_below_a_run_are_told(scalars: bytes, tmp_path: Path) -> None:
    for number, place in enumerate(("a/train", "a/validation", "b")):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / f"events.out.tfevents.{number}.host").write_bytes(scalars)
    runs = by_name(tmp_path)
    assert set(runs) == {"a", "b"}
    assert "validation/val/loss" in runs["a"].curves
    assert runs["a"].notes == ["train, validation below it taken as part of this run"]


@pytest.mark.parametrize("content", [b"", b"\x00" * 40, b"PK\x03\x04 no events at all, whatever the name says", b"x"])
def test_what_is_no_event_file_is_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "events.out.tfevents.1.host"
    path.write_bytes(content)
    with pytest.raises(CrossoverError, match="leave it out") as caught:
        find_runs([path])
    assert "\n" not in str(caught.value)


def test_a_step_below_zero_is_that_step(tmp_path: Path) -> None:
    """Negative ones take ten bytes, two's complement in 64 bits."""
    (tmp_path / "events.out.tfevents.1").write_bytes(event_file((4.0, 3.0, 2.0), [2**64 - 5, 0, 7]))
    (run,) = find_runs([tmp_path])
    assert run.curves["val/loss"] == {-5: 4.0, 0: 3.0, 7: 2.0}
