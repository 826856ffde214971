"""Curves of runs held back, planted and false departures: our own studies, published checkpoints, formulas."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import crossover as xo
from crossover.base.errors import UsageError
from crossover.cli.app import app
from crossover.curves.course import make_course
from crossover.curves.departure import find_departure
from crossover.curves.foresee import Logged, foresee, ladder_of
from crossover.curves.process import Forecast
from crossover.curves.schedule import read_schedule
from tests.conftest import REPOSITORY, SHARED
from tests.curves.scoring import CURVES, beside, by_recipe, mixed, score, summary

LADDER, RUN = REPOSITORY / "docs/examples/curves.csv", REPOSITORY / "docs/examples/curve.csv"
NAMES = {"n": "params"}


def table() -> pd.DataFrame:
    return pd.read_parquet(CURVES)


def test_a_course_averages_what_was_logged() -> None:
    x = np.arange(1.0, 1001.0)
    course = make_course("a", 1e6, x, np.sin(x / 50) + 3, None, 95)
    assert len(course.loss) == 95
    assert course.loss[0] == pytest.approx((np.sin(x / 50) + 3)[49:59].mean())
    assert np.exp(course.log_s) == pytest.approx(course.x)  # a constant rate counts every token
    assert not course.paid.any()
    noisy = make_course("a", 1e6, x, np.random.default_rng(0).normal(3, 0.1, 1000), None, 95)
    assert noisy.noise.mean() == pytest.approx(0.1 / np.sqrt(10), rel=0.1)


def test_what_a_falling_rate_paid_is_the_sum_by_hand() -> None:
    """Two falls, at tokens 400 and 600, to a half and to a quarter: each pays dh t/(t + c T)."""
    x = np.arange(1.0, 1001.0)
    lr = np.where(x <= 400, 1.0, np.where(x <= 600, 0.5, 0.25))
    course = make_course("a", 1e6, x, np.ones(1000), lr, 950)
    at = int(np.searchsorted(course.x, 900.0))
    effective = 400 + 200 * 0.5 + 300 * 0.25
    by_hand = [0.5 * 499 / (499 + c * effective) + 0.25 * 299 / (299 + c * effective) for c in (0.02, 0.3)]
    assert np.exp(course.log_s[at]) == pytest.approx(effective, rel=1e-3)
    assert course.paid[at] == pytest.approx(by_hand, rel=0.03)  # falls are summed over a hundred stretches


def test_a_forecast_is_the_textbooks_gaussian() -> None:
    """Innovations and the conditional forecast against the formulas with a plain inverse."""
    generator = np.random.default_rng(0)
    root = generator.normal(size=(12, 12))
    forecast = Forecast(generator.normal(size=12), root @ root.T + np.eye(12))
    came = generator.normal(size=7)
    inverse = np.linalg.inv(forecast.cov[:7, :7])
    after = forecast.after(came)
    gain = forecast.cov[7:, :7] @ inverse
    assert after.mean == pytest.approx(forecast.mean[7:] + gain @ (came - forecast.mean[:7]))
    assert after.cov == pytest.approx(forecast.cov[7:, 7:] - gain @ forecast.cov[:7, 7:])
    away = came - forecast.mean[:7]
    assert (forecast.innovations(came) ** 2).sum() == pytest.approx(away @ inverse @ away)


def test_a_step_is_matched_and_a_spike_is_not() -> None:
    forecast = Forecast(np.full(60, 3.0), 0.01**2 * np.eye(60))
    quiet = 3.0 + 0.01 * np.random.default_rng(1).normal(size=60)
    assert find_departure(forecast, quiet) is None
    step = quiet + 0.05 * (np.arange(60) >= 40)
    left = find_departure(forecast, step)
    assert (left.since, left.block) == (40, 42)
    assert left.height == pytest.approx(0.05, abs=0.02)
    assert find_departure(forecast, quiet - 0.05 * (np.arange(60) >= 40)).height < 0
    assert find_departure(forecast, quiet + 0.05 * (np.arange(60) == 40)) is None
    assert find_departure(forecast, step[:42]) is None


@pytest.mark.parametrize("exponents", [(0.30, 0.35), (0.45, 0.25)])
def test_a_power_law_is_foreseen_at_ten_times_the_size(exponents: tuple[float, float]) -> None:
    a, b = exponents
    x, generator = np.linspace(2e7, 2e9, 100), np.random.default_rng(2)

    def run(n: float) -> Logged:
        exact = 1.8 + 3 * (n / 1e6) ** -a + 2 * (x / 2e7) ** -b
        return Logged(f"{n:g}", n, x, exact + generator.normal(0, 0.01, 100))

    found = foresee([run(n) for n in (1e6, 3e6, 1e7, 3e7)], run(3e8))
    assert found.left is None
    assert found.inside >= 0.8
    assert found.end.value == pytest.approx(1.8 + 3 * 300**-a + 2 * 100**-b, abs=0.1)


@pytest.mark.slow
def test_held_back_widths_of_our_own_studies() -> None:
    """Acceptance: pointwise cover 85 to 95%, less error than either simple rule, alarms as they should be.

    Four recipes along five widths, each longer than the last; then schedules and lengths that differ from width to
    width, one or two variants of each, drawn 12 times each.
    """
    curves = table()
    courses, generator = curves[curves["study"] == "courses"], np.random.default_rng(7)
    along = [item for case in by_recipe(curves[curves["study"] != "courses"]) for item in score(case)]
    drawn = [item for k in (1, 2) for case in mixed(courses, generator, k, 12) for item in score(case)]
    told, mixture, both = summary(along), summary(drawn), summary([*along, *drawn])
    assert 0.85 <= both["inside"] <= 0.95
    assert 0.85 <= mixture["inside"] <= 0.95
    for part in (told, mixture):
        assert part["error"] < min(part["rescaled"], part["tail"])
    assert both["< rescaled"] > 0.9
    assert both["< tail"] > 0.7
    assert told["alarms"] < 0.05
    assert told["found"] > 0.95
    assert both["alarms"] < 0.08
    assert both["found"] > 0.85


@pytest.mark.slow
def test_a_run_beside_one_other_of_its_size() -> None:
    """Cover and alarms as along sizes, and no more error than the other's curve itself."""
    told = summary([item for case in list(beside(table(), 1))[::2] for item in score(case)])
    assert told["runs"] == 72
    assert 0.85 <= told["inside"] <= 0.95
    assert told["error"] < told["rescaled"]
    assert told["alarms"] < 0.05
    assert told["found"] > 0.9


