"""The `knn` head."""

from toolkit.heads.knn.head import Knn as Knn
