"""The `logreg` head."""

from toolkit.heads.logreg.head import Logreg as Logreg
