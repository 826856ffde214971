"""One thread per process for NumPy's products, unless the environment says otherwise. Import it before numpy.

Our matrices are small. With more threads OpenBLAS mostly waits for itself, for minutes where another process is at work
beside it, and the last digits of a result hang on the number of cores.
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
