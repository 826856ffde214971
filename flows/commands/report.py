"""The command `crossover report`: the figures of the page for papers, as SVG and PDF in one style."""

from pathlib import Path
from typing import Annotated

import typer

from crossover.cli.common import Json, print_json
from flows.commands.options import Scale, Studies, active_keys


def report(
    figures: Annotated[Path, typer.Option(help="Folder to write them to.", show_default=False)],
    study: Studies = None,
    scale: Scale = None,
    as_json: Json = False,
) -> None:
    """Write the figures of active studies as SVG and PDF.

    From the results in the workspace:

    crossover report --figures figures/ --study lr_crossover --scale pocket
    """
    from crossover.base.files import write_bytes
    from stages.report.figures import study_figures
    from stages.report.regimes import regimes
    from stages.report.results import read_results
    from stages.study.params import load_params
    from stages.verdicts.words import read_verdicts

    params = load_params()
    results = {key: read_results(key, params) for key in active_keys(study, scale)}
    drawn = [figure for found in results.values() for figure in study_figures(found)]
    if not study:
        drawn += regimes({params.active[key].study: found for key, found in results.items()}, read_verdicts())
    for figure in drawn:
        write_bytes(figures / f"{figure.name}.svg", figure.svg().encode())
        write_bytes(figures / f"{figure.name}.pdf", figure.pdf())
    if as_json:
        print_json({"folder": str(figures), "figures": [figure.name for figure in drawn]})
    else:
        print(f"{len(drawn)} figures in {figures}, each as SVG and PDF")
