"""Commands killed, and refused by the disk, at some of their disk operations; ``make faults`` tries all."""

import sys

import pytest

from tests.faults.lab import COMMANDS, ERRORS, READING, Lab, Tally, refusing, run

pytestmark = pytest.mark.skipif(not hasattr(sys, "getdlopenflags"), reason="needs fork")

KILLS = 2  # moments of each command


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    return Lab(tmp_path_factory.mktemp("lab"))


def spread(moments, count, shift):
    """Return some of the moments, evenly spread; another `shift` gives others."""
    step = len(moments) / count
    return [moments[int((number + shift) * step)] for number in range(count)]


@pytest.mark.parametrize("name", COMMANDS)
def test_kill__nothing_is_lost(lab, name):
    tally = Tally()
    for moment in [*spread(lab.moments(name), KILLS, 0.5), lab.moments(name)[-1]]:
        lab.kill(name, moment, tally)
    assert tally.lost == 0, tally.notes
    assert tally.harmless == 0 and tally.moments == KILLS + 1  # each was really killed


@pytest.mark.parametrize("name", COMMANDS)
def test_errno__is_one_line_and_nothing_is_lost(lab, name):
    tally = Tally()
    number = list(COMMANDS).index(name)
    for place, error in enumerate(ERRORS):
        (moment,) = spread(lab.moments(name, error), 1, ((7 * number + 3 * place) % 10) / 10)
        lab.refuse(name, error, moment, tally)
    assert (tally.lost, tally.ugly) == (0, 0), tally.notes
    assert tally.harmless < len(ERRORS)


@pytest.mark.parametrize("error", ["EIO", "EACCES", "EMFILE"])
@pytest.mark.parametrize("name", READING)
def test_errno__while_reading_is_one_line(lab, name, error):
    with lab.copy() as home:
        ended = [run(READING[name], home, refusing(error, moment)) for moment in (0, 5, 20)]
    assert all(each.status == 0 or (each.status == 2 and each.is_one_line) for each in ended), ended
    assert any(each.status for each in ended) or name == "info"  # info lists what is damaged, and goes on
