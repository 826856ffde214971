"""The ledger: every kind of alteration is found, in the chain or against git; nothing else is."""

import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from crossover.base.errors import DamageError
from crossover.ledger.body import Came, Forecast, Outcome
from crossover.ledger.chain import append, read_ledger, sealed

START = "0" * 64


def expected(value: float, half: float, sd: float) -> dict[str, Any]:
    ends = {"low": value - half, "high": value + half}
    return {"formula": "A x^-a", "params": {"A": 5.0}, "value": value, **ends, "sd": sd, "dof": 7}


def forecast(name: str = "f", **changes: Any) -> Forecast:
    places = [{"x": 10.0}, {"x": 100.0}]
    fields: dict[str, Any] = {
        "name": name, "date": "2026-11-23T12:00:00+00:00", "commit": "c", "columns": {"x": "flops", "loss": "loss"},
        "at": {"x": 1000.0}, "lever_arm_decades": 1.0, "runs": 2, "confidence": 0.9,
        "recipes": {"a": expected(3.0, 0.1, 0.05), "b": expected(2.8, 0.2, 0.1)},
        "pairs": [{"a": "a", "b": "b", "p_b_wins": 0.8, "difference": -0.2, "sd": 0.11}],
        "inputs": {"source": "runs.csv", "sha256": "0" * 64, "rows": 2, "digest": "d", "places": places},
    }  # fmt: skip
    return Forecast.model_validate({**fields, **changes})


def outcome(name: str = "f") -> Outcome:
    came = {"a": Came(loss=3.05, runs=2), "b": Came(loss=3.25, runs=2)}
    return Outcome(forecast=name, date="2026-11-24T12:00:00+00:00", source="came.csv", sha256="0" * 64, recipes=came)


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """Four forecasts, outside git."""
    path = tmp_path / "data/ledger.jsonl"
    for name in "abcd":
        append(path, lambda _, name=name: [forecast(name)])
    return path


def rechained(bodies: list[dict[str, Any]]) -> bytes:
    """A whole ledger written anew, as who edits it and knows the rule would."""
    lines, seal = [], START
    for body in bodies:
        line, seal = sealed(body, seal)
        lines.append(line)
    return b"".join(lines)


def bodies(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line)["body"] for line in path.read_bytes().splitlines()]


def git(folder: Path, *words: str) -> None:
    who = ("-c", "user.name=t", "-c", "user.email=t@example.com")
    subprocess.run(["git", "-C", str(folder), *who, *words], check=True, capture_output=True)


@pytest.fixture
def committed(ledger: Path) -> Path:
    """The same in git: two forecasts in one commit, two in the next."""
    root, whole = ledger.parent.parent, ledger.read_bytes()
    git(root, "init", "-q", "-b", "main")
    for count in (2, 4):
        ledger.write_bytes(b"".join(whole.splitlines(keepends=True)[:count]))
        git(root, "add", "data/ledger.jsonl")
        git(root, "commit", "-qm", "forecasts")
    return ledger


def test_what_was_lodged_is_read_in_order(ledger: Path, committed: Path, tmp_path: Path) -> None:
    assert [item.name for item in read_ledger(committed).forecasts] == list("abcd")
    assert read_ledger(committed).witnessed == 4
    append(committed, lambda known: [forecast(f"after {len(known.forecasts)}")])
    assert [item.name for item in read_ledger(committed).forecasts] == [*"abcd", "after 4"]
    assert read_ledger(committed).witnessed == 4
    assert read_ledger(tmp_path / "nothing.jsonl").forecasts == []


def test_a_seal_is_the_digest_of_its_line_and_of_the_one_before(ledger: Path) -> None:
    """So that the last seal alone, written down elsewhere, vouches for every line."""
    previous = START
    for line in ledger.read_bytes().splitlines():
        entry = json.loads(line)
        by_hand = json.dumps({"body": entry["body"], "previous": previous}, sort_keys=True, separators=(",", ":"))
        assert entry["seal"] == hashlib.sha256(by_hand.encode()).hexdigest()
        previous = entry["seal"]


def test_outside_git_nothing_is_witnessed(ledger: Path) -> None:
    assert read_ledger(ledger).witnessed is None


def test_every_byte_counts(ledger: Path) -> None:
    """One byte changed anywhere, in any line: found, and the line is named (a newline lost is the line's own end)."""
    whole = ledger.read_bytes()
    for place in range(0, len(whole), 37):
        changed = bytearray(whole)
        changed[place] ^= 1
        ledger.write_bytes(bytes(changed))
        line = whole[:place].count(b"\n") + 1
        with pytest.raises(DamageError, match=f"line {line} "):
            read_ledger(ledger)
    ledger.write_bytes(whole)
    assert len(read_ledger(ledger).forecasts) == 4


