"""The machine as a measuring instrument: how busy others keep it, and what a process and its children took. Linux only."""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
CORES = os.cpu_count() or 1

#: Share of all cores above which the machine counts as busy before a run, and above which others spoilt a run.
BUSY, SPOILT = 0.08, 0.04

#: How often a process tree's memory is read, in seconds.
_EVERY = 0.2


@dataclass(frozen=True, slots=True)
class Ran:
    """A finished process. ``cpu`` and ``tree`` count its children too; ``peak`` and ``tree`` are resident MB.

    ``outside`` is the share of all cores that others (a hypervisor among them) took meanwhile.
    """

    seconds: float
    cpu: float
    peak: float
    tree: float
    outside: float
    code: int
    out: str
    err: str


def busy_seconds(text: str) -> float:
    """CPU seconds since boot that any process, kernel or hypervisor used, from the text of /proc/stat."""
    user, nice, system, _idle, _wait, *rest = (int(field) for field in text.split("\n", 1)[0].split()[1:9])
    return (user + nice + system + sum(rest)) / TICK


def _busy_now() -> float:
    return busy_seconds(Path("/proc/stat").read_text())


def busy_share(seconds: float = 2.0) -> float:
    """The share of all cores in use over the next ``seconds``."""
    start, begun = _busy_now(), time.monotonic()
    time.sleep(seconds)
    return max(_busy_now() - start, 0.0) / ((time.monotonic() - begun) * CORES)


def wait_until_quiet(tell: Callable[[str], None], patience: float = 3600.0) -> None:
    """Return when the cores have been idle for two seconds; TimeoutError after ``patience`` seconds."""
    begun = told = time.monotonic()
    while (share := busy_share()) > BUSY:
        now = time.monotonic()
        if now - begun > patience:
            raise TimeoutError(f"the machine stayed busy for {patience / 60:.0f} minutes ({share:.0%} of its cores)")
        if now - told > 30:
            told = now
            tell(f"waiting: {share:.0%} of the cores are in use")


def watched(command: Sequence[str], environment: Mapping[str, str], folder: Path) -> Ran:
    """Run ``command`` in ``folder`` and measure it from outside."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        others, own, begun = _busy_now(), time.process_time(), time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, env=dict(environment), stdout=out, stderr=err)
        memory = _Memory(process.pid)
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.terminate()
            raise
        finally:
            memory.over.set()
        seconds = time.perf_counter() - begun
        process.returncode = os.waitstatus_to_exitcode(status)
        others, own = _busy_now() - others, time.process_time() - own
        cpu = usage.ru_utime + usage.ru_stime
        outside = max(others - own - cpu, 0.0) / (seconds * CORES)
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode("utf-8", "replace"))
        peak = usage.ru_maxrss / 1024
        return Ran(seconds, cpu, peak, max(memory.peak, peak), outside, process.returncode, *texts)


class _Memory(threading.Thread):
    """Follows the resident memory of a process and all its descendants, in MB; ends when ``over`` is set."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.peak, self.over, self._pid = 0.0, threading.Event(), pid
        self.start()

    def run(self) -> None:
        while not self.over.wait(_EVERY):
            self.peak = max(self.peak, _resident(self._pid))


def _resident(pid: int) -> float:
    """MB of ``pid`` and its descendants; pages that they share count once. Those that end meanwhile count as nothing."""
    tree = _tree(pid)
    if len(tree) == 1:
        return _number(f"/proc/{pid}/statm", lambda text: int(text.split()[1]) * PAGE / 2**20)
    return sum(_number(f"/proc/{one}/smaps_rollup", _proportional) for one in tree)


def _tree(pid: int) -> list[int]:
    found = [pid]
    for process in found:  # grows on the way
        try:
            for task in Path(f"/proc/{process}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
        except OSError:
            continue
    return found


def _proportional(text: str) -> float:
    return next((int(line.split()[1]) / 1024 for line in text.splitlines() if line.startswith("Pss:")), 0.0)


def _number(path: str, parse: Callable[[str], float]) -> float:
    try:
        return parse(Path(path).read_text())
    except (OSError, IndexError):
        return 0.0
