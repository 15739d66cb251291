"""The readers of label formats, one file each; `toolkit.labels.registry` names them."""
