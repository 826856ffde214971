"""Two snapshots of planted truth: noise stays within noise at the nominal rate; what cannot be compared says why."""

import json
import math
import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from crossover.base.errors import UsageError
from stages.diff.comparing import Diff, compare
from stages.diff.snapshot import Snapshot, read_snapshot
from stages.diff.words import markdown
from stages.fit.study import fit_study
from tests.fit.test_study import losses

PAIRS = 500
WIDTHS, SEEDS, SD = (16, 24, 32, 48), 3, 0.02


def table(draw: int, first_seed: int = 0, exponents: dict[str, float] | None = None, **columns: Any) -> pd.DataFrame:
    """Losses of two recipes that meet at width 24; each draw has noise of its own."""
    generator = np.random.default_rng([draw, first_seed])
    rows = []
    for width in WIDTHS:
        for seed in range(first_seed, first_seed + SEEDS):
            for recipe, exponent in (exponents or {"a": 0.3, "b": 0.32}).items():
                met = width == 24
                rows.append({
                    "study": "s", "scale": "c", "recipe": recipe, "axes": "{}", "width": width, "seed": seed,
                    "lr": 0.01, "status": "done", "loss_init": 7.0, "loss_validation": 4 * (width / 24) ** -exponent,
                    "loss_seen": 3.0, "loss_fresh": 3.1, "batch": 16, "structural_pair": met, "tokens": 480 * width**2,
                    "unique_tokens": 480 * width**2, "n_nonembedding": 24 * width**2, "flops_6n": 1e5 * width**4,
                    "flops_head": 2e4 * width**4, "flops_attention": 1e3 * width**3, "tokenizer_digest": "t",
                    "data_digest": f"d{width}", "evaluation_digest": "e",
                    "key": (width, seed) if met else (width, seed, recipe),
                })  # fmt: skip
    found = pd.DataFrame(rows).assign(**columns)
    noise = {key: SD * generator.normal() for key in dict.fromkeys(found["key"])}
    found["loss_validation"] += found["key"].map(noise)
    found["fingerprint"] = [f"{draw}-{key}" for key in found["key"]]
    return found.drop(columns="key")


def snapshot(name: str, losses: pd.DataFrame, **files: bytes) -> Snapshot:
    body = {
        "data/results/s-c/losses.csv": losses.to_csv(index=False).encode(),
        "data/results/s-c/fit.json": json.dumps(fit_study(losses).to_json()).encode(),
    }
    return read_snapshot(
        name, body | {path.replace("__", "/").replace("_py", ".py"): text for path, text in files.items()}
    )


def diff(old: pd.DataFrame, new: pd.DataFrame) -> Diff:
    return compare(snapshot("old", old), snapshot("new", new))


@pytest.mark.slow
@pytest.mark.long
def test_reruns_with_other_seeds_are_called_moved_no_more_often_than_the_nominal_tenth() -> None:
    moved: dict[str, list[bool]] = {}
    for draw in range(PAIRS):
        found = diff(table(2 * draw), table(2 * draw + 1, first_seed=3))
        for item in found.quantities:
            assert item.status in ("moved", "within noise"), item
            moved.setdefault(f"{item.kind} {item.name}", []).append(item.status == "moved")
    bound = float(stats.binom.ppf(0.975, PAIRS, 0.1)) / PAIRS
    rates = {name: float(np.mean(found)) for name, found in moved.items()}
    assert len(rates) == 14  # eight losses and all together, two exponents, three differences, each by itself
    assert {name: rate for name, rate in rates.items() if rate > bound} == {}
    assert np.mean(list(rates.values())) > 0.03  # nor is everything called noise


def test_the_same_results_are_identical() -> None:
    found = diff(table(0), table(0))
    assert found.identical
    assert {item.status for item in found.quantities} == {"identical"}
    assert "say the same" in found.headline()
    assert (found.cells, found.verdicts, found.params) == ([], [], {})


