"""params.yaml: what is accepted, and the one line a mistake gets."""

import json
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from crossover.base.errors import UsageError
from stages.study.params import load_params
from tests.conftest import REPOSITORY, TINY


def _load(tmp_path: Path, path: str, value: Any) -> None:
    values = json.loads(json.dumps(TINY))
    target = values
    *parents, last = path.split("/")
    for part in parents:
        target = target[part]
    if value is None:
        del target[last]
    else:
        target[last] = value
    file = tmp_path / "params.yaml"
    YAML().dump(values, file)
    load_params(file)


def test_the_repository_s_own_params_are_valid() -> None:
    assert load_params(REPOSITORY / "params.yaml").active


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("scales/mini/widhts", [8], "did you mean 'widths'"),
        ("studies/tiny/recipes/constant/qk_nrom", True, "did you mean 'qk_norm'"),
        ("studies/tiny/recipes/constant/lr/exponnt", 1, "did you mean 'exponent'"),
        ("scales/mini/tokenizer/vocabsize", 1, "did you mean 'vocab_size'"),
        ("corpora/words/text_colum", "x", "did you mean 'text_column'"),
        ("studis", {}, "did you mean 'studies'"),
        ("scales/mini/seq_len", None, "scales.mini.seq_len is missing"),
        ("scales/mini/widths", [8, 12], "width 12 is not a multiple of head_dim 8"),
        ("scales/mini/widths", [16, 8], "ascend"),
        ("scales/mini/widths", [], "widths"),
        ("scales/mini/head_dim", 3, "head_dim"),
        ("scales/mini/lr", -1, "scales.mini.lr"),
        ("scales/mini/lr", float("nan"), "scales.mini.lr"),
        ("scales/mini/batch", 1.5, "scales.mini.batch"),
        ("scales/mini/validation_tokens", 3, "at least one sequence"),
        ("scales/mini/corpus", "wrods", "did you mean 'words'"),
        ("scales/mini/precision", "fp8", "precision"),
        ("active/tiny-mini/study", "tni", "must be named"),
        ("active/tiny-mini", {"study": "tiny"}, "scale is missing"),
        ("studies/tiny/axes", {"lr_octave": [1]}, "axes"),
        ("studies/tiny/axes", {"warmup": [2]}, "warmup"),
        ("studies/tiny/axes", {"warmup": []}, "axes"),
        ("studies/tiny/recipes", {}, "recipes"),
        ("studies/tiny/recipes", {"a": {"label": "b"}, "b": {}}, "two are called 'b'"),
        ("studies/tiny/recipes", {"a/b": {}}, "recipes"),
        ("studies/tiny/seeds", 0, "seeds"),
        ("corpora/words/kind", "web", "kind"),
    ],
)
def test_a_mistake_is_named_with_its_remedy(tmp_path: Path, path: str, value: Any, says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        _load(tmp_path, path, value)
    assert "\n" not in str(caught.value)


def test_a_misspelt_required_key_is_named_rather_than_the_one_it_leaves_missing(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(json.dumps(TINY).replace('"seq_len"', '"seq_lne"'))
    with pytest.raises(UsageError, match=r"unknown key scales\.mini\.seq_lne; did you mean 'seq_len'"):
        load_params(tmp_path / "params.yaml")


def test_broken_or_missing_yaml(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="missing"):
        load_params(tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_text("a: [1\nb: }")
    with pytest.raises(UsageError, match="not valid YAML"):
        load_params(tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_text("- 1")
    with pytest.raises(UsageError, match="must map"):
        load_params(tmp_path / "params.yaml")


def test_exponent_notation_is_a_number(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(json.dumps(TINY).replace('"lr": 0.02', '"lr": 2e-2'))
    assert load_params(tmp_path / "params.yaml").scale("mini").lr == 0.02


@pytest.mark.parametrize("command", ["[" * 3000, "'" + "a" * 3000, "python " + "x" * 3000])
def test_a_command_that_is_none_is_quoted_in_part(tmp_path: Path, command: str) -> None:
    values = json.loads(json.dumps(TINY))
    values["trainers"]["plain"]["command"] = command
    (tmp_path / "params.yaml").write_text(json.dumps(values))
    with pytest.raises(UsageError, match=r"trainers\.plain\.command: ") as error:
        load_params(tmp_path / "params.yaml")
    assert len(str(error.value)) < 600