@pytest.mark.slow
@pytest.mark.long
def test_the_end_of_a_run_is_held_once_part_of_it_has_come() -> None:
    """Mean of the last blocks of 34 runs of the largest width, by what was seen at 0, 30, 55 and 80%."""
    curves, inside = table(), []
    for case in by_recipe(curves):
        for run in case.runs:
            for share in (0.0, 0.3, 0.55, 0.8):
                part = replace(run, loss=np.where(run.x <= share * run.x[-1], run.loss, np.nan))
                found = foresee(case.ladder, part)
                told = found.now or found.end
                inside.append(told.ci[0] <= run.loss[-5:].mean() <= told.ci[1])
    assert 0.85 <= np.mean(inside) <= 0.99


@pytest.mark.skipif(not SHARED.exists(), reason="the published data are not here")
def test_published_checkpoints_of_larger_models() -> None:
    """1.1B and 632M of arXiv 2407.13623 from smaller ones, by vocabulary: 20 checkpoints each, losses shifted by 8."""
    runs = pd.read_csv(SHARED / "decide/scaling_with_vocab/runs.csv")
    runs = runs[runs["ladder"].str.startswith("tokens@N=")]
    runs = runs.assign(n=runs["ladder"].str.removeprefix("tokens@N=").astype(float), loss=runs["loss"] + 8)
    inside, error, last = [], [], []
    for _, rows in list(runs.groupby("recipe"))[::3]:
        sizes = sorted(rows["n"].unique())
        logs = {
            size: Logged(f"{size:g}", size, part["x"].to_numpy(float), part["loss"].to_numpy(float))
            for size, part in rows.groupby("n")
        }
        for top in sizes[-2:]:
            found = foresee([logs[size] for size in sizes if size < top], logs[top])
            below = logs[max(size for size in sizes if size < top)]
            inside.append(found.inside)
            came, expected = (np.array([getattr(p, name) for p in found.points]) for name in ("measured", "expected"))
            progress = np.array([p.x for p in found.points]) / found.total
            error.append(np.abs(came - expected).mean())
            last.append(np.abs(came - np.interp(progress, below.x / below.x[-1], below.loss)).mean())
            assert found.left is None
    assert np.mean(inside) >= 0.85
    assert np.mean(error) < 0.5 * np.mean(last)


