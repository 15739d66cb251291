"""The functions of the public door, one file each."""
