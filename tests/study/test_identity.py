"""Fingerprints are stable where nothing of meaning changed and sensitive where something did."""

import json
from pathlib import Path

import pytest

from stages.store.store import Payload
from stages.study import identity
from tests.conftest import make_cell


def test_fingerprint_is_pinned() -> None:
    """Changes only with the fields of a cell: a new field makes every stored cell stale, so add one knowingly."""
    payload = Payload(cell=make_cell(), tokenizer="t", data=["d"], source="s")
    assert payload.fingerprint == "b7310abb4b3cf08c6156a7a9189affb07885d37db5113774eba2be55b82bb18b"


def test_fingerprint_feels_every_field() -> None:
    base = Payload(cell=make_cell(), tokenizer="t", data=["d"], source="s")
    changes = {
        "lr": 0.02, "seed": 1, "qk_norm": False, "clip": None, "precision": "bf16", "unique_tokens": 64, "window": 11,
        "weight_decay": 0.0, "schedule": "constant", "steps": 41, "batch": 5, "beta2": 0.99, "z_loss": 1e-4,
    }  # fmt: skip
    seen = {base.fingerprint}
    seen |= {base.model_copy(update={"cell": make_cell(**{k: v})}).fingerprint for k, v in changes.items()}
    seen |= {
        base.model_copy(update=change).fingerprint
        for change in ({"tokenizer": "u"}, {"data": ["d", "e"]}, {"source": "z"})
    }
    assert len(seen) == len(changes) + 4


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "stages").mkdir()
    monkeypatch.setattr(identity, "ROOT", tmp_path)
    (tmp_path / "stages/b.py").write_text("def g(x):\n    return x\n")
    return tmp_path / "stages/a.py"


def _digest(path: Path, text: str) -> str:
    path.write_text(text)
    identity.source_digest.cache_clear()
    return identity.source_digest("stages.a")


def test_source_digest_ignores_comments_docstrings_and_layout(source: Path) -> None:
    plain = _digest(source, "from stages.b import g\n\ndef f(x):\n    return g(x) + 1\n")
    dressed = _digest(
        source, '"""Doc."""\nfrom stages.b import g\n# why\ndef f(x):\n    """Doc."""\n\n    return (g(x)\n   + 1)\n'
    )
    assert plain == dressed


@pytest.mark.parametrize("body", ["x + 2", "x - 1", "x + 1.0", "x + ''", "x + None", "x + True", "y + 1"])
def test_source_digest_feels_code(source: Path, body: str) -> None:
    assert _digest(source, "def f(x):\n    return x + 1\n") != _digest(source, f"def f(x):\n    return {body}\n")


def test_source_digest_feels_what_is_imported(source: Path) -> None:
    text = "from stages.b import g\n"
    before = _digest(source, text)
    (source.parent / "b.py").write_text("def g(x):\n    return 2 * x\n")
    assert _digest(source, text) != before


def test_none_and_empty_string_differ(source: Path) -> None:
    assert _digest(source, "x = None\n") != _digest(source, "x = ''\n")


def test_training_source_is_what_training_imports() -> None:
    """The digest covers the modules that really get loaded, no fewer."""
    import subprocess
    import sys

    code = (
        "import stages.train.loop, sys, json; "
        "print(json.dumps([m for m in sys.modules if m.startswith(('stages.', 'crossover.'))]))"
    )
    loaded = set(json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout))
    packages = {name for name in loaded if name.count(".") == 1}
    assert loaded - packages <= set(identity.source_files("stages.train.loop"))
