"""What a scheduled run may be told, and what it never says."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from crossover.base.errors import CrossoverError, UsageError
from crossover.base.secrets import masked
from flows.scheduled import _overrides
from flows.workspace import Workspace


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("trainers.plain.command", "curl evil"),
        ("trainers", {}),
        ("corpora.words.path", "/etc"),
        ("studies.tiny.recipes.a.trainer", "plain"),
        ("studies.tiny", {"recipes": {"a": {"trainer": "plain"}}}),
        ("scales.mini.corpus", "other"),
        ("scales.mini", {"tokenizer": {"file": "/etc/passwd"}}),
        ("studies.tiny.recipes", [{"trainer": "x"}]),
        ("claims", {}),
        ("active", {}),
    ],
)
def test_a_run_never_says_what_is_run_or_read(name: str, value: Any) -> None:
    with pytest.raises(UsageError, match="and a run may set sizes, seeds and recipes alone"):
        _overrides(None, {name: value})


def test_a_run_says_how_big_and_how_often() -> None:
    told = {"scales.mini.widths": [8, 16], "studies.tiny.seeds": 5, "studies.tiny.recipes.a.lr.factor": 2}
    assert _overrides(["tiny-mini"], told) == {"active": {"tiny-mini": {"study": "tiny", "scale": "mini"}}, **told}


def test_a_token_in_a_remotes_address_is_told_to_nobody(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    remote = "https://me:ghp_secret@localhost:9/x.git"
    with pytest.raises(CrossoverError) as error:
        Workspace(tmp_path, "main", "results/x").fetch(remote)
    assert "ghp_secret" not in str(error.value)
    assert "***@localhost:9/x.git" in str(error.value)


def test_masking_leaves_everything_else() -> None:
    for plain in ("a@b.example", "git@host:x.git", "https://host/a@b", "see https://host/x?page=2", "token of a text"):
        assert masked(plain) == plain
    assert masked("s3://k:s@bucket 'http://t@h/?sig=ab&x=1'") == "s3://***@bucket 'http://***@h/?sig=***&x=1'"
