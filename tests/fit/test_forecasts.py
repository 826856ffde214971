"""What came of forecasts of own studies: the first seeds, and the earliest of their starts."""

from pathlib import Path

import pandas as pd
import pytest

from crossover.ledger.scoring import score
from stages.fit import forecasts
from stages.fit.forecasts import own_losses
from stages.study.tables import LOSSES, write_csv
from tests.ledger.test_chain import forecast

ASKED = {"study": "s-c", "columns": {"width": "16"}, "runs": 3}


def table(path: Path) -> None:
    """Four seeds of two recipes at width 16, loss 3 + seed / 10, the last seed first."""
    blank = {field.name: {"string": "", "bool": False}.get(str(field.type), 1) for field in LOSSES}
    rows = [
        {**blank, "recipe": recipe, "width": 16, "seed": seed, "status": "done", "axes": "{}",
         "loss_validation": 3 + seed / 10, "fingerprint": f"{recipe}{seed}"}
        for seed in (3, 2, 1, 0) for recipe in "ab"
    ]  # fmt: skip
    write_csv(path, rows, LOSSES)


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every cell began at noon of the 24th but a1, which began on the 22nd, before the forecast of the 23rd."""

    class Found:
        def __init__(self, names: list[str]) -> None:
            self.names = names

        def to_pandas(self) -> pd.DataFrame:
            day = {name: "22" if name == "a1" else "24" for name in self.names}
            return pd.DataFrame({"started": [f"2026-11-{day[name]}T12:00:00+00:00" for name in self.names]})

    monkeypatch.setattr(forecasts, "read_runs", lambda _, names: Found(list(names)))
    table(tmp_path / "s-c/losses.csv")
    return tmp_path


def test_as_many_seeds_as_the_forecast_speaks_of(results: Path) -> None:
    found = own_losses(forecast(**ASKED), results)
    assert {name: came.runs for name, came in found.items()} == {"a": 3, "b": 3}
    assert found["b"].loss == pytest.approx(3.1)


def test_one_run_that_began_before_is_enough_to_refuse(results: Path) -> None:
    found = own_losses(forecast(**ASKED), results)
    assert found["a"].started == "2026-11-22T12:00:00+00:00"
    assert found["b"].started == "2026-11-24T12:00:00+00:00"
    assert score(forecast(**ASKED), found).status == "refused"
    assert score(forecast(**ASKED), {"b": found["b"]}).status == "scored"