@pytest.mark.parametrize(
    ("order", "line"), [([0, 2, 3], 2), ([1, 2, 3], 1), ([0, 2, 1, 3], 2), ([0, 1, 1, 2, 3], 3), ([0, 1, 3, 2], 3)]
)
def test_lines_removed_moved_or_repeated_break_the_chain(ledger: Path, order: list[int], line: int) -> None:
    lines = ledger.read_bytes().splitlines(keepends=True)
    ledger.write_bytes(b"".join(lines[i] for i in order))
    with pytest.raises(DamageError, match=f"line {line} does not fit its seal or the line before it"):
        read_ledger(ledger)


def test_half_a_line_and_another_kind_of_body_are_no_forecasts(ledger: Path) -> None:
    whole = ledger.read_bytes()
    ledger.write_bytes(whole[:-20])
    with pytest.raises(DamageError, match="line 4 is no entry of a ledger"):
        read_ledger(ledger)
    ledger.write_bytes(rechained([{"kind": "forecast"}]))
    with pytest.raises(DamageError, match=r"line 1 is no forecast or outcome of this version \(forecast.name\)"):
        read_ledger(ledger)
    ledger.write_bytes(rechained([{**forecast("e").model_dump(), "study": "s-pocket"}]))  # of which width?
    with pytest.raises(DamageError, match="line 1 is no forecast or outcome of this version"):
        read_ledger(ledger)
    ledger.write_bytes(rechained([{"kind": "guess"}]))
    with pytest.raises(DamageError, match=r"line 1 is no forecast or outcome of this version"):
        read_ledger(ledger)


def edited(path: Path) -> bytes:
    found = bodies(path)
    found[1]["recipes"]["a"]["value"] = 2.5
    return rechained(found)


def reordered(path: Path) -> bytes:
    found = bodies(path)
    return rechained([found[1], found[0], *found[2:]])


@pytest.mark.parametrize(
    ("forge", "line"),
    [
        (edited, 2),
        (reordered, 1),
        (lambda path: rechained(bodies(path)[:3]), 4),
        (lambda path: rechained([*bodies(path)[:1], *bodies(path)[2:]]), 2),
        (lambda path: rechained([forecast("new").model_dump()]), 1),
    ],
)
def test_a_whole_chain_written_anew_is_found_against_git(committed: Path, forge: Any, line: int) -> None:
    committed.write_bytes(forge(committed))
    with pytest.raises(DamageError, match=f"line {line} is not what commit [0-9a-f]{{12}} holds"):
        read_ledger(committed)
    git(committed.parent.parent, "commit", "-qam", "nothing to see")  # committing the forgery does not help
    with pytest.raises(DamageError, match="is not what commit"):
        read_ledger(committed)
    before = committed.read_bytes()
    with pytest.raises(DamageError, match="is not what commit"):
        append(committed, lambda _: [forecast("e")])
    assert committed.read_bytes() == before


def test_a_ledger_that_was_deleted_is_missed(committed: Path) -> None:
    committed.unlink()
    with pytest.raises(DamageError, match="line 1 is not what commit"):
        read_ledger(committed)
    git(committed.parent.parent, "commit", "-qam", "gone")
    with pytest.raises(DamageError, match="line 1 is not what commit"):
        read_ledger(committed)


def test_what_a_merged_branch_lodged_counts_too(committed: Path) -> None:
    root = committed.parent.parent
    git(root, "checkout", "-qb", "other")
    append(committed, lambda _: [forecast("e")])
    git(root, "commit", "-qam", "lodged")
    git(root, "checkout", "-q", "main")
    (root / "x").write_text("x")
    git(root, "add", "x")
    git(root, "commit", "-qm", "x")
    git(root, "merge", "-q", "--no-commit", "other")
    found = bodies(committed)
    found[4]["pairs"][0]["p_b_wins"] = 0.1
    committed.write_bytes(rechained(found))
    git(root, "commit", "-qam", "merged, and altered on the way")
    with pytest.raises(DamageError, match="line 5 is not what commit"):
        read_ledger(committed)


def test_a_long_name_makes_no_long_complaint(tmp_path: Path) -> None:
    body = forecast().model_dump()
    body["recipes"] = {"[" * 5000: {}}
    (tmp_path / "ledger.jsonl").write_bytes(rechained([body]))
    with pytest.raises(DamageError, match="is no forecast or outcome of this version") as caught:
        read_ledger(tmp_path / "ledger.jsonl")
    assert len(str(caught.value)) < 1000
