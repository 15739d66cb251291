"""Pictures for the demo: coloured shapes on textured grounds, with tags that are true of what can be seen.

Every picture comes from one random generator and is drawn as an array (height, width, 3) float32 of 0..255;
edges are smoothed by drawing masks four times as large.
"""

from collections.abc import Callable, Mapping
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

Array = NDArray[np.float32]
Colour = tuple[int, int, int]
T = TypeVar("T")

# Shares are skewed, as those of real tags are. Only shapes are coloured: the grounds keep to greys and dusk.
SHAPES = {"圆形": 0.36, "方形": 0.25, "三角形": 0.18, "star": 0.11, "心形": 0.06, "ring": 0.04}
COLOURS = {"red": 0.45, "蓝色": 0.30, "green": 0.16, "黄色": 0.09}
GROUNDS = {"": 0.34, "条纹": 0.24, "夜晚": 0.17, "dots": 0.14, "sunset": 0.11}
EFFECTS = {"": 0.78, "noisy": 0.14, "模糊": 0.08}
GREY = "黑白"
TAGS = (*SHAPES, *COLOURS, *(tag for tag in (*GROUNDS, *EFFECTS) if tag), GREY)
"""The 17 tags a picture can have; those of one picture are in this order."""

_COUNTS = {1: 0.25, 2: 0.35, 3: 0.25, 4: 0.15}
_PAINTS: dict[str, Colour] = {
    "red": (214, 40, 48),
    "蓝色": (38, 96, 214),
    "green": (40, 160, 72),
    "黄色": (246, 205, 40),
}
_TONES = np.array(
    [
        (226, 218, 204),
        (204, 196, 188),
        (180, 176, 188),
        (156, 154, 158),
        (212, 200, 204),
        (134, 130, 138),
        (236, 232, 226),
        (116, 110, 114),
    ],
    dtype=np.float32,
)
_SMOOTH = 4  # times larger than needed are masks drawn


def draw_picture(
    rng: np.random.Generator, size: tuple[int, int], *, grey: bool = False
) -> tuple[Image.Image, tuple[str, ...]]:
    """Draw one picture.

    Parameters
    ----------
    rng : numpy.random.Generator
        Decides everything; the same state gives the same pixels.
    size : tuple of int
        Width and height in pixels.
    grey : bool
        Black and white: the picture then has no tag of a colour, and `GREY`.

    Returns
    -------
    image : PIL.Image.Image
        Mode RGB, also if it is grey.
    tags : tuple of str
        What can be seen in it, in the order of `TAGS`.
    """
    width, height = size
    ground, effect = _pick(rng, GROUNDS), _pick(rng, EFFECTS)
    canvas = _GROUND_PAINTERS[ground](rng, height, width)
    tags = {ground, effect}
    for place in _places(rng, width, height, _pick(rng, _COUNTS)):
        shape, colour = _pick(rng, SHAPES), _pick(rng, COLOURS)
        _paint_shape(canvas, rng, shape, colour, place, glow=ground == "夜晚")
        tags |= {shape, colour}
    image = _finish(canvas, rng, effect)
    if grey:
        image = image.convert("L").convert("RGB")
        tags = tags - set(COLOURS) | {GREY}
    return image, tuple(tag for tag in TAGS if tag in tags)


def _pick(rng: np.random.Generator, shares: Mapping[T, float]) -> T:
    return list(shares)[int(rng.choice(len(shares), p=list(shares.values())))]


# ---------------------------------------------------------------------- grounds


def _grid(height: int, width: int) -> tuple[Array, Array]:
    """Return x (1, W) and y (H, 1) in shares of the shorter side."""
    side = min(height, width)
    x, y = (np.arange(length) / side for length in (width, height))
    return x[None, :].astype(np.float32), y[:, None].astype(np.float32)


def _along(rng: np.random.Generator, height: int, width: int) -> tuple[Array, Array]:
    """Return coordinates (H, W) along and across a random direction."""
    x, y = _grid(height, width)
    angle = rng.uniform(0, np.pi)
    along, across = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
    return along.astype(np.float32), across.astype(np.float32)


def _tones(rng: np.random.Generator, contrast: float) -> tuple[Array, Array]:
    """Return two muted colours (3,) whose brightness differs by at least `contrast`."""
    brightness = _TONES.mean(axis=1)
    pairs = np.argwhere(np.abs(brightness[:, None] - brightness) >= contrast)
    first, second = pairs[rng.integers(len(pairs))]
    return _TONES[first], _TONES[second]


def _clouds(rng: np.random.Generator, height: int, width: int, cells: int) -> Array:
    """Return smooth noise (H, W, 1), about -1 to 1."""
    coarse = Image.fromarray(rng.uniform(-1, 1, (cells, cells)).astype(np.float32))
    return np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))[:, :, None]


