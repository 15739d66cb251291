"""Image files: listing, decoding, and the pictures the toolkit draws itself."""
