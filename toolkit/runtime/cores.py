"""How many processor cores there are for us."""

import os


def usable_cores() -> int:
    """Return how many processor cores this process may use: in a container or a job fewer than there are."""
    if hasattr(os, "process_cpu_count"):
        return os.process_cpu_count() or 1  # it has a switch of Python's own too
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