def test_a_changed_rule_has_moved_and_its_verdict_with_it() -> None:
    found = diff(table(0), table(1, exponents={"a": 0.3, "b": 0.2}, lr=0.02))
    status = {f"{item.kind} {item.name}": item for item in found.quantities}
    at_48 = status["difference b - a, width 48"]
    assert at_48.status == "moved"
    assert at_48.difference.value == pytest.approx(at_48.new - at_48.old)
    assert status["law b, a of A x^-a"].status == "moved"
    assert status["loss a, width 16"].status == "within noise"
    assert [(item.what, item.new) for item in found.verdicts if item.changed] == [
        ("b - a, at the largest common size", "a better")
    ]
    (cells,) = found.cells
    assert (cells.added, cells.removed) == ([], [])
    assert {reason: len(names) for reason, names in cells.retrained.items()} == {
        "lr": 21
    }  # cells, of which three are shared
    assert "1 verdict changed" in found.headline()


@pytest.mark.parametrize(
    ("columns", "losses", "fits"),
    [
        ({"tokenizer_digest": "other"}, "tokenizer", "tokenizer"),
        ({"data_digest": "other"}, "training text", "training text"),
        ({"evaluation_digest": "x"}, "held-out text or evaluation", "held-out text or evaluation"),
        ({"tokens": 1}, "tokens per cell", "tokens per cell"),
        ({"n_nonembedding": 5}, "", "parameter count"),
    ],
)
def test_what_cannot_be_compared_says_why(columns: dict[str, Any], losses: str, fits: str) -> None:
    found = diff(table(0), table(1, **columns))
    for item in found.quantities:
        why = losses if item.kind == "loss" else fits
        assert (item.status == "not comparable", item.why) == (bool(why), why), item
    assert not any(item.difference for item in found.quantities if item.status == "not comparable")


@pytest.mark.parametrize(("column", "why"), [("data_digest", "training text"), ("tokens", "tokens per cell")])
def test_one_cell_on_other_text_is_enough(column: str, why: str) -> None:
    """Where the largest width alone was trained on something else, nothing of the ladder can be compared."""
    new = table(1)
    other = new[column].iloc[0]
    new[column] = new[column].where(new["width"] != 48, other)
    assert new[column].iloc[-1] == other != table(1)[column].iloc[-1]
    assert {(item.status, item.why) for item in diff(table(0), new).quantities} == {("not comparable", why)}


def test_another_ladder_makes_another_law_but_the_same_losses() -> None:
    new = table(0)
    found = diff(table(0), new[new["width"] != 48])
    status = {f"{item.kind} {item.name}": (item.status, item.why) for item in found.quantities}
    assert status["law a, a of A x^-a"] == ("not comparable", "grid")
    assert status["loss a, width 16"][0] == "within noise" or status["loss a, width 16"][0] == "identical"
    assert status["loss a, width 48"] == ("gone", "")
    assert len(found.cells[0].removed) == 6


def test_a_comment_in_the_fitting_code_is_no_change_and_another_formula_is() -> None:
    sources = {"plain": b"x = 1\n", "comment": b'"""What for."""\nx = 1  # why\n', "changed": b"x = 2\n"}
    snaps = {name: snapshot(name, table(0), stages__fit__laws_py=text) for name, text in sources.items()}
    assert compare(snaps["plain"], snaps["comment"]).identical
    assert {item.status for item in compare(snaps["plain"], snaps["changed"]).quantities} == {"identical"}
    rerun = snapshot("rerun", table(1), stages__fit__laws_py=sources["changed"])
    found = compare(snaps["plain"], rerun)
    assert {item.why for item in found.quantities if item.kind == "law"} == {"fitting code"}
    assert "not comparable" not in {item.status for item in found.quantities if item.kind == "loss"}
    assert found.notes == ["the fitting code changed: what rests on it is compared only where it gave the same"]


def test_one_seed_has_no_interval() -> None:
    one, other = (table(draw)[lambda rows: rows["seed"] == 0] for draw in (0, 1))
    assert {item.status for item in diff(one, other).quantities if item.kind == "loss"} == {"no interval"}


