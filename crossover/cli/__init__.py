"""The commands on anybody's runs, and the one place where a project's own commands join."""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as in stages, and for its reasons
