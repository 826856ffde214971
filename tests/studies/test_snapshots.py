"""Results read through git: what a commit's archive links to is not read."""

import subprocess
from pathlib import Path

from flows.studies.snapshots import commit_snapshot


def test_a_link_in_a_commit_is_not_followed(tmp_path: Path) -> None:
    results = tmp_path / "data/results/tiny-mini"
    results.mkdir(parents=True)
    (results / "fit.json").symlink_to("/etc/hostname")
    (results / "runs.csv").symlink_to("../../../../private.csv")
    for words in (
        ("init", "-q"),
        ("add", "."),
        ("-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "-qm", "x"),
    ):
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True)
    assert commit_snapshot("HEAD", tmp_path).studies == {}
