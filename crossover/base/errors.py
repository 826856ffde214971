"""Errors a user can act on: one line that names the file, key or value, and the remedy.

`guarded` turns them into that line and an exit code; anything else is a defect of ours and keeps its traceback.
"""

import errno
import os
import sys
from collections.abc import Callable

_SURROUNDINGS = {
    errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG,
    errno.EIO, errno.EMFILE, errno.ESTALE, errno.ELOOP,
}  # fmt: skip


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


def guarded(main: Callable[[], None]) -> int:
    """Run `main`; print a `CrossoverError`, a full disk or Ctrl-C as one line. Returns the exit code.

    A missing package that an extra brings is such an error too. Where nobody reads on, it ends quietly with 1.
    """
    try:
        code = _guarded(main)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or the interpreter would complain when it ends
        return 1
    return code


def _guarded(main: Callable[[], None]) -> int:
    from crossover.base.extras import needs

    try:
        with needs():
            main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except CrossoverError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("error: interrupted; finished cells are kept, run the same command again", file=sys.stderr)
        return Interrupted.exit_code
    except BrokenPipeError:
        raise
    except OSError as error:
        if error.errno not in _SURROUNDINGS:
            raise
        where = f" ({error.filename})" if error.filename else ""
        print(f"error: {error.strerror}{where}; make room or permit it, then run again", file=sys.stderr)
        return 1
    return 0
