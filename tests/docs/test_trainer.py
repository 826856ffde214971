"""docs/bring-your-trainer.md, done as it says, at the scale of the tests."""

from typing import Any

import pandas as pd
import pytest
from ruamel.yaml import YAML

from tests.conftest import make_project
from tests.docs.blocks import blocks


def test_the_page_does_what_it_says(tmp_path: Any) -> None:
    found = blocks("bring-your-trainer.md")
    project = make_project(tmp_path / "project")
    (script,), (added,), (commands,) = (found[language] for language in ("python", "yaml", "sh"))
    (project.root / "trainers/mine.py").write_text(script)

    def change(values: dict[str, Any]) -> None:
        for key, entries in YAML(typ="safe").load(added.replace("pocket", "mini")).items():
            values[key] |= entries

    project.params(change)
    output = ""
    for line in commands.replace("pocket", "mini").splitlines():
        output += project.run("bash", "-c", line).stdout
    assert "mine at scale mini" in output
    losses = pd.read_csv(project.root / "data/results/mine-mini/losses.csv")
    assert set(losses["status"]) == {"done"}
    assert set(losses["recipe"]) == {"ours", "weak", "strong"}
    mine = losses[losses["recipe"] != "ours"].groupby("recipe")["loss_validation"].mean()
    assert mine["weak"] != pytest.approx(mine["strong"], abs=1e-4)
    assert mine.max() < 0.95 * losses["loss_init"].max()
