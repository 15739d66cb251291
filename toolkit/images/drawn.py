"""Pictures for the demo: coloured shapes on textured grounds, with tags that name their contents.

A picture is an array (height, width, 3) float32 of 0..255. Masks of shapes are drawn four times as large, for
smooth edges.
"""

from collections.abc import Mapping
from typing import TypeVar

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from toolkit.arrays.types import Float32Array, Float64Array

T = TypeVar("T")

# Shares are skewed like those of real tags. Only shapes have the colours: grounds are grey or dusky.
SHAPES = {"圆形": 0.36, "方形": 0.25, "三角形": 0.18, "star": 0.11, "心形": 0.06, "ring": 0.04}
COLOURS = {"red": 0.45, "蓝色": 0.30, "green": 0.16, "黄色": 0.09}
GROUNDS = {"": 0.34, "条纹": 0.24, "夜晚": 0.17, "dots": 0.14, "sunset": 0.11}
EFFECTS = {"": 0.78, "noisy": 0.14, "模糊": 0.08}
GREY = "黑白"
TAGS = (*SHAPES, *COLOURS, *(tag for tag in (*GROUNDS, *EFFECTS) if tag), GREY)
"""The 17 tags a picture can have; those of one picture are in this order."""

_COUNTS = {1: 0.25, 2: 0.35, 3: 0.25, 4: 0.15}
_PAINTS = {"red": (214, 40, 48), "蓝色": (38, 96, 214), "green": (40, 160, 72), "黄色": (246, 205, 40)}
_TONES = {"夜晚": ((22, 21, 40), (232, 228, 220)), "sunset": (((86, 62, 112), (250, 176, 120)))}
_SMOOTH = 4


def draw_picture(
    rng: np.random.Generator, size: tuple[int, int], *, grey: bool = False
) -> tuple[Image.Image, tuple[str, ...]]:
    """Draw one picture (width, height) and return it, mode RGB, with its tags in the order of `TAGS`.

    The same state of `rng` gives the same pixels. A `grey` picture has the tag `GREY` and none of a colour.
    """
    ground, effect = _pick(rng, GROUNDS), _pick(rng, EFFECTS)
    canvas = _draw_ground(rng, ground, size)
    tags = {ground, effect}
    for quarter in rng.permutation(4)[: _pick(rng, _COUNTS)].tolist():
        shape, colour = _pick(rng, SHAPES), _pick(rng, COLOURS)
        _paint_shape(canvas, rng, shape, colour, quarter)
        tags |= {shape, colour}
    if effect == "模糊":
        blurred = _to_image(canvas).filter(ImageFilter.GaussianBlur(min(size) / 64))
        canvas = np.asarray(blurred, np.float32)
    noise = rng.standard_normal(canvas.shape, dtype=np.float32)  # a sensor's, so it is not blurred
    image = _to_image(canvas + (30 if effect == "noisy" else 2.5) * noise)
    if grey:
        image = image.convert("L").convert("RGB")
        tags = tags - set(COLOURS) | {GREY}
    return image, tuple(tag for tag in TAGS if tag in tags)


def _to_image(canvas: Float32Array) -> Image.Image:
    return Image.fromarray(np.clip(np.rint(canvas), 0, 255).astype(np.uint8))


def _pick(rng: np.random.Generator, shares: Mapping[T, float]) -> T:
    return list(shares)[int(rng.choice(len(shares), p=list(shares.values())))]


def _draw_ground(rng: np.random.Generator, ground: str, size: tuple[int, int]) -> Float32Array:
    """Return two tones mixed by a pattern, with clouds, (H, W, 3)."""
    width, height = size
    side, angle, count = min(size), rng.uniform(0, np.pi), rng.uniform(7, 14)
    y, x = np.mgrid[:height, :width].astype(np.float32) / side
    u, v = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
    sharpness = side / count  # edges are one pixel wide
    share = {
        "": u,
        "条纹": np.sin(2 * np.pi * count * u) / (2 * np.pi) * sharpness + 0.5,
        "dots": (0.24 - np.hypot(u * count % 1 - 0.5, v * count % 1 - 0.5)) * sharpness + 0.5,
        "夜晚": rng.random((height, width)) > 0.997,  # stars
        "sunset": y,
    }[ground]
    greys = rng.uniform(110, 170) + np.array(((0,), (60,))) + rng.uniform(-12, 12, (2, 3))
    first, second = np.array(_TONES.get(ground, greys), np.float32)
    coarse = Image.fromarray(rng.uniform(-8, 8, (5, 5)).astype(np.float32))
    clouds = np.asarray(coarse.resize(size, Image.Resampling.BICUBIC))[:, :, None]
    canvas = clouds + first + (second - first) * np.clip(share, 0, 1)[:, :, None]
    return np.asarray(canvas, np.float32)


def _outline(shape: str) -> Float64Array:
    """Return the corners (K, 2) of a shape of radius about 1."""
    if shape == "心形":
        t = np.linspace(0, 2 * np.pi, 120)
        y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
        return np.stack((16 * np.sin(t) ** 3, 2 - y), axis=-1) / 15.5
    corners = {"方形": 4, "三角形": 3, "star": 10}.get(shape, 120)
    angles = 2 * np.pi * (np.arange(corners) + (corners == 4) / 2) / corners - np.pi / 2
    radii = np.where(np.arange(corners) % 2, 0.42, 1.05) if shape == "star" else np.ones(corners)
    return np.stack((radii * np.cos(angles), radii * np.sin(angles)), axis=-1)


def _paint_shape(
    canvas: Float32Array, rng: np.random.Generator, shape: str, colour: str, quarter: int
) -> None:
    """Paint a shape and its shadow into a quarter of `canvas` (H, W, 3)."""
    height, width = canvas.shape[:2]
    radius, angle = min(width, height) * rng.uniform(0.15, 0.21), rng.uniform(-0.35, 0.35)
    jitter = rng.uniform(-1, 1, 2) * (width / 4 - 1.1 * radius, height / 4 - 1.1 * radius)
    middle = np.array((width * (quarter % 2 + 0.5), height * (quarter // 2 + 0.5))) / 2 + jitter
    turn = np.array(((np.cos(angle), np.sin(angle)), (-np.sin(angle), np.cos(angle))))
    large = Image.new("L", (width * _SMOOTH, height * _SMOOTH))
    for scale, fill in ((1, 255), (0.55, 0)) if shape == "ring" else ((1, 255),):
        corners = (_outline(shape) @ turn * radius * scale + middle) * _SMOOTH
        ImageDraw.Draw(large).polygon([(x, y) for x, y in corners.tolist()], fill=fill)
    mask = large.reduce(_SMOOTH)
    cover, shadow = (
        np.asarray(each, np.float32)[:, :, None] / np.float32(255)
        for each in (mask, mask.filter(ImageFilter.GaussianBlur(radius / 8)))
    )
    paint = np.array(_PAINTS[colour]) * rng.uniform(0.85, 1.08) + rng.uniform(-8, 8, 3)
    canvas *= 1 - 0.4 * shadow
    canvas += (paint.astype(np.float32) - canvas) * cover
