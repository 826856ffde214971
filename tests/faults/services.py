"""Faults of what a study leans on elsewhere: a flow and its Prefect server, a store on S3, the corpus' hub."""

import gzip
import hashlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3

from flows.server import free_port
from tests.conftest import Project, make_project
from tests.end_to_end.hub import SHA, serve
from tests.faults.arena import Arena, NotSurvivedError
from tests.faults.kinds import KINDS, damaged, kind
from tests.processes import alive, descendants, kill_all, until

__all__ = ["KINDS"]

FLOW = (sys.executable, "-m", "crossover", "run", "--json")


# A flow


@contextmanager
def _flow_that_trains(arena: Arena, **environment: str) -> Iterator[Any]:
    """`crossover run` with a server of its own, from a random moment of its training on; then none of it is left."""
    arena.forget(2)
    with arena.running(*FLOW, **environment) as process:
        until(lambda: process.poll() is not None or descendants(process.pid, "stages.cells.trainer"), 120)
        time.sleep(arena.random.uniform(0, 3))
        family = descendants(process.pid)
        yield process
    until(lambda: not any(map(alive, family)), 60)


@kind("flow killed, its server and workers orphaned")
def flow_killed(arena: Arena) -> set[str]:
    with _flow_that_trains(arena) as process:
        process.kill()
        process.communicate()
    return set()


@kind("worker of a flow killed", whole=True)
def flow_worker_killed(arena: Arena) -> set[str]:
    with _flow_that_trains(arena) as process:
        kill_all(descendants(process.pid, "stages.cells.trainer")[:1])
        code, errors = arena.end(process)
    if code:
        raise NotSurvivedError(errors)
    return set()


@kind("Prefect server killed under a flow", whole=True)
def server_killed(arena: Arena) -> set[str]:
    with _flow_that_trains(arena, CROSSOVER_SERVER_PATIENCE="3") as process:
        kill_all(descendants(process.pid, "prefect server start"))
        code, errors = arena.end(process)
    if code and "stopped answering" not in errors:  # it may have been done by then
        raise NotSurvivedError(f"exit code {code}: {errors}")
    return set()


@kind("two flows on one workspace", whole=True)
def two_flows(arena: Arena) -> set[str]:
    with _flow_that_trains(arena) as first:
        code, errors = arena.run(*FLOW)
        if code and "another run" not in errors:
            raise NotSurvivedError(f"exit code {code}: {errors}")
        code, errors = arena.end(first)
    if code:
        raise NotSurvivedError(errors)
    return set()


# A store on S3


