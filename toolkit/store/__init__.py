"""The embedding store: rows on disk, the ids of their images, and their spec. Does not import torch.

Layout of ``<name>/``::

    embeddings.npy   (N, D) float32 or float16, C order
    index.csv        row, img_path, bytes, mtime_ns, digest, width, height, mode     (row i of the .npy)
    failed.csv       img_path, reason
    meta.json        spec, dtype, views, root, versions, remembered label files
    views/NN.npy     augmented views, same rows

A pass writes beside it, into ``.<name>.partial/``: a row goes to its place in the ``.npy`` files, then into a
journal, so a kill loses only the rows not yet in the journal. Finishing is one rename. Meanwhile a lock on
``.<name>.lock`` keeps a second pass out.
"""
