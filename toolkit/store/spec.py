"""The spec of an embedding store: everything that decides the values of its rows."""

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Annotated, Any, Literal, Self

from msgspec import Meta

from toolkit.errors import SpecMismatchError, StoreError
from toolkit.files.json import typed

StoreDtype = Literal["float32", "float16"]

MOST_COLUMNS = 2**24  # of a store
DIGITS = 12  # of a digest, in messages
_COMMA = re.compile(r", (?![^\[]*\])")  # not inside brackets


@dataclass(frozen=True, kw_only=True)
class EmbeddingSpec:
    """Everything that decides the value of an embedding. Rows of two stores of equal spec may be mixed.

    Attributes
    ----------
    backbone : str
        Registry name (``resnet50``), or ``imported`` for features computed elsewhere.
    weights, weights_sha256 : str
        The name asked for (not compared) and the digest of the tensors (compared), so the same weights from
        two files are equal.
    preprocessing : str
        Resize, crop, interpolation and normalisation in one canonical line.
    pooling : str
        How the last feature map becomes one row.
    dim : int
        Length D of a row.
    precision : str
        Arithmetic of the forward pass: ``fp32``, ``bf16``, ``fp16``, or ``int8-`` and a digest of the graph.
    engine : str
        The library that ran the network: ``torch`` or ``openvino``; ``unknown`` for imported features.
    options : dict
        The options ``resize``, ``input_size``, ``decode`` and ``flip`` behind `preprocessing`. Not compared;
        empty for imported features.
    """

    backbone: str
    weights: str
    weights_sha256: str
    preprocessing: str
    pooling: str
    dim: Annotated[int, Meta(ge=1, le=MOST_COLUMNS)]
    precision: str
    engine: str = "torch"  # the only one when stores did not record it
    options: dict[str, Any] = field(default_factory=dict, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields for json."""
        return asdict(self)

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> Self:
        """Build from `to_dict`'s output; `StoreError` if a field is missing, of another type or too large."""
        try:
            return typed(document, cls).completed()
        except ValueError as error:
            raise StoreError(f"the spec of the embeddings cannot be read ({error}); embed again") from error

    def completed(self) -> Self:
        """Return this with options, which version 0.1 did not write, parsed from the preprocessing."""
        return self if self.options else replace(self, options=_options_of_0_1(self.preprocessing))

    def network_options(self) -> dict[str, Any]:
        """Return the network options that make such embeddings again, without the weights."""
        names = ("backbone", "engine", "precision")
        return {name: getattr(self, name) for name in names} | self.options

    def difference(self, other: Self) -> str | None:
        """Return the name of the first field that differs, or None; names of weights are not compared."""
        return next(self._differing(other), None)

    def _differing(self, other: Self) -> Iterator[str]:
        compared = (each.name for each in fields(self) if each.compare and each.name != "weights")
        return (name for name in compared if getattr(self, name) != getattr(other, name))

    def require(self, other: Self, *, have: str, want: str, remedy: str) -> None:
        """Raise `SpecMismatchError` naming the fields in which this (`have`) and `other` (`want`) differ."""
        differences = [f"{name}: {_against(name, self, other)}" for name in self._differing(other)]
        if differences:
            raise SpecMismatchError(f"{have} and {want} differ in {', '.join(differences)}; {remedy}")


def _against(name: str, have: EmbeddingSpec, want: EmbeddingSpec) -> str:
    """Return both values of a field: digests shortened, of the preprocessing only the parts that differ."""
    values = [str(getattr(spec, name)) for spec in (have, want)]
    if name == "weights_sha256":
        values = [value[:DIGITS] for value in values]
    elif name == "preprocessing":
        one, other = (_COMMA.split(value) for value in values)
        pairs = ((one, other), (other, one))
        values = [", ".join(part for part in a if part not in b) or "nothing" for a, b in pairs]
    return " against ".join(values)


def _options_of_0_1(preprocessing: str) -> dict[str, Any]:
    """Parse the options from the description, for a spec written by version 0.1."""
    resize, _, rest = preprocessing.partition(" ")
    size = rest.partition(" ")[0].rpartition("->")[2]
    if not size.isdecimal():  # of imported features
        return {}
    decodes = {"scaled": "JPEG scaled while decoded", "device": "JPEG decoded on the device"}
    return {
        "resize": resize,
        "input_size": int(size),
        "decode": next((name for name, text in decodes.items() if text in preprocessing), "exact"),
        "flip": preprocessing.endswith("averaged with the mirror image"),
    }
