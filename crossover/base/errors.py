"""Errors a user can act on: one line that names the file, key or value, and the remedy, and an exit code.

`crossover.base.entry` prints them; anything else is a defect of ours and keeps its traceback.
"""


class CrossoverError(Exception):
    """Something went wrong that the user can mend. Exit code 1."""

    exit_code = 1


class UsageError(CrossoverError):
    """The input (params, corpus, command line) is wrong. Exit code 2."""

    exit_code = 2


class DamageError(CrossoverError):
    """A file on disk is not what its digest says."""


class GateError(CrossoverError):
    """A validation gate failed."""


class Interrupted(CrossoverError):  # noqa: N818 (it is not an error)
    """Stopped on request, with everything finished so far kept."""

    exit_code = 130
