"""Multi-label image tagging on one frozen-backbone pass.

``from toolkit.embedding import embed`` runs the pass; `toolkit.store.EmbeddingStore` opens what it made.
"""
