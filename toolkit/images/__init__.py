"""Image files: lists, decoding, and drawn pictures for the demo."""
