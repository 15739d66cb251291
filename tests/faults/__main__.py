"""``python -m tests.faults``: kills, refusals and races at every disk operation; prints three tables."""

import argparse
import tempfile
from dataclasses import asdict
from pathlib import Path

from tests.faults.lab import COMMANDS, ERRORS, Lab, Tally
from tests.faults.races import RACES, add_others, run_race


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--commands", default=",".join(COMMANDS), help="separated by commas")
    parser.add_argument("--step", type=int, default=1, help="try every so many moments")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        lab = Lab(Path(folder))
        kills, errors, notes = [], [], []
        for name in given.commands.split(","):
            tally = Tally()
            for moment in lab.moments(name)[:: given.step]:
                lab.kill(name, moment, tally)
            kills.append(f"| `{name}` | {tally.moments} | {tally.moments - tally.lost} | {tally.lost} |")
            notes += tally.notes
            cells = []
            for error in ERRORS:
                tally = Tally()
                for moment in lab.moments(name, error)[:: given.step]:
                    lab.refuse(name, error, moment, tally)
                cells.append(f"{tally.moments} / {tally.ugly} / {tally.lost}")
                notes += tally.notes
            errors.append(f"| `{name}` | {' | '.join(cells)} |")
            print(kills[-1], errors[-1], *notes, sep="\n", flush=True)
            notes.clear()
    print("\n| command | killed at | survived | lost |\n|---|--:|--:|--:|", *kills, sep="\n")
    print(f"\n| command | {' | '.join(ERRORS)} |\n|---|{'--:|' * len(ERRORS)}", *errors, sep="\n")
    print("\n(moments / ended otherwise than in one line / lost)")
    _print_races(given.step)


def _print_races(step: int) -> None:
    print("\n| race | moments | refused | old rows | new rows | wrong rows |\n|---|--:|--:|--:|--:|--:|")
    with tempfile.TemporaryDirectory() as folder:
        lab = Lab(Path(folder))
        add_others(lab)
        for name, race in RACES.items():
            counts = asdict(run_race(lab, race, step))
            print(f"| {name} | {' | '.join(map(str, counts.values()))} |", flush=True)


if __name__ == "__main__":
    main()
