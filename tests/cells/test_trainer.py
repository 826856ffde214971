"""Which errors of a worker say that its device is lost, how GPUs are counted, and the commit a record names."""

import subprocess
from pathlib import Path

import pytest
import torch

from stages.cells import one, pool
from stages.cells.trainer import lost


@pytest.mark.parametrize(
    "error",
    [
        torch.AcceleratorError("CUDA error: an illegal memory access was encountered"),
        RuntimeError("Triton Error [CUDA]: device-side assert triggered"),
        RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasGemmEx`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
    ],
)
def test_an_error_of_the_device_ends_the_worker(error: Exception) -> None:
    assert lost(error)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB"),
        RuntimeError("shapes differ"),
        ValueError("CUDA"),
    ],
)
def test_another_error_costs_its_cell_only(error: Exception) -> None:
    assert not lost(error)


def test_gpus_are_counted_where_nvidia_smi_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(Path, "exists", lambda path: str(path) == "/dev/nvidiactl")
    assert pool.gpu_count() == 3
    monkeypatch.setattr(Path, "exists", lambda path: False)
    assert pool.gpu_count() == 0


def test_a_record_names_the_commit_that_the_environment_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert one._commit() == "unknown"
    subprocess.run(["git", "init", "-q", "."], check=True)
    monkeypatch.setenv("CROSSOVER_COMMIT", "f" * 40)
    assert one._commit() == "f" * 40