def _mix(first: Array, second: Array, share: Array) -> Array:
    """Return (H, W, 3): `first` (3,) where `share` (H, W) is 0, `second` where it is 1."""
    return first + (second - first) * share[:, :, None]


def _plain(rng: np.random.Generator, height: int, width: int) -> Array:
    along, _ = _along(rng, height, width)
    share = (along - along.min()) / np.ptp(along)
    return _mix(*_tones(rng, 30), share) + 9 * _clouds(rng, height, width, 5)


def _stripes(rng: np.random.Generator, height: int, width: int) -> Array:
    along, _ = _along(rng, height, width)
    count = rng.uniform(7, 15)
    wave = np.sin(2 * np.pi * count * along + rng.uniform(0, 6)) * min(height, width) / (2 * np.pi * count)
    return _mix(*_tones(rng, 55), np.clip(wave + 0.5, 0, 1)) + 5 * _clouds(rng, height, width, 4)


def _dots(rng: np.random.Generator, height: int, width: int) -> Array:
    along, across = _along(rng, height, width)
    count = rng.uniform(8, 13)
    u, v = along * count, across * count
    u = u + 0.5 * (np.floor(v) % 2)  # every other row is shifted
    distance = np.hypot(u - np.floor(u) - 0.5, v - np.floor(v) - 0.5)
    inside = np.clip((0.24 - distance) * min(height, width) / count + 0.5, 0, 1).astype(np.float32)
    return _mix(*_tones(rng, 55), inside) + 5 * _clouds(rng, height, width, 4)


def _night(rng: np.random.Generator, height: int, width: int) -> Array:
    _, y = _grid(height, width)
    share = np.broadcast_to(y / y.max(), (height, width))
    sky = _mix(np.array((10, 10, 24), np.float32), np.array((44, 40, 66), np.float32), share)
    sky += 5 * _clouds(rng, height, width, 4)
    for _ in range(int(rng.integers(45, 90))):
        _paint_star(sky, rng)
    return sky


def _paint_star(sky: Array, rng: np.random.Generator) -> None:
    """Add a white point of light to `sky` (H, W, 3), touching only the pixels around it."""
    row, column = rng.uniform(0, sky.shape[0]), rng.uniform(0, sky.shape[1])
    spread, light = rng.uniform(0.002, 0.0055) * min(sky.shape[:2]), rng.uniform(80, 240)
    reach = int(4 * spread) + 1
    top, left = max(0, int(row) - reach), max(0, int(column) - reach)
    patch = sky[top : int(row) + reach, left : int(column) + reach]
    v, u = np.arange(patch.shape[0]) + top - row, np.arange(patch.shape[1]) + left - column
    patch += (light * np.exp(-(v[:, None, None] ** 2 + u[None, :, None] ** 2) / (2 * spread**2))).astype(
        np.float32
    )


def _sunset(rng: np.random.Generator, height: int, width: int) -> Array:
    x, y = _grid(height, width)
    stops = np.array(((86, 62, 112), (178, 92, 122), (236, 140, 104), (250, 190, 130)), np.float32)
    depth = (y / y.max() * (len(stops) - 1))[:, 0]
    column = np.stack([np.interp(depth, range(len(stops)), stops[:, band]) for band in range(3)], axis=-1)
    sky = np.repeat(column[:, None, :].astype(np.float32), width, axis=1) + 8 * _clouds(rng, height, width, 4)
    for base, tone in ((0.80, (92, 64, 84)), (0.88, (52, 38, 56))):  # two ridges of hills
        phase = rng.uniform(0, 6, 3)
        ridge = base + sum(0.035 / k * np.sin(4 * k * x + phase[k - 1]) for k in (1, 2, 3))
        inside = np.clip((y / y.max() - ridge) * height + 0.5, 0, 1)[:, :, None]
        sky += (np.array(tone, np.float32) - sky) * inside
    return sky


_GROUND_PAINTERS: dict[str, Callable[[np.random.Generator, int, int], Array]] = {
    "": _plain,
    "条纹": _stripes,
    "夜晚": _night,
    "dots": _dots,
    "sunset": _sunset,
}


# ---------------------------------------------------------------------- shapes


def _outline(shape: str) -> NDArray[np.float64]:
    """Return the corners (K, 2) of a shape of radius about 1."""
    t = np.linspace(0, 2 * np.pi, 120, endpoint=False)
    if shape == "心形":
        x = 16 * np.sin(t) ** 3
        y = -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t))
        return np.stack((x, y + 2), axis=-1) / 15.5
    corners = {"方形": 4, "三角形": 3, "star": 10}.get(shape, 120)
    angles = 2 * np.pi * np.arange(corners) / corners - np.pi / 2 + (np.pi / 4 if corners == 4 else 0)
    radii = np.where(np.arange(corners) % 2, 0.42, 1.05) if shape == "star" else np.ones(corners)
    return np.stack((radii * np.cos(angles), radii * np.sin(angles)), axis=-1)


