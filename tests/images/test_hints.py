"""Reasons for files that are not pictures."""

import pytest

from toolkit.images.hints import damaged_hint, is_cut_off, not_an_image_hint, picture_kind


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"%PDF-1.7\n", "looks like PDF; export its pages as PNG"),
        (b"%!PS-Adobe-3.0", "looks like a PostScript drawing"),
        (b"\0\0\0\x18ftypheic\0\0", "looks like HEIF/HEIC; to read it, pip install pillow-heif"),
        (b"\0\0\0\x18ftypmif1\0\0", "looks like HEIF/HEIC"),
        (b"\0\0\0\x18ftypcrx \0\0", "looks like a camera raw file; develop it to JPEG first"),
        (b"\0\0\0\x20ftypisom\0\0", "looks like a video; extract its frames as JPEG first"),
        (b"\x1aE\xdf\xa3\x01", "looks like a video"),
        (b"RIFF\0\0\0\0AVI LIST", "looks like a video"),
        (b"II\xbc\x01", "looks like JPEG XR; save it as JPEG or PNG"),
        (b"\xff\x0a\xfa", "looks like JPEG XL; save it as JPEG or PNG"),
        (b"PK\x03\x04\x14\0", "looks like an archive; unpack it first"),
        (b"\x1f\x8b\x08", "looks like an archive"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a Git LFS pointer, not the picture"),
        (b"\0" * 4096, "nothing but zero bytes"),
        (b"\xef\xbb\xbf\n <!DOCTYPE HTML>", "looks like HTML, often the error page of a failed download"),
        (b"<html><svg></svg>", "looks like HTML"),
        (
            b"<?xml version='1.0'?>\n<!-- a -->\n<svg xmlns='x'>",
            "looks like SVG, a drawing; export it as PNG",
        ),
        (b"<svg viewBox='0 0 1 1'>", "looks like SVG"),
        (b"<?xml version='1.0'?><Error><Code>NoSuchKey", "looks like XML, often the error message"),
        (b'{"error": "not found"}', "looks like JSON"),
        (b"just some words\n", "looks like text; leave it out of the folder or csv"),
        ("只是文字".encode(), "looks like text"),
        (b"\x01\x02\x03\x04\xfe", "of no known kind; save it as JPEG or PNG, or leave it out"),
    ],
)
def test_not_an_image_hint(data: bytes, text: str) -> None:
    reason = not_an_image_hint(data, "folder/x")
    assert reason.startswith("not an image Pillow can read: ")
    assert text in reason
    assert "folder" not in reason.replace("of the folder", "")


@pytest.mark.parametrize(
    ("name", "named"),
    [("a/b.JPG", "named .JPG but looks like PDF"), ("b.pdf", ": looks like PDF"), ("b", ": looks like PDF")],
)
def test_not_an_image_hint__a_lying_name_is_quoted(name: str, named: str) -> None:
    assert named in not_an_image_hint(b"%PDF-1.7", name)


def test_not_an_image_hint__damaged_header() -> None:
    assert not_an_image_hint(b"\xff\xd8\xff\xe0" + b"\1" * 1996, "a.jpg") == (
        "damaged: begins like JPEG, but its header cannot be read (2,000 bytes)"
    )


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"GIF89a", "GIF"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "WebP"),
        (b"MM\0*", "TIFF"),
        (b"hello", None),
        (b"", None),
    ],
)
def test_picture_kind(data: bytes, kind: str | None) -> None:
    assert picture_kind(data) == kind


def test_is_cut_off() -> None:
    assert is_cut_off(b"GIF", OSError("image file is truncated (3 bytes not processed)"))
    assert is_cut_off(b"", EOFError())
    assert is_cut_off(b"RIFF\xff\0\0\0WEBP", OSError("could not create decoder object"))
    assert not is_cut_off(b"RIFF\x04\0\0\0WEBP", OSError("could not create decoder object"))
    assert not is_cut_off(b"\x89PNG", OSError("broken data stream when reading image file"))


def test_damaged_hint__one_line_and_not_too_long() -> None:
    hint = damaged_hint(b"GIF8", ValueError("a\nb " + "x" * 500))
    assert hint.startswith("damaged: this GIF cannot be decoded (a b xxx")
    assert len(hint) < 220
