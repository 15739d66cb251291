"""Multi-label heads on cached features."""
