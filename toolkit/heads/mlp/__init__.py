"""The `mlp` head."""

from toolkit.heads.mlp.head import Mlp as Mlp
