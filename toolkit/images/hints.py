"""Kinds of files by ending and first bytes, and the reasons for unreadable ones in ``failed.csv``."""

import posixpath
import re

# fmt: off
NOT_IMAGES = frozenset((
    ".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson", ".geojson", ".xml", ".yaml", ".yml", ".toml",
    ".ini", ".cfg", ".conf", ".log", ".names", ".data", ".md", ".rst", ".html", ".htm", ".css", ".js",
    ".ts", ".py", ".pyc", ".ipynb", ".cpp", ".java", ".sh", ".bat", ".ps1", ".exe", ".dll", ".so", ".npz",
    ".npy", ".mat", ".parquet", ".feather", ".arrow", ".pkl", ".pickle", ".joblib", ".tfrecord", ".lmdb",
    ".h5", ".hdf5", ".db", ".db-shm", ".db-wal", ".sqlite", ".sqlite3", ".pt", ".pth", ".ckpt", ".onnx",
    ".safetensors", ".bin", ".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".rar", ".iso",
    ".dmg", ".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".wmv", ".flv", ".mpg", ".mpeg", ".3gp",
    ".mts", ".m2ts", ".mp3", ".m4a", ".aac", ".wav", ".flac", ".ogg", ".opus", ".wma", ".aiff", ".srt",
    ".vtt", ".amr",
    # what cameras, phones and photo software leave beside a photo
    ".xmp", ".aae", ".thm", ".lrv", ".pp3", ".dop", ".cos", ".on1", ".lrcat", ".lrdata", ".picasa", ".modd",
    ".moff", ".gpx", ".kml", ".ithmb", ".vcf", ".ics", ".pto",
    # world files and metadata of maps
    ".jgw", ".tfw", ".pgw", ".wld", ".prj", ".ovr", ".shp", ".shx", ".dbf", ".kmz",
    # documents
    ".pdf", ".doc", ".docx", ".odt", ".rtf", ".pages", ".ppt", ".pptx", ".odp", ".key", ".xls", ".xlsx",
    ".xlsm", ".ods", ".numbers", ".epub", ".tex", ".eml", ".msg",
    # links, unfinished downloads, backups, checksums
    ".url", ".lnk", ".webloc", ".desktop", ".part", ".partial", ".crdownload", ".download", ".tmp", ".temp",
    ".bak", ".old", ".orig", ".swp", ".lock", ".torrent", ".md5", ".sha1", ".sha256", ".sha512", ".sig",
    ".asc", ".par2",
))
# fmt: on
"""Endings, in lower case, of files that are not images.

Drawings such as SVG are not among them: they are pictures, which fail with a reason and a remedy.
"""

_SYSTEM_FILES = frozenset(("__macosx", "thumbs.db", "desktop.ini"))

# offset, magic bytes, format: such a file is damaged if it cannot be read
_PICTURES = (
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"\x89PNG\r\n\x1a\n", "PNG"),
    (0, b"GIF8", "GIF"),
    (8, b"WEBP", "WebP"),
    (0, b"BM", "BMP"),
    (0, b"II*\x00", "TIFF"),
    (0, b"MM\x00*", "TIFF"),
    (4, b"ftypavif", "AVIF"),
    (4, b"ftypavis", "AVIF"),
    (4, b"jP  \r\n\x87\n", "JPEG 2000"),
    (0, b"8BPS", "PSD"),
    (0, b"\x00\x00\x01\x00", "ICO"),
    (0, b"qoif", "QOI"),
)

_PICTURE_SUFFIXES = {".jpg", ".jpeg", ".jpe", ".png", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".avif"}

_HEIF = ("HEIF/HEIC", "to read it, pip install pillow-heif; or save it as JPEG")
_VIDEO = ("a video", "extract its frames as JPEG first")
_DRAWING = ("a PostScript drawing", "export it as PNG")
_ARCHIVE = ("an archive", "unpack it first")
_LEAVE_OUT = "leave it out of the folder or csv"
_RAW = ("a camera raw file", "develop it to JPEG first")
RAW_REASON = f"not an image Pillow can read: looks like {_RAW[0]}; {_RAW[1]}"
"""The reason for a camera raw file that begins as a picture does."""
_JXL = ("JPEG XL", "save it as JPEG or PNG, such as with djxl")