def test_a_run_as_it_goes_and_the_plan_of_its_rate() -> None:
    """The example of the pages: half a run of width 96, its rate to come in rows without a loss."""
    found = xo.foresee(RUN, LADDER, **NAMES)
    assert found.left is None
    assert 0.5 < found.so_far < 0.6
    whole = table()
    came = whole[whole["run"] == "lr_crossover-desk/inverse/96/100"]["loss"].to_numpy()[-1]
    assert found.end.ci[0] < came < found.end.ci[1]
    assert found.now.ci[0] < came < found.now.ci[1]
    assert found.now.se < found.end.se
    assert found.points[-1].measured is None


def test_seeing_more_never_uses_what_is_to_come() -> None:
    """The forecast of a run is the same, and a departure is found at the same place, however much more has come."""
    curves = table()
    case = next(by_recipe(curves[curves["recipe"] == "inverse"]))
    run = case.runs[0]
    raised = replace(run, loss=run.loss + 0.4 * (run.x > 0.5 * run.x[-1]))
    halves = [replace(raised, loss=np.where(run.x <= share * run.x[-1], raised.loss, np.nan)) for share in (0.6, 1.0)]
    first, second = (foresee(case.ladder, item) for item in halves)
    assert (first.left.at, first.left.since) == (second.left.at, second.left.since)
    assert 0.5 < first.left.progress <= 0.55
    assert first.left.since == pytest.approx(0.5 * run.x[-1], rel=0.03)
    assert first.end.value == pytest.approx(second.end.value, abs=0.01)  # block noise alone is told by what has come


def test_the_command_says_it_draws_it_and_fails_on_a_departure(tmp_path: Path) -> None:
    words = ["foresee", str(RUN), "--ladder", str(LADDER), "--n", "params"]
    figure, page = tmp_path / "figure.svg", tmp_path / "page.html"
    done = CliRunner().invoke(app, [*words, "--plot", str(figure), "--html", str(page)])
    assert done.exit_code == 0, done.output
    assert "it is on its course" in done.stdout
    assert figure.read_text().startswith("<svg")
    assert "on its course" in page.read_text()
    rows = pd.read_csv(RUN)
    rows.loc[rows["tokens"] > 0.4 * rows["tokens"].max(), "loss"] += 0.4
    raised = tmp_path / "raised.csv"
    rows.to_csv(raised, index=False)
    left = CliRunner().invoke(app, ["foresee", str(raised), *words[2:], "--json"])
    assert left.exit_code == 1
    told = json.loads(left.stdout)
    assert 0.4 < told["left"]["progress"] < 0.46
    assert "it left its course" in CliRunner().invoke(app, ["foresee", str(raised), *words[2:]]).stdout


def test_a_schedule_by_name_stands_for_a_rate_that_was_not_logged() -> None:
    """The desk's own schedule is a cosine to 1e-5 after a warmup of 10%: named, it forecasts as the logged one does."""
    ladder, run = pd.read_csv(LADDER), pd.read_csv(RUN)
    told = xo.foresee(run, ladder, **NAMES)
    named = xo.foresee(run.drop(columns="lr"), ladder.drop(columns="lr"), **NAMES, schedule="cosine", warmup=0.1)
    assert named.end.value == pytest.approx(told.end.value, abs=0.05)
    seen = run.dropna(subset="loss").drop(columns="lr")
    until = xo.foresee(
        seen, ladder.drop(columns="lr"), **NAMES, schedule="cosine", warmup=0.1, until=run["tokens"].max()
    )
    assert until.end.value == pytest.approx(named.end.value, abs=0.02)
    assert "rates are taken as constant" in str(xo.foresee(run.drop(columns="lr"), ladder.drop(columns="lr"), **NAMES))