def test_who_is_better_at_the_largest_size_is_told_when_it_changes() -> None:
    """Recipes that hardly differ are undecided there; noise is 0.02, and 0.1 of the exponent is 0.28 at width 48."""
    near, far = (table(0, exponents={"a": 0.3, "b": exponent}) for exponent in (0.3005, 0.4))
    told = {item.what: (item.old, item.new) for item in diff(near, far).verdicts}
    assert told["b - a, at the largest common size"] == ("undecided", "b better")


def test_claims_change_their_verdict() -> None:
    claim = {"id": "C6", "study": "s", "scale": "c", "verdict": "SUPPORTED", "what": "w", "unit": "nats", "dof": 6,
             "effect": {"value": -0.1, "se": 0.01, "ci": [-0.12, -0.08]}}  # fmt: skip
    now = {**claim, "verdict": "INCONCLUSIVE", "effect": {"value": -0.02, "se": 0.01, "ci": [-0.04, 0.0]}}
    old, new = (
        read_snapshot(name, {
            "data/results/s-c/losses.csv": table(0).to_csv(index=False).encode(),
            "data/verdicts/verdicts.json": json.dumps([value]).encode(),
        }) for name, value in (("old", claim), ("new", now))
    )  # fmt: skip
    found = compare(old, new)
    assert [(item.what, item.old, item.new) for item in found.verdicts] == [("claim C6", "SUPPORTED", "INCONCLUSIVE")]
    (moved,) = [item for item in found.quantities if item.status == "moved"]
    assert moved.difference.value == pytest.approx(0.08)
    half = stats.t.ppf(0.95, 12) * 0.01 * math.sqrt(2)
    assert moved.difference.ci == pytest.approx((0.08 - half, 0.08 + half))
    text = markdown(found)
    assert "| s-c | claim C6 | SUPPORTED | **INCONCLUSIVE** |" in text
    assert "| s-c | claim: C6 | -0.1 | -0.02 | +0.08 [" in text


@pytest.mark.parametrize(
    ("change", "status", "why"),
    [({"given": {"along": "N"}}, "not comparable", "definition"), ({"statement": "Else"}, "moved", "")],
)
def test_a_claim_that_measures_something_else_has_not_moved(change: dict[str, Any], status: str, why: str) -> None:
    claim = {"id": "C6", "study": "s", "scale": "c", "verdict": "SUPPORTED", "unit": "nats", "dof": 6}
    definition = {"study": "s", "measure": "slope", "given": {"along": "D"}, "statement": "So"}
    sides = [
        read_snapshot(name, {
            "data/results/s-c/losses.csv": table(0).to_csv(index=False).encode(),
            "data/verdicts/verdicts.json": json.dumps([{**claim, "effect": {"value": value, "se": 0.01}}]).encode(),
            "params.yaml": json.dumps({"claims": {"C6": {**definition, **extra}}}).encode(),
        }) for name, value, extra in (("old", -0.1, {}), ("new", -0.3, change))
    ]  # fmt: skip
    (item,) = [row for row in compare(*sides).quantities if row.kind == "claim"]
    assert (item.status, item.why) == (status, why)


@pytest.mark.parametrize(
    ("draw", "change", "because"),
    [
        (0, {"expects": "above"}, "the rule"),
        (0, {"interest": 0.2}, "the rule"),
        (1, {"paper": "else"}, "the runs"),
        (1, {"centre": 1.0}, "the rule or the runs"),
    ],
)
def test_what_moved_a_verdict_is_told(draw: int, change: dict[str, Any], because: str) -> None:
    """With the same runs it was the rule, with the same rule the runs; of both together nobody can tell."""
    claim = {"id": "C6", "study": "s", "scale": "c", "unit": "nats", "dof": 6}
    effect = {"value": -0.1, "se": 0.01, "ci": [-0.12, -0.08]}
    rule = {"study": "s", "measure": "paired", "expects": "below", "interest": 0.1, "paper": "yes"}
    sides = [
        read_snapshot(name, {
            "data/results/s-c/losses.csv": table(number).to_csv(index=False).encode(),
            "data/verdicts/verdicts.json": json.dumps([{**claim, "verdict": said, "effect": effect}]).encode(),
            "params.yaml": json.dumps({"claims": {"C6": {**rule, **extra}}}).encode(),
        }) for name, number, said, extra in (("old", 0, "SUPPORTED", {}), ("new", draw, "REFUTED", change))
    ]  # fmt: skip
    (moved,) = compare(*sides).changed
    assert moved.because == because
    assert f"| **REFUTED** | {because} |" in markdown(compare(*sides))


