"""Where, when and how fast the cells of a study were trained: read from the store, and from nowhere else.

None of it is an output of a stage: results that are reproduced elsewhere, or tomorrow, are to be the same files.
"""

from collections.abc import Iterable

import pyarrow as pa

from stages.store.store import Store
from stages.study.tables import RUNS, table


def read_runs(store: Store, fingerprints: Iterable[str]) -> pa.Table:
    """A row of `RUNS` per finished cell. Of cells that came by `dvc pull` device class and torch alone are known."""
    found = [record for name in dict.fromkeys(fingerprints) if (record := store.record(name))]
    rows = [{"fingerprint": record.fingerprint, **record.provenance.model_dump()} for record in found]
    return table(rows, RUNS)
