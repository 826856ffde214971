"""The commands on anybody's runs, and the one place where a project's own commands join."""

import crossover.base.threads  # noqa: F401 (before numpy)
