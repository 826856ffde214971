"""The scheduled flow: a study from a named branch, in a worktree of its own, with its results on a branch of theirs.

`prefect.yaml` deploys it (nightly, on demand, weekly); `crossover serve` runs those deployments on one machine.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from crossover.base.errors import CrossoverError, UsageError
from crossover.base.secrets import masked
from flows.artifacts import artifact_key
from flows.studies.snapshots import commit_snapshot, workspace_snapshot
from flows.workspace import Workspace, override
from stages.diff.comparing import Diff, compare
from stages.diff.snapshot import read_snapshot
from stages.diff.words import markdown
from stages.study.processes import die_with_this_parent

_NEVER = {"trainer", "trainers", "corpus", "corpora", "tokenizer", "path", "file", "files"}


@flow(name="scheduled", flow_run_name="{results_branch} from {branch}", persist_result=False)
def scheduled(
    branch: str = "main",
    results_branch: str = "results/nightly",
    studies: list[str] | None = None,
    params: dict[str, Any] | None = None,
    options: list[str] | None = None,
    git_remote: str | None = None,
) -> State:
    """Bring studies up to date and commit what is new.

    branch: whose source and params.yaml are used.
    results_branch: where dvc.lock, the small results and the verdicts are committed.
    studies: as study-scale, instead of the branch's active ones.
    params: sizes, seeds and recipes by dotted name, for this run: {"scales.pocket.widths": [16, 24]}.
    options: of `crossover run`: ["--runner", "ray"].
    git_remote: where the results branch is pushed, if anywhere.
    """
    die_with_this_parent()
    log, workspace = get_run_logger(), Workspace(Path.cwd(), branch, results_branch)
    try:
        overrides = _overrides(studies, params)
        if git_remote and (apart := workspace.fetch(git_remote)):
            log.warning("others sent results meanwhile; ours are kept as refs/crossover/unsent/%s", apart)
        with workspace.opened():
            return _run(workspace, overrides, options or [], git_remote)
    except CrossoverError as error:
        return Failed(message=masked(str(error)))


def _overrides(studies: list[str] | None, params: dict[str, Any] | None) -> dict[str, Any]:
    active = {key: dict(zip(("study", "scale"), key.split("-", 1), strict=False)) for key in studies or []}
    for name, value in (params or {}).items():
        _refuse_what_runs(name, value)
    return {**({"active": active} if active else {}), **(params or {})}


def _refuse_what_runs(name: str, value: Any) -> None:
    """Values of a run say how big and how often, never which program is run or which file is read."""
    first, *rest = *name.split("."), *_keys(value)
    strange = [first] if first not in ("scales", "studies") else [part for part in rest if part in _NEVER]
    if strange:
        raise UsageError(
            f"params: {name} would set '{strange[0]}', and a run may set sizes, seeds and recipes alone; commit it"
        )


def _keys(value: Any) -> Iterator[str]:
    """Of nested mappings and lists."""
    for key, item in value.items() if isinstance(value, dict) else ():
        yield str(key)
        yield from _keys(item)
    for item in value if isinstance(value, list) else ():
        yield from _keys(item)


def _run(workspace: Workspace, overrides: dict[str, Any], options: list[str], git_remote: str | None) -> State:
    log, previous = get_run_logger(), workspace.previous
    override(workspace.folder / "params.yaml", overrides)
    workspace.bring()
    code, output = workspace.crossover("run", "--json", *options, hear=log.info)
    if code:
        problems = json.loads(output)["problems"] if output else ["see the log"]
        return Failed(message="; ".join(problems))
    ran = [stage for stage, state in json.loads(output)["stages"].items() if state == "Ran"]
    now = workspace_snapshot(workspace.folder, "now")
    before = commit_snapshot(previous, workspace.repository) if previous else read_snapshot("nothing", {})
    changes = compare(replace(before, name=str(previous or "nothing")[:12]), now)
    commit = workspace.commit(_message(workspace, overrides, changes))
    workspace.send(git_remote)  # also what an earlier run could not send
    if commit is None:
        log.info("nothing new since %s", previous)
        return Completed(name="NothingNew", message=f"nothing new since results commit {str(previous)[:12]}")
    _tell(workspace, previous, commit, changes)
    return Completed(message=f"{len(ran)} stages ran; results commit {commit[:12]} on {workspace.results_branch}")


def _message(workspace: Workspace, overrides: dict[str, Any], changes: Diff) -> str:
    studies = dict.fromkeys(item.study for item in changes.quantities)
    return "\n".join([
        f"Results of {', '.join(studies)} on {datetime.now(UTC):%Y-%m-%d}",
        "",
        f"Source: {workspace.branch} at {workspace.source}",
        *(f"Set: {name} = {json.dumps(value)}" for name, value in overrides.items()),
        "",
        changes.headline(),
        *(f"  {item.study}: {item.what}: {item.old} -> {item.new}" for item in changes.changed),
    ])  # fmt: skip


def _tell(workspace: Workspace, previous: str | None, commit: str, changes: Diff) -> None:
    title = f"# {workspace.results_branch}: {(previous or 'nothing')[:12]} → {commit[:12]}"
    key = f"comparison-{artifact_key(workspace.results_branch)}"
    create_markdown_artifact(f"{title}\n\n{markdown(changes)}", key, "Against the previous commit of results")
