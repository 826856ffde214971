"""A worker process that trains one cell after the other, and the handle on it. Run by the handle, never by hand.

The two talk in lines of JSON over the worker's standard input and output, so a worker can be the child of anything: the
`train` stage, a thread of a flow, a Dask or Ray worker. A worker whose parent dies, however it dies, sees its input end
and leaves. A cell that takes too long is stopped by killing its worker; the next cell gets a new one.
"""

import errno
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import astuple
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from crossover.base.errors import CrossoverError, DamageError, Interrupted
from stages.cells.plan import Plan, plan_from_json
from stages.store.store import Store
from stages.train.observer import Observer, Window, nobody

if TYPE_CHECKING:
    import torch

_DEVICE_LOST = 70
_DEVICE_WORDS = ("CUDA", "cuBLAS", "CUBLAS", "cuDNN", "CUDNN", "Triton", "HIP error")
"""Of errors that leave a context in which nothing works any more, and are no `AcceleratorError`."""
MEMORY = {"MALLOC_MMAP_THRESHOLD_": "33554432", "MALLOC_TRIM_THRESHOLD_": "17179869184"}
"""For glibc: memory that a step frees stays for the next one. To give it back and fault it in again costs a tenth."""
QUIET_SECONDS = float(os.environ.get("CROSSOVER_QUIET_SECONDS", "60"))
_GRACE = 20.0  # seconds a worker has for its last checkpoint


class CellError(CrossoverError):
    """A cell could not be finished."""


class HostError(CellError):
    """The machine could not finish it: its disk is full, its tokens are damaged. It says nothing of the cell."""


class WorkerLostError(CellError):
    """The worker died in the middle of a cell; another attempt goes on from the cell's checkpoint."""


class DeviceLostError(WorkerLostError, HostError):
    """The worker left since its device was of no more use; another one may find it again."""


class TimeLimitError(CellError):
    """The cell took longer than it may."""


_ERRORS = {"failed": CellError, "host failed": HostError}
"""By what a worker says."""
_HOST = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)


class Trainer:
    """The handle on one worker process, started when a cell needs it. One cell at a time.

    `number` chooses among the GPUs the process sees; `root` is the project's folder, by default where it is started.
    """

    def __init__(self, number: int = 0, root: Path | None = None) -> None:
        self._number, self._root = number, root
        self._process: subprocess.Popen[str] | None = None
        self._plan: Plan | None = None

    def complete(
        self,
        plan: Plan,
        fingerprint: str,
        store: Store,
        observe: Observer = nobody,
        seconds: float | None = None,
    ) -> str:
        """Bring a cell to completion; returns its status, `done` or `diverged`.

        Raises `WorkerLostError` where the process died, `TimeLimitError` after `seconds`, `CellError` where the cell
        failed.
        """
        process = self._running()
        expired = threading.Event()

        def expire() -> None:
            expired.set()
            _kill(process)

        timer = threading.Timer(seconds or threading.TIMEOUT_MAX, expire)
        timer.daemon = True
        if seconds:
            timer.start()
        try:
            self._ask(process, plan, fingerprint, store)
            return self._listen(process, observe)
        except WorkerLostError:
            self.stop()
            if expired.is_set():
                raise TimeLimitError(f"it took more than {seconds:g} s, its time limit") from None
            raise
        except CellError:
            raise
        except BaseException:  # whoever observes failed, say: the worker is in the middle of a cell that nobody awaits
            self.stop()
            raise
        finally:
            timer.cancel()

    def _running(self) -> "subprocess.Popen[str]":
        if self._process is None or self._process.poll() is not None:
            self.stop()
            self._process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-m", "stages.cells.trainer", str(self._number)],
                cwd=self._root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
                env={**MEMORY, **os.environ},
            )  # fmt: skip
            self._plan = None
        return self._process

    def _ask(self, process: "subprocess.Popen[str]", plan: Plan, fingerprint: str, store: Store) -> None:
        new = plan is not self._plan
        request = {"fingerprint": fingerprint, "store": store.url, "plan": plan.to_json() if new else None}
        self._plan = plan
        try:
            assert process.stdin
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
        except (BrokenPipeError, ValueError):
            raise _epitaph(process) from None

    def _listen(self, process: "subprocess.Popen[str]", observe: Observer) -> str:
        heard, over = [time.monotonic()], threading.Event()
        threading.Thread(target=_notice_silence, args=(process.pid, heard, over), daemon=True).start()
        try:
            for kind, value in _answers(process):
                heard[0] = time.monotonic()
                if kind == "finished":
                    return str(value)
                if kind in _ERRORS:
                    raise _ERRORS[kind](value)
                observe(Window(*value))
        finally:
            over.set()
        raise _epitaph(process)

    @property
    def pid(self) -> int | None:
        """The worker's process, where there is one."""
        return self._process.pid if self._process else None

    def stop(self) -> None:
        """End the worker; in the middle of a cell it writes a checkpoint first."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            _kill(process)
        with suppress(ProcessLookupError):  # what the worker started, where it could not end it itself
            os.killpg(process.pid, signal.SIGKILL)
        for pipe in (process.stdin, process.stdout):
            with suppress(OSError):  # what was never written has no reader
                if pipe:
                    pipe.close()


def _answers(process: "subprocess.Popen[str]") -> Iterator[tuple[str, Any]]:
    """What a worker says, until it has left in the middle of a line or `stop` has closed the pipe."""
    assert process.stdout
    while True:
        try:
            kind, value = json.loads(process.stdout.readline())
        except ValueError:
            return
        yield kind, value


def _notice_silence(pid: int, heard: list[float], over: threading.Event) -> None:
    """Say once of a worker that has said nothing for a minute, and used no processor, why nothing goes on."""
    import psutil

    used = -1.0
    while not over.wait(QUIET_SECONDS / 4):
        with suppress(psutil.Error):
            worker = psutil.Process(pid)
            stopped, now = worker.status() == psutil.STATUS_STOPPED, sum(worker.cpu_times()[:4])
            if time.monotonic() - heard[0] > QUIET_SECONDS and (stopped or now == used):
                why = f"was stopped; `kill -CONT {pid}` lets it go on" if stopped else "waits for something, as a disk"
                print(f"worker {pid} has done nothing for {QUIET_SECONDS:g} s: it {why}", file=sys.stderr, flush=True)
                return
            used = now


def _kill(process: "subprocess.Popen[str]") -> None:
    """End a worker and whatever it started; they are a session of their own."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _epitaph(process: "subprocess.Popen[str]") -> WorkerLostError:
    try:
        code = process.wait(5)
    except subprocess.TimeoutExpired:  # it has only closed its output
        process.kill()
        code = process.wait()
    hints = {
        -signal.SIGKILL: "; out of memory? lower the number of workers or the batch",
        _DEVICE_LOST: "; device lost",
    }
    kind = DeviceLostError if code == _DEVICE_LOST else WorkerLostError
    return kind(f"its worker died (exit code {code}){hints.get(code, '')}")


