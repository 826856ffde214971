"""What `make study` asks DVC for: the stages that bring one study, or all of a scale, up to date.

The verdicts and the page are then made from these and from the committed results of the other studies.

python -m flows.studies.targets skydiving pocket     prints stage names
python -m flows.studies.targets all pocket
"""

import argparse
import sys

from crossover.base.entry import guarded
from crossover.base.errors import UsageError
from stages.study.params import PARAMS, Params, load_params


def targets(params: Params, study: str, scale: str) -> list[str]:
    """DVC's targets. Raises `UsageError` for a study that is not active at the scale, with the line to add."""
    params.scale(scale)
    chosen = [key for key, item in params.active.items() if item.scale == scale and study in ("all", item.study)]
    if study != "all":
        params.study(study)
    if not chosen:
        name = "<study>" if study == "all" else study
        raise UsageError(
            f"{PARAMS}: {study} is not active at scale {scale}; add to `active`: "
            f"{name}-{scale}: {{study: {name}, scale: {scale}}}"
        )
    return [f"fit@{key}" for key in chosen]


def main() -> None:
    """Print the targets."""
    parser = argparse.ArgumentParser(prog="python -m flows.studies.targets", description=__doc__)
    parser.add_argument("study")
    parser.add_argument("scale")
    arguments = parser.parse_args()
    print(*targets(load_params(), arguments.study, arguments.scale))


if __name__ == "__main__":
    sys.exit(guarded(main))
