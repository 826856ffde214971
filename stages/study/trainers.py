"""params.yaml's trainers: programs that train a cell instead of our loop, and what of them is identity."""

import shlex
from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator

from crossover.base.canonical import digest
from crossover.base.errors import UsageError
from crossover.base.fields import Strict
from stages.study.identity import file_digest


class Command(Strict):
    """A program that trains a cell instead of our loop (docs/bring-your-trainer.md)."""

    command: Annotated[str, Field(min_length=1)]
    """A program below `trainers/`, or `python` and one. Started in the project's root without a shell; it gets one
    argument, the folder with `cell.json`."""
    sources: Annotated[list[str], Field(min_length=1)]
    """Globs below `trainers/`, which DVC watches; what they match is part of the identity of every cell it trains."""

    @field_validator("command")
    @classmethod
    def _is_below_trainers(cls, command: str) -> str:
        try:
            words = shlex.split(command)
        except ValueError as error:
            raise ValueError(f"{command:.200} is no command line ({error})") from None
        program = next((word for word in words[:2] if word != "python"), "")
        if not program.startswith("trainers/") or ".." in program.split("/"):
            raise ValueError(
                f"`{command:.200}` runs no program below trainers/; write `python trainers/own.py` for example"
            )
        return command

    @field_validator("sources")
    @classmethod
    def _below_trainers(cls, sources: list[str]) -> list[str]:
        for glob in sources:
            if not glob.startswith("trainers/") or ".." in glob:
                raise ValueError(f"{glob} is not below trainers/, which is what DVC watches; move or link it there")
        return sources

    def digest(self) -> str:
        """Of the command and its sources by name, Python as syntax: comments do not count.

        Raises `UsageError` where a glob matches no file.
        """
        files: dict[str, str] = {}
        for glob in self.sources:
            found = {path.as_posix(): file_digest(path) for path in Path().glob(glob) if path.is_file()}
            if not found:
                raise UsageError(f"params.yaml: trainers: {glob} matches no file; correct it, or add the file")
            files |= found
        return digest([self.command, files])