def test_a_claim_told_width_by_width_is_compared_so() -> None:
    parts = [
        {"name": f"width {w}", "value": v, "effect": {"value": v, "se": 0.01, "ci": [v - 0.02, v + 0.02]}, "dof": 4}
        for w, v in ((16, -0.9), (32, 3.1))
    ]
    claim = {"id": "R", "study": "s", "scale": "c", "verdict": "MIXED", "effect": None, "dof": None, "unit": "nats"}
    moved = [parts[0], {**parts[1], "effect": {**parts[1]["effect"], "value": 2.0}}]
    old, new = (
        read_snapshot(name, {
            "data/results/s-c/losses.csv": table(0).to_csv(index=False).encode(),
            "data/verdicts/verdicts.json": json.dumps([{**claim, "parts": each}]).encode(),
        }) for name, each in (("old", parts), ("new", moved))
    )  # fmt: skip
    found = {item.name: item.status for item in compare(old, new).quantities if item.kind == "claim"}
    assert found == {"R, width 16": "identical", "R, width 32": "moved"}


def test_results_of_an_older_version_are_compared_as_far_as_they_can_be_read() -> None:
    """As a fit.json without standard errors, which an early version wrote."""
    fit = {"laws": {"a": [{"params": {"a": {"value": 0.1}}}]}, "comparisons": [{"b": "b", "a": "a"}]}
    old = snapshot("old", table(0), **{"data__results__s-c__fit.json": json.dumps(fit).encode()})
    found = compare(old, snapshot("new", table(1)))
    whys = {item.kind: (item.status, item.why) for item in found.quantities if item.kind != "loss"}
    assert set(whys.values()) == {("not comparable", "fit.json is another version's")}
    assert {item.status for item in found.quantities if item.kind == "loss"} <= {"moved", "within noise"}
    assert found.notes == ["fit.json of old: the format is another version's and cannot be compared"]
    assert found.changed == []


def test_a_file_that_is_no_json_is_named() -> None:
    with pytest.raises(UsageError, match=r"data/results/s-c/fit\.json of old cannot be read"):
        snapshot("old", table(0), **{"data__results__s-c__fit.json": b"{"})


def test_a_recipe_with_another_name_is_the_same_cells() -> None:
    new = table(0).replace({"recipe": {"b": "better"}})
    (cells,) = diff(table(0), new).cells
    assert (cells.added, cells.removed, cells.retrained) == ([], [], {})
    assert len(cells.renamed) == 9  # the three that b shared with a keep a's place
    assert cells.renamed[0] == "b, width 16, seed 0 now better, width 16, seed 0"


def test_a_verdict_that_is_gone_is_told() -> None:
    old, nothing = snapshot("old", table(0)), read_snapshot("new", {})
    found = compare(old, nothing)
    assert {item.new for item in found.verdicts} == {None}
    assert "2 verdicts gone: b - a, crossing (" in markdown(found)
    assert {item.status for item in found.quantities} == {"gone"}


def test_a_branch_that_is_new_is_one_line() -> None:
    old, new = (read_snapshot("x", {"params.yaml": body}) for body in (
        b"a: {b: 1}", b"a: {b: 1, c: {d: 1, e: 2}, f: {g: 3}}"))  # fmt: skip
    assert compare(old, new).params == {"a.c": (None, "2 values"), "a.f.g": (None, 3)}
    assert compare(new, old).params == {"a.c": ("2 values", None), "a.f.g": (3, None)}


def test_markdown_cannot_be_broken_by_a_value() -> None:
    old, new = (
        read_snapshot("x", {"params.yaml": json.dumps({"title": title}).encode()})
        for title in ("plain", "<img src=x> @everyone\n# loud")
    )
    assert "* `title`: plain → &lt;img src=x> &#64;everyone # loud" in markdown(compare(old, new))


