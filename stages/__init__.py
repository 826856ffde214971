"""What is computed: parameters and files in, files and a record out. No Prefect and no DVC in here."""

import os

# Our matrices are small. With more threads OpenBLAS mostly waits for itself, for minutes where another process is at
# work beside it, and the last digits of a result hang on the number of cores. To be set before numpy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