def _mask(rng: np.random.Generator, shape: str, radius: float) -> Image.Image:
    """Return the coverage (mode L) of a shape, turned a little, in a square of side 2.2 radii."""
    angle = rng.uniform(-0.35, 0.35)
    turn = np.array(((np.cos(angle), np.sin(angle)), (-np.sin(angle), np.cos(angle))))
    side = int(2.2 * radius)
    middle = side * _SMOOTH / 2
    large = Image.new("L", (side * _SMOOTH, side * _SMOOTH))
    draw = ImageDraw.Draw(large)
    corners = _outline(shape) @ turn * radius * _SMOOTH + middle
    draw.polygon([(float(x), float(y)) for x, y in corners], fill=255)
    if shape == "ring":
        hole = 0.55 * radius * _SMOOTH
        draw.ellipse((middle - hole, middle - hole, middle + hole, middle + hole), fill=0)
    return large.reduce(_SMOOTH)


def _places(
    rng: np.random.Generator, width: int, height: int, count: int
) -> list[tuple[float, float, float]]:
    """Return up to `count` (x, y, radius) in pixels, hardly overlapping, wholly inside of the picture."""
    side = min(width, height)
    low, high = {1: (0.24, 0.34), 2: (0.19, 0.26), 3: (0.16, 0.22), 4: (0.14, 0.19)}[count]
    places: list[tuple[float, float, float]] = []
    for _ in range(200):
        radius = side * rng.uniform(low, high)
        x, y = (rng.uniform(1.15 * radius, length - 1.15 * radius) for length in (width, height))
        if all(np.hypot(x - u, y - v) > 0.98 * (radius + r) for u, v, r in places):
            places.append((x, y, radius))
        if len(places) == count:
            break
    return places


def _cover(mask: Image.Image) -> Array:
    """Return a mask as shares (H, W, 1) of 0..1."""
    return np.asarray(mask, dtype=np.float32)[:, :, None] / np.float32(255)


def _spread(mask: Image.Image, size: tuple[int, int], corner: tuple[int, int], blur: float) -> Array:
    """Return a mask (H, W, 1) of 0..1, placed in the whole picture and blurred."""
    whole = Image.new("L", size)
    whole.paste(mask, corner)
    return _cover(whole.filter(ImageFilter.GaussianBlur(blur)))


def _paint_shape(
    canvas: Array,
    rng: np.random.Generator,
    shape: str,
    colour: str,
    place: tuple[float, float, float],
    *,
    glow: bool,
) -> None:
    """Paint a shaded shape and its shadow (or its glow, at night) into `canvas` (H, W, 3)."""
    x, y, radius = place
    mask = _mask(rng, shape, radius)
    side = mask.width
    left, top = int(x - side / 2), int(y - side / 2)
    size = (canvas.shape[1], canvas.shape[0])
    paint = np.array(_PAINTS[colour], np.float32) * rng.uniform(0.9, 1.08) + rng.uniform(-8, 8, 3)
    if glow:
        canvas += 0.4 * paint.astype(np.float32) * _spread(mask, size, (left, top), radius * 0.25)
    else:
        offset = (left + int(radius * 0.07), top + int(radius * 0.12))
        canvas *= 1 - 0.42 * _spread(mask, size, offset, radius * 0.11)
    u = np.linspace(-1, 1, side, dtype=np.float32)
    light = 1.04 - 0.16 * (u[None, :] * 0.5 + u[:, None])
    shine = 46 * np.exp(-((u[None, :] + 0.35) ** 2 + (u[:, None] + 0.4) ** 2) / 0.16)
    fill = paint * light[:, :, None] + shine[:, :, None]
    patch = canvas[top : top + side, left : left + side]
    patch += (fill - patch) * _cover(mask)


def _finish(canvas: Array, rng: np.random.Generator, effect: str) -> Image.Image:
    """Return the canvas as a photo: darker towards the corners, grainy (very if noisy), perhaps blurred."""
    height, width = canvas.shape[:2]
    u, v = np.linspace(-1, 1, width, dtype=np.float32), np.linspace(-1, 1, height, dtype=np.float32)
    canvas *= 1 - 0.1 * (u[None, :, None] ** 2 + v[:, None, None] ** 2)
    grain = 34 if effect == "noisy" else 2.5
    canvas += grain * rng.standard_normal(canvas.shape, dtype=np.float32)
    image = Image.fromarray(np.clip(np.rint(canvas), 0, 255).astype(np.uint8))
    if effect == "模糊":
        return image.filter(ImageFilter.GaussianBlur(min(width, height) / 64))
    return image
