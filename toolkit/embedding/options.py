"""Options of the embedding pass."""

from typing import Annotated

from annotated_types import Ge, Le

from toolkit.files.options import ForceOption
from toolkit.images.options import ImagePolicy
from toolkit.runtime.devices import usable_cores
from toolkit.runtime.options import Option, Options, SeedOption
from toolkit.store.records import MOST_VIEWS
from toolkit.store.spec import StoreDtype


class BatchOptions(Options):
    """How images are decoded and batched."""

    # beyond 4,096 images a GPU gains nothing, and memory runs out
    batch_size: Annotated[
        int | None, Ge(1), Le(4096), Option("Images a forward pass; by default what suits the device.")
    ] = None
    num_workers: Annotated[int, Ge(0), Le(1024), Option("Decoding threads; 0 is one for each CPU core.")] = 0

    @property
    def threads(self) -> int:
        """Number of decoding threads."""
        return self.num_workers or usable_cores()


class ViewOptions(SeedOption):
    """Augmented views beside the plain embedding, drawn with `seed`."""

    views: Annotated[int, Ge(0), Le(MOST_VIEWS), Option("Augmented views to cache for training, by mlp.")] = 0


class ReadOptions(BatchOptions, ViewOptions, ImagePolicy):
    """How images are read, batched and augmented."""


class PassOptions(ForceOption):
    """How the store of a pass is written."""

    dtype: Annotated[StoreDtype, Option("Of the cached features; float16 takes half the space.")] = "float32"
