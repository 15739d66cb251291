"""Files of labels and the tables read from them."""


def write(path, text, encoding="utf-8"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return path


def as_dict(table):
    return dict(zip(table.ids, table.space.decode(table.Y), strict=True))