# offset, magic bytes, (what it is, what to do)
_OTHERS = (
    (0, b"%PDF", ("PDF", "export its pages as PNG")),
    (0, b"%!PS", _DRAWING),
    (0, b"\xc5\xd0\xd3\xc6", _DRAWING),
    (0, b"\xd7\xcd\xc6\x9a", ("a Windows metafile drawing", "export it as PNG")),
    *((4, b"ftyp" + brand, _HEIF) for brand in (b"hei", b"hev", b"mif1", b"msf1")),
    (4, b"ftypcrx", _RAW),
    *((0, magic, _RAW) for magic in (b"IIRO", b"IIRS", b"MMOR", b"IIU\0")),
    *((0, magic, _RAW) for magic in (b"\0MRM", b"FOVb", b"FUJIFILMCCD-RAW")),
    (4, b"ftyp", _VIDEO),
    (0, b"\x1aE\xdf\xa3", _VIDEO),
    (8, b"AVI ", _VIDEO),
    (0, b"\x00\x00\x01\xba", _VIDEO),
    (0, b"\x00\x00\x01\xb3", _VIDEO),
    (0, b"II\xbc", ("JPEG XR", "save it as JPEG or PNG")),
    (0, b"\xff\x0a", _JXL),
    (4, b"JXL \r\n\x87\n", _JXL),
    (0, b"PK\x03\x04", _ARCHIVE),
    (0, b"\x1f\x8b", _ARCHIVE),
    (0, b"Rar!", _ARCHIVE),
    (0, b"7z\xbc\xaf\x27\x1c", _ARCHIVE),
    (0, b"\x93NUMPY", ("a numpy array", _LEAVE_OUT)),
    (0, b"\x89HDF", ("HDF5 data", _LEAVE_OUT)),
    (0, b"version https://git-lfs", ("a Git LFS pointer, not the picture itself", "run git lfs pull")),
)

# pattern at the start of the first 1,000 bytes, leading blanks removed, (what it is, what to do)
_TEXTS = (
    (rb"(?is)<\?xml.*<svg|<svg|<!--.*<svg|<!doctype svg", ("SVG, a drawing", "export it as PNG")),
    (
        rb"(?i)<!doctype html|<html|<head|<body",
        ("HTML, often the error page of a failed download", "fetch it again"),
    ),
    (rb"<\?xml", ("XML, often the error message of a failed download", "fetch it again")),
    (rb'[{\[]\s*["{\[\]}]', ("JSON, often the error message of a failed download", "fetch it again")),
)

_CUT_OFF = re.compile(
    r"truncated|unexpected end|end of (file|data|stream)|not enough (image )?data|premature|too short"
    r"|requires a buffer|buffer is not large enough",
    re.IGNORECASE,
)


def is_ignored(name: str) -> bool:
    """Return whether a file or folder is hidden or an operating system's, such as ``__MACOSX``."""
    return name.startswith(".") or name.lower() in _SYSTEM_FILES


def may_be_image(name: str) -> bool:
    """Return whether the ending of a file's name is not that of another kind of file."""
    return posixpath.splitext(name)[1].lower() not in NOT_IMAGES


def _starts(data: bytes, offset: int, magic: bytes) -> bool:
    return data[offset : offset + len(magic)] == magic


def picture_kind(data: bytes) -> str | None:
    """Return the picture format that `data` begins like (``JPEG``, ``PNG``, ...), or None."""
    return next((kind for offset, magic, kind in _PICTURES if _starts(data, offset, magic)), None)


def _other_kind(data: bytes) -> tuple[str, str] | None:
    """Return (kind, what to do) for data that are not a picture's, or None."""
    for offset, magic, kind in _OTHERS:
        if _starts(data, offset, magic):
            return kind
    if not data.strip(b"\0"):
        return "nothing but zero bytes, as after an interrupted download or copy", "fetch it again"
    head = data[:1000].removeprefix(b"\xef\xbb\xbf").lstrip()
    for pattern, kind in _TEXTS:
        if re.match(pattern, head):
            return kind
    if all(byte >= 32 or byte in b"\t\r\n\f" for byte in head):
        return "text", _LEAVE_OUT
    return None


def not_an_image_hint(data: bytes, name: str, *, size: int | None = None) -> str:
    """Return the reason for a file that no decoder recognises; of `name` only the ending is quoted.

    `data` may be only the beginning of a file of `size` bytes.
    """
    kind = picture_kind(data)
    if kind is not None:
        size = len(data) if size is None else size
        return f"damaged: begins like {kind}, but its header cannot be read ({size:,} bytes)"
    suffix = posixpath.splitext(name)[1]
    named = f"named {suffix} but " if suffix.lower() in _PICTURE_SUFFIXES else ""
    other = _other_kind(data)
    if other is None:
        return (
            f"not an image Pillow can read: {named}of no known kind; save it as JPEG or PNG, or leave it out"
        )
    what, remedy = other
    return f"not an image Pillow can read: {named}looks like {what}; {remedy}"


def is_cut_off(data: bytes, error: Exception) -> bool:
    """Return whether a decoder's `error` means that the file ends too early."""
    if _starts(data, 8, b"WEBP") and int.from_bytes(data[4:8], "little") + 8 > len(data):
        return True  # libwebp gives no reason; the RIFF header has the length of the whole file
    return isinstance(error, EOFError) or _CUT_OFF.search(str(error)) is not None


def damaged_hint(data: bytes, error: Exception) -> str:
    """Return the reason for a picture whose decoder failed, with the decoder's message on one line."""
    message = re.sub(r"<[^<>]* object at 0x[0-9a-fA-F]+>", "the file", str(error))
    message = " ".join(message.split())[:160] or type(error).__name__
    return f"damaged: this {picture_kind(data) or 'picture'} cannot be decoded ({message})"
