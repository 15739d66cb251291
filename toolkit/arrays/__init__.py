"""Feature matrices larger than memory, row sampling and ranking."""
