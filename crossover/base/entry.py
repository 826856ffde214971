"""How a program of ours ends: an error that the user can mend is one line and an exit code, never a traceback."""

import errno
import os
import sys
from collections.abc import Callable

from crossover.base.errors import CrossoverError, Interrupted
from crossover.base.extras import needs
from crossover.base.secrets import masked

_SURROUNDINGS = {
    errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG,
    errno.EIO, errno.EMFILE, errno.ESTALE, errno.ELOOP,
}  # fmt: skip


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
    try:
        with needs():
            main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except CrossoverError as error:
        print(f"error: {masked(str(error))}", file=sys.stderr)
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
