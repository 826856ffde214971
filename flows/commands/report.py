"""The command `crossover report`: the figures of the page for papers, as SVG and PDF in one style."""

from pathlib import Path
from typing import Annotated

import typer


def report(
    figures: Annotated[Path, typer.Option(help="Folder to write them to.", show_default=False)],
    study: Annotated[list[str] | None, typer.Option(help="A study-scale; all active ones where absent.")] = None,
) -> None:
    """Write the figures of active studies as SVG and PDF.

    From the results in the workspace:

    crossover report --figures figures/ --study lr_crossover-pocket
    """
    from crossover.base.errors import UsageError
    from crossover.base.files import write_bytes
    from crossover.base.hints import nearest
    from stages.report.figures import study_figures
    from stages.report.regimes import regimes
    from stages.report.results import read_results
    from stages.report.verdicts import read_verdicts
    from stages.study.params import PARAMS, load_params

    params = load_params()
    for key in study or []:
        if key not in params.active:
            raise UsageError(f"--study {key} is not active in {PARAMS}; {nearest(key, list(params.active))}")
    results = {key: read_results(key, params) for key in study or params.active}
    drawn = [figure for found in results.values() for figure in study_figures(found)]
    if not study:
        drawn += regimes({params.active[key].study: found for key, found in results.items()}, read_verdicts())
    for figure in drawn:
        write_bytes(figures / f"{figure.name}.svg", figure.svg().encode())
        write_bytes(figures / f"{figure.name}.pdf", figure.pdf())
    print(f"{len(drawn)} figures in {figures}, each as SVG and PDF")
