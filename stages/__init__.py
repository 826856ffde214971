"""What is computed: parameters and files in, files and a record out. No Prefect and no DVC in here."""

import crossover.base.threads  # noqa: F401 (before numpy)
