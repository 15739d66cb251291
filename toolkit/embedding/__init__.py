"""The embedding pass: images in, rows of a store out."""
