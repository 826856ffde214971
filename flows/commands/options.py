"""Options that the commands of a checkout share, and the active studies that they choose."""

from typing import Annotated

import typer

from crossover.base.errors import UsageError

Scale = Annotated[str | None, typer.Option(help="A scale of params.yaml; all active ones where absent.")]
StudyName = Annotated[str | None, typer.Option("--study", help="A study of params.yaml.")]
Studies = Annotated[
    list[str] | None,
    typer.Option("--study", help="A study of params.yaml; may be repeated; all active ones where absent."),
]


def active_keys(studies: list[str] | None, scale: str | None) -> list[str]:
    """Study-scale keys of the active studies chosen. Raises `UsageError` where one is not active."""
    from crossover.base.hints import nearest
    from stages.study.params import PARAMS, load_params

    active = load_params().active
    there = {key: item.study for key, item in active.items() if scale in (None, item.scale)}
    if not there:
        scales = sorted({item.scale for item in active.values()})
        raise UsageError(f"--scale {scale}: no study is active there in {PARAMS}; {nearest(str(scale), scales)}")
    for name in studies or []:
        if name not in there.values():
            where = f" at scale {scale}" if scale else ""
            known = sorted(set(there.values()))
            raise UsageError(f"--study {name} is not active{where} in {PARAMS}; {nearest(name, known)}")
    return [key for key, name in there.items() if name in (studies or there.values())]
