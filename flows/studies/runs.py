"""Where, when and how fast a study was trained, against what was predicted: the store's word, on no page."""

from dataclasses import asdict, dataclass
from typing import Any

from stages.cells.plan import read_plan
from stages.cells.runs import read_runs
from stages.store.store import store_from_environment
from stages.study.costs import seconds
from stages.study.params import Scale


@dataclass(frozen=True)
class StudyRuns:
    """Of the finished cells of a study's recorded plan; of those that came by `dvc pull` only the device is known."""

    cells: int
    devices: list[str]
    builds: list[str]
    """torch / NumPy / Python."""
    hosts: list[str]
    commits: list[str]
    first: str
    last: str
    """UTC of the first and the last start."""
    seconds: float
    """On the whole machine, with as many cells at once as the scale says."""
    predicted: float
    tokens_per_second: float
    """Median over cells."""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def study_runs(study: str, scale: Scale) -> StudyRuns | None:
    """None where no cell is finished. Raises `CrossoverError` where nothing was planned."""
    plan = read_plan(study, scale.name)
    runs = read_runs(store_from_environment(), plan.cells).to_pandas()
    if runs.empty:
        return None
    known = runs[runs["started"] != ""]
    builds = known[["torch", "numpy", "python"]].drop_duplicates().itertuples(index=False)
    return StudyRuns(
        cells=len(runs),
        devices=sorted(set(runs["device"])),
        builds=sorted(" / ".join(build) for build in builds),
        hosts=sorted(set(known["host"])),
        commits=sorted(set(known["commit"])),
        first=min(known["started"], default=""),
        last=max(known["started"], default=""),
        seconds=float(known["seconds"].sum()) / scale.machine.cells_at_once,
        predicted=sum(seconds(plan.cells[name], scale) for name in known["fingerprint"]),
        tokens_per_second=float(known["tokens_per_second"].median()) if len(known) else 0.0,
    )
