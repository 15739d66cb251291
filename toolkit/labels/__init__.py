"""Labels: many formats read into one sparse table, which is matched with images on their ids."""
