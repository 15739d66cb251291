"""The scans of a JPEG: a progressive one may hold thousands, each a pass over all of its pixels."""

import re

# A progressive file of the usual encoders has 6 to 18 scans. libjpeg goes over every block of the picture
# for each, however few bytes it has: 60 scans of 170 megapixels in 700 kB take 20 s. A limit on their number
# alone would refuse small files that are quick, so scans times pixels are limited, at this many scans of the
# largest picture allowed. (A limit of time would depend on the machine, and libjpeg cannot be stopped between
# the scans of one 64 kB block of the file.)
MOST_SCANS = 16

_MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7\x01])", re.DOTALL)
_START_OF_SCAN, _END = 0xDA, 0xD9


def count_scans(data: bytes) -> int:
    """Return how many scans the first picture in the bytes of a JPEG has."""
    if data.count(b"\xff\xda") < 2:
        return 1  # the usual file, at the price of a search
    scans, place = 0, 2
    while found := _MARKER.search(data, place):
        kind = found[1][0]
        if kind == _END:
            break
        scans += kind == _START_OF_SCAN
        # the length includes its own two bytes; a wrong one is the decoder's matter
        place = found.end() + max(int.from_bytes(data[found.end() : found.end() + 2], "big"), 2)
    return scans
