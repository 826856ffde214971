"""Verdicts as a report shows them: words for the page, the findings as Markdown, the map of regimes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from stages.report.figures import look, png
from stages.report.results import RESULTS, StudyResults
from stages.study.files import read_json

VERDICTS = Path("data/verdicts/verdicts.json")
_CURES = (("l2", "L2 term"), ("lr", "LR × 2"), ("batch", "batch / 4"))


@dataclass(frozen=True)
class Line:
    """One claim in words."""

    id: str
    scale: str
    study: str
    statement: str
    paper: str
    differs: str
    what: str
    verdict: str
    effect: str
    asked: str
    power: str
    basis: str
    why: str
    notes: str

    @property
    def summary(self) -> str:
        """Verdict, statement and effect in one line."""
        return f"{self.verdict}: {self.id} ({self.scale}), {self.statement}: {self.effect}, asked {self.asked}"


def read_verdicts() -> list[dict[str, Any]]:
    """verdicts.json. Raises `DamageError` where it is missing."""
    found: list[dict[str, Any]] = read_json(VERDICTS, "run `dvc repro verdicts`")
    return found


def lines(verdicts: list[dict[str, Any]]) -> list[Line]:
    """Every verdict in words."""
    return [_line(item) for item in verdicts]


def _line(item: dict[str, Any]) -> Line:
    copied = ("id", "scale", "study", "statement", "paper", "differs", "what", "verdict", "why")
    return Line(
        **{name: item[name] for name in copied},
        effect=_effect(item),
        asked=_asked(item),
        power=_power(item),
        basis=f"{item['cells']} cells, {item['core_hours']:.2g} core-hours",
        notes="; ".join(item["notes"]),
    )


def _effect(item: dict[str, Any]) -> str:
    effect = item["effect"]
    if effect is None:
        return "–"
    values = [effect["value"], *(effect["ci"] or ())]
    value, *ends = (f"{end + item['centre']:+.3g}" if end is not None else "no bound" for end in values)
    return f"{value}{f' [{ends[0]}, {ends[1]}]' if ends else ', no interval'} {item['unit']}"


def _asked(item: dict[str, Any]) -> str:
    """What the claim expects, in the unit of the effect."""
    if item["tolerance"] is None:
        return "–"
    low, high = item["centre"] - item["tolerance"], item["centre"] + item["tolerance"]
    return {
        "above": f"above {high:.3g}",
        "below": f"below {low:.3g}",
        "not below": f"above {low:.3g}",
        "none": f"within {low:.3g} and {high:.3g}",
    }[item["expects"]]


def _power(item: dict[str, Any]) -> str:
    if item["power"] is None:
        return "–"
    return f"{item['power']:.2f} at {item['power_at'] + item['centre']:.3g}"


def counts(verdicts: list[dict[str, Any]], powered: float) -> str:
    """How many came out how, in one sentence."""
    by = {name: sum(item["verdict"] == name for item in verdicts) for name in ("SUPPORTED", "REFUTED", "INCONCLUSIVE")}
    strong = sum(item["power"] is not None and item["power"] >= powered for item in verdicts)
    return (
        f"{len(verdicts)} claims: {by['SUPPORTED']} supported, {by['REFUTED']} refuted, {by['INCONCLUSIVE']} "
        f"inconclusive; {strong} had a power of {powered:.0%} or more."
    )


def regimes_figure(studies: dict[str, StudyResults], verdicts: list[dict[str, Any]]) -> bytes | None:
    """Three regimes on one map; None where the studies `regimes`, `skydiving` and `fresh` are not all at hand."""
    path = RESULTS / "ridge.json"
    if not {"regimes", "skydiving", "fresh"} <= studies.keys() or not path.exists():
        return None

    def plot(axes: list[Axes]) -> None:
        _ridge(axes[0], read_json(path, "run `dvc repro ridge`"))
        _small_data(axes[1], studies["regimes"])
        _fresh_data(axes[2], studies["skydiving"])
        _cures(axes[3], verdicts)

    return png(plot, 2, 2, (11.0, 7.6))


def _ridge(axes: Axes, found: dict[str, Any]) -> None:
    x = np.array(found["features"]) / found["samples"]
    names = (("ridgeless", "no penalty"), ("fixed", f"L2 {found['fixed_penalty']:g}"), ("tuned", "L2 tuned"))
    for index, (kind, label) in enumerate(names):
        axes.plot(x, found[kind]["test"]["mean"], label=label, lw=1.4, ms=4, **look(index))
    axes.axvline(1, color="black", lw=0.8, ls=":")
    axes.set(
        xscale="log", yscale="log", ylim=(0.6, 12), xlabel="features per sample", ylabel="test error (1: the mean)",
        title="(a) closed form: ridge on random features",
    )  # fmt: skip
    axes.legend()


def _small_data(axes: Axes, results: StudyResults) -> None:
    rows = results.losses[(results.losses["status"] == "done") & (results.losses["recipe"] == "base")]
    rows = rows.assign(epochs=(rows["tokens"] / rows["unique_tokens"]).round())
    for index, (width, group) in enumerate(rows.groupby("width")):
        means = group.groupby("epochs")[["loss_fresh", "loss_seen"]].mean()
        style = look(index)
        axes.plot(means.index, means["loss_fresh"], lw=1.4, label=f"width {width}, unseen text", **style)
        axes.plot(means.index, means["loss_seen"], lw=1.2, ls="--", ms=4, alpha=0.7, **style)
    axes.set(
        xscale="log", xlabel="passes over the small data set (dashed: text it trained on)", ylabel="loss (nats/token)",
        title="(b) small data, many passes",
    )  # fmt: skip
    axes.set_xticks(sorted(set(rows["epochs"])), [f"{value:g}" for value in sorted(set(rows["epochs"]))])
    axes.minorticks_off()
    axes.legend()


def _fresh_data(axes: Axes, results: StudyResults) -> None:
    rows = results.losses[
        (results.losses["status"] == "done") & (results.losses["tokens"] == results.losses["unique_tokens"])
    ]
    full = rows[rows["tokens"] == rows.groupby("width")["tokens"].transform("max")]
    means = full.groupby("width")[["loss_fresh", "loss_seen"]].mean()
    axes.plot(means.index, means["loss_fresh"], lw=1.4, label="unseen text", **look(0))
    axes.plot(means.index, means["loss_seen"], lw=1.2, ls="--", label="text it trained on", **look(1))
    axes.set(xscale="log", xlabel="width D", ylabel="loss (nats/token)", title="(c) fresh data, one pass")
    axes.set_xticks(list(means.index), [str(width) for width in means.index])
    axes.minorticks_off()
    axes.legend()


def _cures(axes: Axes, verdicts: list[dict[str, Any]]) -> None:
    by = {item["id"]: item["effect"] for item in verdicts}
    for index, (regime, label) in enumerate((("small", "small data, many passes"), ("fresh", "fresh data, one pass"))):
        effects = [by.get(f"R_{cure}_{regime}") for cure, _ in _CURES]
        for place, effect in enumerate(effects):
            if effect is not None:
                value, (low, high) = effect["value"], effect["ci"] or (effect["value"], effect["value"])
                axes.errorbar(
                    place + 0.2 * index - 0.1, value, yerr=[[value - low], [high - value]], capsize=4, ls="", ms=7,
                    label=label if place == 0 else None, **look(index),
                )  # fmt: skip
    axes.axhline(0, color="black", lw=0.8)
    axes.set_xticks(range(len(_CURES)), [name for _, name in _CURES])
    axes.set_yscale("symlog", linthresh=0.1)
    axes.set(
        ylabel="change of the loss on unseen text (nats)\nbelow 0: it helps",
        title="(d) what helps where",
        xlim=(-0.5, 2.5),
    )
    axes.legend()
