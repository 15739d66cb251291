"""``python -m tests.faults.stops``: real processes stopped by signals at random moments; prints a table."""

import argparse
import random
import signal
import tempfile
import time
from pathlib import Path

import psutil

from tests.faults.lab import COMMANDS, READING, Lab, start, state
from toolkit.experiment.leftovers import leftovers

RUN = COMMANDS | READING | {"embed": ("embed", "../pictures", "--name", "real", "--input-size", "64")}
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL)


def _stop_one(lab: Lab, name: str, number: signal.Signals, after: float, counts: dict[str, int]) -> None:
    command = RUN[name]
    old, new = lab.before, lab.before if name in READING else lab.undisturbed(name)[1]
    with lab.copy() as home:
        process = start(command, home)
        time.sleep(after)
        workers = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        process.send_signal(number)
        _, err = process.communicate(timeout=120)
        counts["stopped"] += process.returncode != 0
        counts["workers left"] += len(psutil.wait_procs(workers, timeout=20)[1])
        if number != signal.SIGKILL and process.returncode:
            early = process.returncode == -number  # before Python had started
            counts["before Python started"] += early
            good = process.returncode == 128 + number and err.count("\n") == 1
            counts["other endings"] += not (early or good)
        now = state(home)
        counts["lost"] += any(now.get(key) not in (old[key], new[key]) for key in old if key != "prediction")
        start(command, home).communicate()
        counts["left over"] += len(leftovers(home / "artifacts"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--moments", type=int, default=5, help="of each command and signal")
    given = parser.parse_args()
    draw = random.Random(0)
    names = ("stopped", "before Python started", "other endings", "workers left", "lost", "left over")
    print(f"| command | runs | {' | '.join(names)} |\n|---|{'--:|' * (len(names) + 1)}")
    with tempfile.TemporaryDirectory() as folder:
        lab = Lab(Path(folder))
        for name in RUN:
            with lab.copy() as home:
                begun = time.monotonic()
                start(RUN[name], home).communicate()
                duration = time.monotonic() - begun
            counts = dict.fromkeys(names, 0)
            for number in SIGNALS:
                for _ in range(given.moments):
                    _stop_one(lab, name, number, draw.uniform(0, duration), counts)
            runs = len(SIGNALS) * given.moments
            print(f"| `{name}` | {runs} | {' | '.join(map(str, counts.values()))} |", flush=True)


if __name__ == "__main__":
    main()
