"""How much memory this process has used."""

import sys
from pathlib import Path

import psutil


def peak_mb() -> float:
    """Return the most memory this process has held so far, in MiB."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux: ru_maxrss there starts at what the parent held when it forked
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 2**10
    if sys.platform == "win32":
        return float(psutil.Process().memory_info().peak_wset) / 2**20
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # macOS counts bytes