def _requests(lines: TextIO) -> Iterator[dict[str, Any]]:
    """Requests one by one. When they end, the parent has, and this process does, whatever it is doing."""
    waiting: queue.SimpleQueue[str] = queue.SimpleQueue()

    def read() -> None:
        for line in lines:
            waiting.put(line)
        os.killpg(0, signal.SIGKILL)  # a program that trains a cell must not outlive it either

    threading.Thread(target=read, daemon=True).start()
    while True:
        yield json.loads(waiting.get())


def _serve(requests: TextIO, answers: TextIO, number: int) -> None:
    """Answer requests until a SIGTERM asks for a last checkpoint."""
    stop, busy = threading.Event(), threading.Event()

    def leave(*_: object) -> None:
        stop.set()
        if not busy.is_set():
            raise SystemExit

    signal.signal(signal.SIGTERM, leave)

    import torch

    from stages.cells.one import Worker

    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    device = _device(number)

    def say(kind: str, value: Any) -> None:
        answers.write(json.dumps([kind, value]) + "\n")
        answers.flush()

    plan: Plan | None = None
    for request in _requests(requests):
        busy.set()
        plan = plan_from_json(request["plan"]) if request["plan"] else plan
        assert plan
        worker = Worker(plan, Store.at(request["store"]), device)
        fingerprint = request["fingerprint"]

        def work(worker: Worker = worker, fingerprint: str = fingerprint) -> str:
            return worker.complete(fingerprint, lambda told: say("window", astuple(told)), stop.is_set).status

        try:
            _attempt(work, say)
        except Interrupted:
            return
        if device.type == "cuda":
            torch.cuda.empty_cache()  # an idle worker keeps no memory that one beside it may need
        busy.clear()
        if stop.is_set():
            return


def _device(number: int) -> "torch.device":
    """The GPU of this worker, or the CPU."""
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not count:
        return torch.device("cpu")
    torch.cuda.set_device(number % count)  # else a worker of another GPU makes a context on the first one too
    return torch.device("cuda", number % count)


def _attempt(work: Callable[[], str], say: Callable[[str, Any], None]) -> None:
    """Say how a cell came out. A device that is lost to this process may be there for a new one, so it leaves."""
    try:
        status = work()
    except Interrupted:
        raise
    except Exception as error:
        if lost(error):
            print(f"{error}; the worker leaves", file=sys.stderr, flush=True)
            os._exit(_DEVICE_LOST)
        kind = "host failed" if of_the_host(error) else "failed"  # in either case not the worker
        say(kind, f"{type(error).__name__}: {error}")
    else:
        say("finished", status)


def of_the_host(error: Exception) -> bool:
    """Whether an error says that this machine, or what lies on it, fails every cell alike."""
    spoken = any(f"os error {number})" in str(error) for number in _HOST)  # of safetensors, which is written in Rust
    return isinstance(error, DamageError) or (isinstance(error, OSError) and error.errno in _HOST) or spoken


def lost(error: Exception) -> bool:
    """Whether an error says that the device is of no more use to this process; too little memory does not."""
    import torch

    if isinstance(error, torch.OutOfMemoryError):
        return False
    spoken = isinstance(error, RuntimeError) and any(word in str(error) for word in _DEVICE_WORDS)
    return isinstance(error, torch.AcceleratorError) or spoken


def main() -> None:
    """Serve the parent; whatever else prints goes to standard error."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    with suppress(BrokenPipeError, SystemExit):  # the parent left, or asked to
        _serve(sys.stdin, answers, int(sys.argv[1]))
    os._exit(0)  # the thread that waits for more requests holds standard input


if __name__ == "__main__":
    main()
