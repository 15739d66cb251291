"""JPEGs that Pillow cannot open although they are sound: more than 8 bits, and JPEG-LS."""

_LS = 0xF7
_FRAMES = {*range(0xC0, 0xD0), _LS} - {0xC4, 0xC8, 0xCC}  # the others in between are no frames
_ALONE = {0x01, 0xFF, *range(0xD0, 0xD9)}  # markers without a length


def why_not_opened(data: bytes) -> str | None:
    """Return the reason why a sound JPEG is not supported; None if it may be damaged, or is no JPEG.

    `data` may be only the beginning of the file.
    """
    place = 2
    while data.startswith(b"\xff\xd8\xff") and place + 9 < len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker in _FRAMES:
            height, width = (int.from_bytes(data[at : at + 2], "big") for at in (place + 5, place + 7))
            if (marker != _LS and data[place + 4] == 8) or not width or not height:
                return None
            what = "a JPEG-LS" if marker == _LS else "a JPEG"
            return f"not supported: {what} of {data[place + 4]} bits; save it as PNG with 8 bits a channel"
        place += 1 if marker == 0xFF else 2 if marker in _ALONE else 2 + _length(data, place)
    return None


def _length(data: bytes, place: int) -> int:
    return max(int.from_bytes(data[place + 2 : place + 4], "big"), 2)
