"""Packages that only some answers need: the extras they come with, and one line that says so where they are absent."""

from collections.abc import Iterator
from contextlib import contextmanager

from crossover.base.errors import UsageError

EXTRAS = {
    "plots": ("altair", "vl_convert", "jinja2", "markupsafe"),
    "study": (
        "torch", "datasets", "tokenizers", "datasketch", "safetensors", "dvc", "great_expectations", "psutil",
        "fsspec", "networkx", "xxhash", "tqdm",
    ),
    "flow": ("prefect", "fastapi", "sqlalchemy"),
    "dask": ("prefect_dask", "dask", "distributed"),
    "ray": ("prefect_ray", "ray"),
    "slurm": ("submitit",),
    "s3": ("dvc_s3", "s3fs"),
}  # fmt: skip
"""The modules that each extra brings, as they are imported."""
_OF = {module: extra for extra, modules in EXTRAS.items() for module in modules}


class MissingExtraError(UsageError):
    """An extra is not installed."""


def extra_of(error: ModuleNotFoundError) -> MissingExtraError | None:
    """The error that says which extra has the missing module, where one has."""
    extra = _OF.get((error.name or "").partition(".")[0])
    if extra is None:
        return None
    return MissingExtraError(
        f"this needs the extra '{extra}' ({error.name} is not installed): pip install 'scaling-crossover[{extra}]'"
    )


@contextmanager
def needs() -> Iterator[None]:
    """Turn the import of a module that an extra would bring into `MissingExtraError`."""
    try:
        yield
    except ModuleNotFoundError as error:
        known = extra_of(error)
        if known is None:
            raise
        raise known from None
