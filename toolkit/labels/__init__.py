"""Labels: many formats in, one sparse table out, matched with images on their ids.

>>> table = read_labels("visual_china_train.csv", tags="valid_tags.txt")  # doctest: +SKIP
>>> match = match_labels(store_ids, table, source_root=Path("train"))  # doctest: +SKIP
>>> Y = table.Y[match.table_rows]  # doctest: +SKIP
"""
