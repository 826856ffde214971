"""Sharing through a real S3 API on loopback: cells in the store, artifacts in DVC's remote."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from crossover.base.errors import UsageError
from stages.store.store import STORE
from tests.commands.test_gc import enter, gc, lay, planned
from tests.conftest import Project
from tests.end_to_end.conftest import FlowProject, copy_of
from tests.store.test_remote import refuse_strange_names

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of the S3 server and its client
]


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


KEYS = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_DEFAULT_REGION": "us-east-1"}


@pytest.fixture
def bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An empty bucket, reachable through the environment alone, as with real S3."""
    for name, value in {**KEYS, "AWS_ENDPOINT_URL": endpoint}.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3")
    client.create_bucket(Bucket="lab")
    yield "lab"
    for item in client.list_objects_v2(Bucket="lab").get("Contents", []):
        client.delete_object(Bucket="lab", Key=item["Key"])
    client.delete_bucket(Bucket="lab")
    client.close()


def keys(bucket: str, prefix: str) -> list[str]:
    client = boto3.client("s3")
    found = client.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])
    client.close()
    return [item["Key"] for item in found]


def test_a_cell_trained_here_is_not_trained_there(bucket: str, short: Path, tmp_path: Path) -> None:
    here, there = (copy_of(short, tmp_path / name, None) for name in ("here", "there"))
    for project in (here, there):
        project.environment["CROSSOVER_STORE"] = f"s3://{bucket}/cells"
    assert "0 of 6 cells are in the store, 6 to train" in here.repro()
    assert len([key for key in keys(bucket, "cells/") if key.endswith("record.json")]) == 6
    assert not [key for key in keys(bucket, "cells/") if "checkpoint" in key]
    assert "6 of 6 cells are in the store, 0 to train" in there.repro()
    assert there.losses() == here.losses()


@pytest.mark.long
def test_a_flow_on_dask_brings_its_cells_home_through_the_store(
    bucket: str, short: Path, tmp_path: Path, server: str
) -> None:
    project = copy_of(short, tmp_path / "project", server)
    project.environment["CROSSOVER_STORE"] = f"s3://{bucket}/cells"
    done = project.cells_only(runner="dask", workers=2)
    assert [cell["status"] for cell in done] == ["done"] * 6
    assert len({key.split("/")[1] for key in keys(bucket, "cells/")}) == 6


def test_names_in_a_bucket_are_not_trusted(bucket: str, tmp_path: Path) -> None:
    refuse_strange_names(tmp_path, f"s3://{bucket}/cells")


def test_a_cache_of_a_bucket_keeps_what_other_clones_need(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each clone has a cache of its own, and knows the others by the bucket alone."""
    monkeypatch.setenv("CROSSOVER_STORE", f"s3://{bucket}/cells")
    enter(monkeypatch, tmp_path / "theirs", seeds=3)
    theirs = planned()
    enter(monkeypatch, tmp_path / "ours", seeds=1)
    planned()
    for name in (*theirs, "a" * 64):
        lay(STORE, name)
    before = keys(bucket, "cells/")
    gc("--yes")
    assert {path.name for path in STORE.iterdir()} == {*theirs, ".crossover-store", ".clones"}
    assert keys(bucket, "cells/") == before
    assert len(before) == 3  # the marker and two clones
    (STORE / "thesis").mkdir()
    with pytest.raises(UsageError, match="holds 'thesis', which is no cell"):
        gc("--yes")


def git(project: Project, *words: str) -> None:
    project.run("git", "-c", "user.name=t", "-c", "user.email=t@example.com", *words)


@pytest.mark.long
def test_dvc_push_and_pull_carry_a_study(bucket: str, short: Path, tmp_path: Path, endpoint: str, server: str) -> None:
    here = copy_of(short, tmp_path / "here", None)
    here.repro()
    here.run("dvc", "remote", "add", "-d", "lab", f"s3://{bucket}/dvc")
    here.run("dvc", "remote", "modify", "lab", "endpointurl", endpoint)
    git(here, "add", "-A")
    git(here, "commit", "-qm", "a study")
    here.run("dvc", "push")
    subprocess.run(["git", "clone", "-q", here.root, tmp_path / "there"], check=True)
    there = FlowProject(tmp_path / "there", server)
    there.run("dvc", "pull")
    assert there.losses() == here.losses()
    assert "are up to date" in there.repro()
    summary = there.crossover_run()
    assert (summary["cells"], set(summary["stages"].values())) == ({}, {"Cached"})
