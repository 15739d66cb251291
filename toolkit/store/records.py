"""Records of a store: its rows, its failures and its description."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Self

from msgspec import Meta

from toolkit.errors import StoreError
from toolkit.files.json import read_json, write_json
from toolkit.store.spec import EmbeddingSpec, StoreDtype

MOST_VIEWS = 1000


@dataclass(frozen=True)
class Row:
    """The image of one embedding: its id and the facts of its file when it was read.

    `bytes` and `mtime_ns` are the file's size and modification time, `digest` is BLAKE2b-128 of its content
    in hex, `width` and `height` are pixels as shown, `mode` is Pillow's name of the pixels as stored.
    """

    img_path: str
    bytes: int = 0
    mtime_ns: int = 0
    digest: str = ""
    width: int = 0
    height: int = 0
    mode: str = ""


@dataclass(frozen=True)
class Failure:
    """An image without an embedding, and the reason in plain words."""

    img_path: str
    reason: str


@dataclass(frozen=True)
class StoreMeta:
    """The description of a store.

    Attributes
    ----------
    spec, dtype
    views, seed : int
        Number of augmented arrays, and the seed they were drawn with.
    root : str
        The folder ids are relative to; empty for imported features.
    files : dict of str
        The label, tag and split files passed to ``embed``, by role.
    versions, made_with : dict of str
        Of the pass that last embedded a row: versions of libraries; ``device`` (several joined by commas if
        rows come from several) and ``why`` that precision.
    for_prediction : bool
        Whether ``predict`` made the store for itself: then it is not one to train on.
    """

    spec: EmbeddingSpec
    dtype: StoreDtype
    views: Annotated[int, Meta(ge=0, le=MOST_VIEWS)] = 0
    seed: int = 0
    root: str = ""
    files: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    for_prediction: bool = False
    made_with: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read the file that `write` wrote; `StoreError` if it is missing or damaged."""
        try:
            meta = read_json(path, cls)
        except (OSError, ValueError) as error:
            raise StoreError(
                f"{path} is not a readable store description ({error}); embed again with --force"
            ) from error
        return replace(meta, spec=meta.spec.completed())

    def write(self, path: Path) -> None:
        """Write as json."""
        write_json(path, asdict(self))

    def joined(self, earlier: Sequence["StoreMeta"], *, added: bool) -> "StoreMeta":
        """Return this with devices and versions of `earlier` passes, and its own only if it `added` rows."""
        makers = [*earlier, self] if added or not earlier else earlier
        made_with = {name: text for meta in makers for name, text in meta.made_with.items()}
        devices = {meta.made_with["device"]: None for meta in makers if "device" in meta.made_with}
        if len(devices) > 1:
            made_with["device"] = ",".join(dict.fromkeys(",".join(devices).split(",")))
        versions = {name: text for meta in makers for name, text in meta.versions.items()}
        return replace(self, made_with=made_with, versions=versions)

    def may_be_of(self, root: str) -> bool:
        """Return whether this may describe the images in `root`: the same folder, or a moved one."""
        return not (self.root and root and Path(self.root).exists()) or Path(root).samefile(self.root)

    def require_same(self, meta: "StoreMeta", name: str) -> None:
        """Raise unless the rows of `name`, which this describes, and a pass of `meta` may be mixed."""
        other = "another --name, or --force to replace it"
        if not self.may_be_of(meta.root):
            raise StoreError(
                f"{name} holds the images of {self.root}, these are of {meta.root}; give {other}"
            )
        remedy = f"give the old options, {other}"
        self.spec.require(meta.spec, have=name, want="this pass", remedy=remedy)
        for field_name in ("dtype", "views", *(["seed"] if meta.views else [])):
            have, want = getattr(self, field_name), getattr(meta, field_name)
            if have != want:
                raise StoreError(f"{name} has {field_name} {have}, this pass {want}; {remedy}")


def array_names(views: int) -> list[str]:
    """Return the relative paths of a store's arrays: the plain one first."""
    return ["embeddings.npy", *(f"views/{view:02d}.npy" for view in range(views))]
