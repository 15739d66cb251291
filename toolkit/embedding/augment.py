"""Augmented views: shift and zoom of .1 and a horizontal flip."""

import hashlib

import numpy as np
from PIL import Image

from toolkit.arrays.types import Pixels

SHIFT = 0.1  # of width and height, either way
ZOOM = 0.1  # scale between 0.9 and 1.1, the same on both axes


def augmented(pixels: Pixels, image_id: str, view: int, seed: int) -> Pixels:
    """Return one random view of `pixels` (H, W, 3), same shape; borders repeat the edge.

    It depends on `image_id`, `view` and `seed` alone, so it is the same in any order and in a resumed pass.
    """
    key = f"{seed}/{view}/{image_id}".encode("utf-8", "surrogateescape")
    rng = np.random.default_rng(int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big"))
    height, width = pixels.shape[:2]
    scale = rng.uniform(1 - ZOOM, 1 + ZOOM)
    shift = rng.uniform(-SHIFT, SHIFT, size=2) * (width, height)
    border = int(np.ceil(max(height, width) * (SHIFT + ZOOM)))
    padded = Image.fromarray(np.pad(pixels, ((border, border), (border, border), (0, 0)), mode="edge"))
    center = np.array([width, height]) / 2 + border + shift
    half = np.array([width, height]) * scale / 2
    box = (*(center - half), *(center + half))
    out = np.asarray(padded.resize((width, height), Image.Resampling.BILINEAR, box=box))
    return out[:, ::-1] if rng.random() < 0.5 else out