def test_code_in_markdown_stays_as_it_is() -> None:
    old, new = (
        read_snapshot("x", {"params.yaml": json.dumps({"title": text}).encode()}) for text in ("plain", "`a<b` or <c>")
    )
    assert "* `title`: plain → `a<b` or &lt;c>" in markdown(compare(old, new))


@pytest.mark.parametrize(
    "title",
    ["![a](http://evil.example/x.png)", "[free](//evil.example)", "[a][b] [b]: http://evil.example", "http://evil.example",
     "www.evil.example", "` [a](http://evil.example) `", "``` [a](http://evil.example)", "<https://evil.example>"],
)  # fmt: skip
def test_markdown_leads_nowhere(title: str) -> None:
    """Rendered by a library for Markdown; of bare addresses, which GitHub makes links of, none is left."""
    from markdown_it import MarkdownIt

    old, new = (read_snapshot("x", {"params.yaml": json.dumps({"title": text}).encode()}) for text in ("plain", title))
    text = markdown(compare(old, new))
    shown = MarkdownIt("commonmark").enable("table").render(text)
    assert not re.search("<a |<img |href|src=", shown)
    assert "evil.example" in shown
    assert not re.search(r"://|www\.", re.sub("`[^`]*`", "", text))


def test_params_and_studies_that_come_and_go() -> None:
    body = {"data/results/s-c/losses.csv": table(0).to_csv(index=False).encode()}
    old = read_snapshot("old", {**body, "params.yaml": b"studies: {s: {seeds: 2}}"})
    new = read_snapshot("new", {**body, "data/results/t-c/losses.csv": body["data/results/s-c/losses.csv"],
                                "params.yaml": b"studies: {s: {seeds: 3}}"})  # fmt: skip
    found = compare(old, new)
    assert found.params == {"studies.s.seeds": (2, 3)}
    assert {item.status for item in found.quantities if item.study == "t-c"} == {"new"}
    assert not any(item.changed for item in found.verdicts)
    first = compare(read_snapshot("nothing", {}), new)
    assert first.headline().startswith("new has the first results: ")
    assert first.changed == []


@pytest.mark.parametrize(("best", "status"), [(0.0205, "within noise"), (0.04, "moved")])
def test_an_optimum_moves_when_it_leaves_the_broad_bottom_of_its_bowl(best: float, status: str) -> None:
    old, new = (snapshot("x", bowls(place)) for place in (0.02, best))
    (item,) = [row for row in compare(old, new).quantities if row.name == "a, width 16" and row.kind == "optimum"]
    assert item.status == status
    assert (item.old, item.new) == (pytest.approx(0.02, rel=0.01), pytest.approx(best, rel=0.01))
    wider = bowls(0.02, (0.0025, 0.005, 0.01, 0.02, 0.04, 0.08))
    (other,) = [
        row for row in compare(old, snapshot("y", wider)).quantities if row.kind == item.kind and row.name == item.name
    ]
    assert (other.status, other.why) == ("not comparable", "grid")


def bowls(best: float, rates: tuple[float, ...] = (0.005, 0.01, 0.02, 0.04, 0.08)) -> pd.DataFrame:
    """Bowls of one recipe with their best rate planted."""
    found = losses({"a": 0.3}, lrs=rates)
    return found.assign(loss_validation=4 * (found["width"] / 24) ** -0.3 + 0.02 * np.log2(found["lr"] / best) ** 2)


@pytest.mark.parametrize(
    ("gone", "said"),
    [
        ((48,), "1 cell removed (b, width 48, seed 0)"),
        ((16, 48), "2 cells removed (b, width 16, seed 0; … b, width 48, seed 0)"),
    ],
)
def test_cells_that_are_gone_are_counted_and_the_first_and_last_named(gone: tuple[int, ...], said: str) -> None:
    rows = table(0)
    kept = rows[~((rows["recipe"] == "b") & (rows["seed"] == 0) & rows["width"].isin(gone))]
    assert said in markdown(diff(rows, kept))