def test_schedules_are_their_formulas() -> None:
    done = np.array([0.0, 0.05, 0.1, 0.55, 1.0])
    assert read_schedule("cosine:0.1", 0.1)(done) == pytest.approx([1e-6, 0.5, 1.0, 0.55, 0.1])
    assert read_schedule("linear")(done)[-2] == pytest.approx(0.45)
    assert read_schedule("wsd:0.5")(done) == pytest.approx([1, 1, 1, 0.9, 1e-6])
    assert read_schedule("constant")(done) == pytest.approx(np.ones(5))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schedule": "cosin"}, "no schedule is called 'cosin'"), ({"schedule": "wsd:2"}, "is a share between 0 and 1"),
        ({"n": "size"}, "size"), ({"where": "params > 6e4"}, "two sizes or more"),
        ({"until": 1e9}, "name a --schedule"), ({"schedule": "cosine", "lr": "lr"}, "not both"),
        ({"size": 2e5}, "is not for --size to say"), ({"by": "recipe"}, "choose it with --where"),
        ({"until": -1.0}, "lies before the last row"), ({"schedule": "cosine", "warmup": 1.5}, "the warmup is a share"),
        ({"run": "name"}, "name"),
    ],
)  # fmt: skip
def test_what_cannot_be_foreseen_says_so(change: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        xo.foresee(RUN, LADDER, **{**NAMES, **change})


def test_broken_curves_are_named() -> None:
    ladder, run = pd.read_csv(LADDER), pd.read_csv(RUN)
    with pytest.raises(UsageError, match="must ascend from point to point"):
        xo.foresee(pd.concat([run, run.assign(loss=run["loss"] + 1)]), ladder, **NAMES)
    with pytest.raises(UsageError, match="the other table has"):
        xo.foresee(run.drop(columns="lr"), ladder, **NAMES)
    with pytest.raises(UsageError, match="a curve needs 8 or more"):
        xo.foresee(run[:5], ladder, **NAMES)
    with pytest.raises(UsageError, match="a learning rate is missing"):
        xo.foresee(run.assign(lr=np.nan), ladder, **NAMES)
    with pytest.raises(UsageError, match="names 2 recipes"):
        xo.foresee(run, ladder.assign(recipe=np.where(ladder["params"] > 1e4, "a", "b")), **NAMES)


def test_large_ladders_are_thinned_alike_and_lame_runs_left_out() -> None:
    ladder = pd.read_csv(LADDER)
    again = [ladder.assign(run=ladder["run"] + f"-{k}", loss=ladder["loss"] + 1e-3 * k) for k in range(8)]
    copies = pd.concat(again, ignore_index=True)
    copies.loc[(copies["run"] == copies["run"][0]) & (copies["tokens"] > 6e4), "loss"] = np.nan
    found = xo.foresee(RUN, copies, **NAMES)
    assert found.runs == 30
    assert any("diverged or lack losses" in flag for flag in found.flags)
    assert any("of every size as many" in flag for flag in found.flags)


def test_losses_that_were_not_logged_at_every_point_are_no_end_of_the_run() -> None:
    """A loss at every third point, and a stretch without any: the same forecast, and a departure behind it is found."""
    ladder, run = pd.read_csv(LADDER), pd.read_csv(RUN)
    whole = xo.foresee(run, ladder, **NAMES)
    fine = run.loc[run.index.repeat(3)].reset_index(drop=True)
    third = np.arange(len(fine)) % 3
    step = run["tokens"][1] - run["tokens"][0]
    fine["tokens"] -= ((2 - third) * step / 3).astype(int)
    fine.loc[third < 2, "loss"] = np.nan
    fine.loc[(fine["tokens"] > 1e6) & (fine["tokens"] < 1.2e6), "loss"] = np.nan
    sparse = xo.foresee(fine, ladder, **NAMES)
    assert sparse.left is None
    assert sparse.so_far == pytest.approx(whole.so_far, abs=0.02)
    assert sparse.now.value == pytest.approx(whole.now.value, abs=0.05)
    raised = fine.assign(loss=fine["loss"] + 0.4 * (fine["tokens"] > 1.9e6))
    assert xo.foresee(raised, ladder, **NAMES).left.progress == pytest.approx(0.46, abs=0.03)


def test_a_plan_of_one_row_says_as_much_as_all_of_it() -> None:
    """With a schedule's name or with the rates of its end alone, which are joined by a line."""
    run, ladder = pd.read_csv(RUN), pd.read_csv(LADDER)
    whole = xo.foresee(run, ladder, **NAMES)
    short = pd.concat([run.dropna(subset="loss"), run[-1:]])
    assert xo.foresee(short, ladder, **NAMES).end.value == pytest.approx(whole.end.value, abs=0.06)
    bare, small = short.drop(columns="lr"), ladder.drop(columns="lr")
    named = xo.foresee(bare, small, **NAMES, schedule="cosine", warmup=0.1)
    assert named.end.value == pytest.approx(whole.end.value, abs=0.05)


def test_a_spike_is_no_departure_however_high() -> None:
    run = pd.read_csv(RUN)
    for height in (0.5, 1, 2, 50):
        assert xo.foresee(run.assign(loss=run["loss"] + height * (run.index == 30)), LADDER, **NAMES).left is None


def test_a_run_that_is_off_from_its_first_point_is_not_on_its_course() -> None:
    run = pd.read_csv(RUN)
    some, much = (xo.foresee(run.assign(loss=run["loss"] + height), LADDER, **NAMES) for height in (0.3, 2.0))
    assert some.left is not None or "not the run that the ladder foresees" in str(some)
    assert much.left.height == pytest.approx(2.0, abs=0.3)


def test_what_a_reader_should_know_is_noted() -> None:
    run, ladder = pd.read_csv(RUN), pd.read_csv(LADDER)
    seen = run.dropna(subset="loss")
    assert "taken to end there" in str(xo.foresee(seen, ladder, **NAMES))
    assert "'lr' are not used" in str(xo.foresee(run, ladder, **NAMES, schedule="cosine"))
    assert "alarms of so few may be false" in str(xo.foresee(run, ladder[::6], **NAMES))
    told = xo.foresee(run.assign(optimizer="muon"), ladder.assign(optimizer="adam"), **NAMES)
    assert "the run's optimizer is muon, the ladder's adam" in str(told)
    with pytest.raises(UsageError, match="names 2 runs"):
        xo.foresee(run.assign(run=np.where(run.index % 2, "a", "b")), ladder, **NAMES)
    zero = xo.foresee(run.assign(lr=np.where(run.index == 0, 0.0, run["lr"])), ladder, **NAMES)
    assert zero.end.value == pytest.approx(xo.foresee(run, ladder, **NAMES).end.value, abs=0.02)


def test_a_loss_that_became_infinite_is_a_departure_and_such_runs_are_no_rung() -> None:
    run, ladder = pd.read_csv(RUN), pd.read_csv(LADDER)
    run.loc[50:, "loss"] = np.inf
    found = xo.foresee(run, ladder, **NAMES)
    assert (found.left.at, found.left.height) == (run["tokens"][50], np.inf)
    assert "it diverged: its loss is infinite at" in str(found)
    assert found.to_json()["left"]["height"] is None
    ladder.loc[40, "loss"] = np.inf
    assert xo.foresee(pd.read_csv(RUN), ladder, **NAMES).runs == 5


def test_losses_of_either_sign_and_of_none_are_foreseen() -> None:
    """A constant added to all losses moves the forecast by it, whatever sign they have then."""
    run, ladder = pd.read_csv(RUN), pd.read_csv(LADDER)
    plain = xo.foresee(run, ladder, **NAMES)
    for shift in (-3.5, -8.0):
        moved = xo.foresee(run.assign(loss=run["loss"] + shift), ladder.assign(loss=ladder["loss"] + shift), **NAMES)
        assert moved.end.value == pytest.approx(plain.end.value + shift, abs=0.1)


def test_a_run_that_has_not_begun_is_foreseen() -> None:
    run = pd.read_csv(RUN).assign(loss=np.nan)
    found = xo.foresee(run, LADDER, **NAMES)
    assert (found.now, found.inside, found.so_far) == (None, None, 0.0)
    case = [Logged("a", 1e6, np.arange(1.0, 60), np.ones(59))]
    with pytest.raises(UsageError, match="two sizes or more, or of the run's own size"):
        foresee(case, replace(case[0], n=2e6))
    with pytest.raises(UsageError, match="two sizes or more"):
        ladder_of([])
