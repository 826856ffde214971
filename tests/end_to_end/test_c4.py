"""Real C4 text through the whole pipeline: from a local folder, and from a hub on loopback."""

from pathlib import Path
from typing import Any

import pytest

from tests.conftest import SHARED, Project
from tests.end_to_end.hub import SHA, serve

SAMPLE = SHARED / "corpus/c4_sample"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not SAMPLE.exists(), reason="needs the shared C4 sample"),
]


def c4(path: str, **more: Any) -> Any:
    def change(values: dict[str, Any]) -> None:
        values["corpora"]["c4"] = {"kind": "c4", "path": path, "train_shards": 2, "validation_shards": 2, **more}
        values["scales"]["mini"].update(corpus="c4", tokenizer={"vocab_size": 512, "train_bytes": 500_000})

    return change


def digests(project: Project) -> list[str]:
    from stages.shards.index import read_index

    text = read_index(project.root / "data/tokens/index.json").texts["c4-bpe512"]
    return [shard.sha256 for split in (text.train, text.validation) for shard in split.shards]


def test_local_folder_and_loopback_hub_give_the_same_study(project: Project, tmp_path: Path) -> None:
    folder = project.root / "data/sources/sample/en"
    folder.mkdir(parents=True)
    for path in (SAMPLE / "en").iterdir():
        (folder / path.name).symlink_to(path)
    project.params(c4("data/sources/sample"))
    project.repro()
    local, losses = digests(project), project.losses()
    assert losses.count(b"\n") == 9
    with serve(SAMPLE) as (address, asked):
        project.environment.update(HF_ENDPOINT=address, HF_HUB_DISABLE_XET="1", HF_HOME=str(tmp_path / "hf"))
        project.environment.pop("HF_HUB_OFFLINE", None)
        project.params(c4("allenai/c4", revision=SHA))
        project.repro()
    assert any("c4-train.00000-of-00002.json.gz" in request for request in asked)
    assert digests(project) == local
    assert project.losses() == losses


@pytest.mark.long
def test_a_hub_that_cannot_be_reached_is_said(project: Project, tmp_path: Path) -> None:
    project.environment.update(HF_ENDPOINT="http://127.0.0.1:9", HF_HOME=str(tmp_path / "hf"))
    project.environment.pop("HF_HUB_OFFLINE", None)
    project.params(c4("allenai/c4", revision=SHA))
    output = project.repro(check=False)
    assert "hub cannot be reached; set HF_ENDPOINT or use a local folder" in output
    assert "Traceback" not in output


@pytest.mark.long
def test_a_stream_that_breaks_off_is_taken_up_where_it_was(project: Project, tmp_path: Path) -> None:
    """The network is lost in the middle of a shard, for three requests: not a byte is lost or read twice."""
    folder = project.root / "data/sources/sample/en"
    folder.mkdir(parents=True)
    for path in (SAMPLE / "en").iterdir():
        (folder / path.name).symlink_to(path)
    project.params(c4("data/sources/sample"))
    project.run("dvc", "--wait-for-lock", "repro", "tokens")
    local = digests(project)
    project.run("rm", "-rf", "data/tokens", "dvc.lock")
    project.params(c4("allenai/c4", revision=SHA))
    with serve(SAMPLE, outage=(300_000, 3)) as (address, asked):
        project.environment.update(HF_ENDPOINT=address, HF_HUB_DISABLE_XET="1", HF_HOME=str(tmp_path / "hf"))
        project.environment.pop("HF_HUB_OFFLINE", None)
        project.run("dvc", "--wait-for-lock", "repro", "tokens")
    assert sum(request.startswith("GET") and ".gz" in request for request in asked) > 4
    assert digests(project) == local
