"""What a stage's task makes of how DVC ended, by a real DVC."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from prefect.logging import disable_run_logger

from flows.pipeline import run_stage


@pytest.mark.parametrize(
    ("command", "name"),
    [("echo done", "Completed"), ("exit 3", "Failed"), ("kill -9 $PPID", "Failed")],  # the last kills DVC itself
)
def test_a_stage_is_done_where_dvc_ended_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, name: str
) -> None:
    for words in (["git", "init", "-q"], [sys.executable, "-m", "dvc", "init", "-q"]):
        subprocess.run(words, cwd=tmp_path, check=True, env={**os.environ, "DVC_NO_ANALYTICS": "1"})
    (tmp_path / "dvc.yaml").write_text(f"stages:\n  one:\n    cmd: {command}\n")
    monkeypatch.chdir(tmp_path)
    with disable_run_logger():
        state = run_stage.fn("one", stale=True, again=False, upstream=[])
    assert state.type.name.title() == name
