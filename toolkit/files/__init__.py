"""Files on disk: text and csv, json, ``.npy``, atomic writes, locks."""
