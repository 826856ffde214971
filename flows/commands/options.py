"""Options that the commands of a checkout share."""

from typing import Annotated

import typer

Scale = Annotated[str | None, typer.Option(help="A scale of params.yaml; all active ones where absent.")]
StudyName = Annotated[str | None, typer.Option("--study", help="A study of params.yaml.")]