class Bucket:
    """A real S3 API on loopback, in a process of its own that can be killed; all it holds is lost with it."""

    def __init__(self) -> None:
        port = free_port()
        self.address = f"http://127.0.0.1:{port}"
        self.environment = {
            "AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": self.address, "CROSSOVER_STORE": "s3://lab/cells",
        }  # fmt: skip
        command = [shutil.which("moto_server", path=str(Path(sys.executable).parent)), "-H", "127.0.0.1"]
        self.process = subprocess.Popen(
            [*map(str, command), "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self.client = boto3.client(
            "s3", endpoint_url=self.address, aws_access_key_id="k", aws_secret_access_key="s", region_name="us-east-1"
        )
        until(self._made)

    def _made(self) -> bool:
        try:
            self.client.create_bucket(Bucket="lab")
        except Exception:  # not up yet, in one of many words
            return False
        return True

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.client.close()

    def keys(self) -> list[str]:
        return [item["Key"] for item in self.client.list_objects_v2(Bucket="lab").get("Contents", [])]

    def read(self, key: str) -> bytes:
        content: bytes = self.client.get_object(Bucket="lab", Key=key)["Body"].read()
        return content

    def cells(self) -> set[str]:
        """Fingerprints with a record. Raises `NotSurvivedError` where a file of one is not what its record says."""
        keys = self.keys()
        records = [key for key in keys if key.endswith("/record.json")]
        for key in records:
            folder = key.removesuffix("record.json")
            for name, digest in json.loads(self.read(key))["body"]["files"].items():
                if folder + name not in keys or hashlib.sha256(self.read(folder + name)).hexdigest() != digest:
                    raise NotSurvivedError(f"{folder}{name} on S3 is not what its record says")
        return {key.split("/")[1] for key in records}


@contextmanager
def _bucket() -> Iterator[Bucket]:
    bucket = Bucket()
    try:
        yield bucket
    finally:
        bucket.kill()


def _shared(arena: Arena, bucket: Bucket) -> None:
    """Train with the store on S3, to the end: then S3 holds every cell, whole."""
    code, errors = arena.run(*arena.stage("train"), **bucket.environment)
    if code or bucket.cells() != arena.planned:
        raise NotSurvivedError(f"S3 holds {len(bucket.cells())} cells; exit code {code}: {errors}")


@kind("S3 lost while cells are trained", whole=True)
def s3_lost(arena: Arena) -> set[str]:
    arena.forget(2)
    with _bucket() as bucket, arena.running(*arena.stage("train"), **bucket.environment) as process:
        time.sleep(arena.random.uniform(1, 9))
        bucket.kill()
        code, errors = arena.end(process)
    if code and "cannot be reached" not in errors:
        raise NotSurvivedError(f"exit code {code}: {errors}")
    with _bucket() as bucket:
        _shared(arena, bucket)
    return set()


@kind("killed while it uploads to S3", whole=True)
def upload_killed(arena: Arena) -> set[str]:
    arena.forget(1)
    with _bucket() as bucket:
        with arena.running(*arena.stage("train"), **bucket.environment) as process:
            until(lambda: process.poll() is not None or bucket.keys(), 60)
            time.sleep(arena.random.uniform(0, 1))
            kill_all(descendants(process.pid))
            process.kill()
            process.communicate()
        bucket.cells()
        _shared(arena, bucket)
    return set()


@kind("file of a cell on S3 truncated, with a flipped bit or swapped", whole=True)
def s3_damaged(arena: Arena) -> set[str]:
    with _bucket() as bucket:
        _shared(arena, bucket)
        files = sorted(key for key in bucket.keys() if key.endswith(("record.json", "curve.parquet")))  # noqa: SIM118
        victim = arena.random.choice(files)
        other = arena.random.choice([key for key in files if key != victim and key[-5:] == victim[-5:]])
        how = arena.random.choice(["truncated", "flipped", "swapped"])
        content = damaged(arena, bucket.read(victim), how, bucket.read(other))
        bucket.client.put_object(Bucket="lab", Key=victim, Body=content)
        fingerprint = victim.split("/")[1]
        _forget_here(arena, fingerprint)
        code, errors = arena.run(*arena.stage("train"), **bucket.environment)
        if code != 1 or f"s3://lab/cells/{fingerprint}" not in errors:
            raise NotSurvivedError(f"exit code {code}: {errors}")
        for key in bucket.keys():  # noqa: SIM118 (the remedy that the message names)
            if fingerprint in key:
                bucket.client.delete_object(Bucket="lab", Key=key)
        _shared(arena, bucket)
    return {fingerprint}


def _forget_here(arena: Arena, fingerprint: str) -> None:
    shutil.rmtree(arena.store.folder(fingerprint))
    shutil.rmtree(arena.home / "cells", ignore_errors=True)


# The hub


class Streamed:
    """A second project whose corpus comes from a hub, and the digests of its shards when nothing is lost."""

    def __init__(self, root: Path) -> None:
        self.hub = root / "hub"
        fresh = not root.exists()
        self.project = make_project(root / "project") if fresh else Project(root / "project")
        if fresh:
            self._publish()
            self.project.params(_from_hub)
            (root / "calm.json").write_text(json.dumps(self.tokenize(None)))
        self.calm = json.loads((root / "calm.json").read_text())

    def _publish(self) -> None:
        """The project's documents as four shards in C4's layout, gzipped so that they stay large."""
        lines = (self.project.root / "data/sources/words.jsonl").read_bytes().splitlines(keepends=True)
        (self.hub / "en").mkdir(parents=True)
        for part in range(4):
            split = "train" if part < 2 else "validation"
            name = f"c4-{split}.{part % 2:05d}-of-00002.json.gz"
            (self.hub / "en" / name).write_bytes(gzip.compress(b"".join(lines[part::4]), 0))

    def tokenize(self, outage: tuple[int, int] | None) -> list[str]:
        """Digests of the shards after the stage `tokens`, run from nothing."""
        shutil.rmtree(self.project.root / "data/tokens", ignore_errors=True)
        with serve(self.hub, outage) as (address, _):
            found = {"HF_ENDPOINT": address, "HF_HUB_DISABLE_XET": "1", "HF_HOME": str(self.hub.parent / "hf")}
            self.project.environment.update(found)
            self.project.environment.pop("HF_HUB_OFFLINE", None)
            self.project.run(sys.executable, "-m", "stages.tokens")
        return [hashlib.sha256(path.read_bytes()).hexdigest() for path in self._shards()]

    def _shards(self) -> list[Path]:
        return sorted((self.project.root / "data/tokens").rglob("*.bin"))


def _from_hub(values: dict[str, Any]) -> None:
    shards = {"train_shards": 2, "validation_shards": 2}
    values["corpora"]["c4"] = {"kind": "c4", "path": "allenai/c4", "revision": SHA, **shards}
    values["scales"]["mini"].update(corpus="c4")


@kind("network lost in mid-stream of the corpus")
def stream_lost(arena: Arena) -> set[str]:
    streamed = Streamed(arena.root.parent / "streamed")
    outage = (arena.random.randrange(200_000), arena.random.randint(1, 3))
    if not streamed.calm or streamed.tokenize(outage) != streamed.calm:
        raise NotSurvivedError("other shards than without the loss")
    return set()
