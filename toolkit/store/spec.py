"""What made an embedding store: the spec that everything downstream checks."""

import re
from collections.abc import Iterator
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any, Literal, Self

from toolkit.errors import SpecMismatchError, StoreError

StoreDtype = Literal["float32", "float16"]

DIGITS = 12  # of a digest, in messages
_COMMA = re.compile(r", (?![^\[]*\])")  # not inside of brackets


@dataclass(frozen=True, kw_only=True)
class EmbeddingSpec:
    """Everything that decides the value of an embedding. Two stores of equal spec may be mixed.

    Attributes
    ----------
    backbone : str
        Registry name (``resnet50``), or ``imported`` for features computed elsewhere.
    weights, weights_sha256 : str
        The name asked for (not compared) and the digest of the tensors themselves (compared), so the same
        weights from two files are the same.
    preprocessing : str
        Resize, crop, interpolation and normalisation in one canonical line.
    pooling : str
        How the last feature map becomes one row.
    dim : int
        Length D of a row.
    precision : str
        Arithmetic of the forward pass: ``fp32``, ``bf16``, ``fp16``, or ``int8-`` and a digest of the graph.
    engine : str
        What ran the network: ``torch`` or ``openvino``; ``unknown`` for imported features.
    """

    backbone: str
    weights: str
    weights_sha256: str
    preprocessing: str
    pooling: str
    dim: int
    precision: str
    engine: str = "torch"  # the only one there was when stores did not say

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as json can hold them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> Self:
        """Build from `to_dict`'s output; `StoreError` names what is missing or of another type."""
        values: dict[str, Any] = {}
        for field in fields(cls):
            kind = int if field.name == "dim" else str
            default = None if field.default is MISSING else field.default
            value = document.get(field.name, default)
            if not isinstance(value, kind):
                raise StoreError(f"the spec's {field.name!r} is {value!r}, not {kind.__name__}; embed again")
            values[field.name] = value
        return cls(**values)

    def difference(self, other: Self) -> str | None:
        """Return the name of the first field that differs, or None; names of weights are not compared."""
        return next(self._differing(other), None)

    def _differing(self, other: Self) -> Iterator[str]:
        compared = (field.name for field in fields(self) if field.name != "weights")
        return (name for name in compared if getattr(self, name) != getattr(other, name))

    def require(self, other: Self, *, have: str, want: str, remedy: str) -> None:
        """Raise `SpecMismatchError` naming the fields in which this (`have`) and `other` (`want`) differ."""
        found = [f"{name}: {_against(name, self, other)}" for name in self._differing(other)]
        if found:
            raise SpecMismatchError(f"{have} and {want} differ in {', '.join(found)}; {remedy}")


def _against(name: str, have: EmbeddingSpec, want: EmbeddingSpec) -> str:
    """Return both values of a field, of digests the beginning, of the preprocessing only what differs."""
    values = [str(getattr(spec, name)) for spec in (have, want)]
    if name == "weights_sha256":
        values = [value[:DIGITS] for value in values]
    elif name == "preprocessing":
        one, other = (_COMMA.split(value) for value in values)
        values = [", ".join(part for part in one if part not in other) or "nothing"]
        values += [", ".join(part for part in other if part not in one) or "nothing"]
    return " against ".join(values)
