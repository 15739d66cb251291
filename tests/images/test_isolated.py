"""Decoders that hang, die, print or want too much: one image is lost, which is named, and nothing else.

The child tries the formats of ``pillow_heif`` too, if that can be imported. Here it is a module of the test,
whose one format does what the file says.
"""

import io
import os
import sys
import threading
import time

import numpy as np
import psutil
import pytest
from PIL import Image

from toolkit.errors import ImageError, OptionError
from toolkit.images import isolated as module
from toolkit.images.decode import decode_image
from toolkit.images.isolated import IsolatedDecoder, IsolatedDecoders
from toolkit.images.memory import MemoryBudget
from toolkit.images.options import ImagePolicy
from toolkit.images.reading import read_picture

FAKE = """
import os, signal, sys, time
from PIL import Image, ImageFile

class Fake(ImageFile.ImageFile):
    format = "FAKE"

    def _open(self):
        self.wanted = self.fp.read().decode().split()[1:]
        self._size, self._mode, self.tile = (4, 4), "RGB", []

    def load(self):
        what, *words = self.wanted
        self.wanted = ["done"]
        if what == "hang":
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # as code in C that does not return
            while True:
                time.sleep(1)
        if what == "die":
            os.kill(os.getpid(), signal.Signals[words[0]])
        if what == "exit":
            os.write(2, b"the codec gives up\\n")
            os._exit(3)
        if what == "take":
            bytearray(int(words[0]) * 2**20)
        if what == "print":
            os.write(2, " ".join(words).encode() + b"\\nand more\\n")
        self.im = Image.new("RGB", self._size, (1, 2, 3)).im

def register_heif_opener():
    Image.register_open("FAKE", Fake, lambda head: head.startswith(b"FAKE"))
    if "torch" in sys.modules:
        raise AssertionError("torch was imported")
"""

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="signals and limits of POSIX")
pytestmark = POSIX


@pytest.fixture(scope="module")
def fake(tmp_path_factory):
    folder = tmp_path_factory.mktemp("modules")
    (folder / "pillow_heif.py").write_text(FAKE, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))  # a child imports what this process would
        yield


@pytest.fixture(scope="module")
def decoder(fake):
    """One for all tests: it starts another process after each that ended."""
    decoder = IsolatedDecoder(ImagePolicy(decode_memory=128, image_timeout=20))
    yield decoder
    decoder.close()


def picture(width=300, height=200, format="JPEG", **options):
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format, **options)
    return stream.getvalue()


def process_of(decoder):
    return decoder._child._process


def test_pictures_and_records_are_those_of_this_process(decoder, tmp_path):
    exif = Image.Exif()
    exif[274] = 6
    files = {
        "a.jpg": picture(),
        "b.png": picture(format="PNG"),
        "turned.jpg": picture(900, 800, exif=exif),
        "tall.png": picture(3, 5000, format="PNG"),
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
        for source in (tmp_path / name, data):
            for least_side in (None, lambda width, height: min(width, height) // 3):
                file, decoded = decoder.read(source, name=name, least_side=least_side)
                plain_file, plain = read_picture(
                    source, name=name, policy=ImagePolicy(), least_side=least_side
                )
                assert file == plain_file and decoded.rgb.tobytes() == plain.rgb.tobytes()
                assert (decoded.width, decoded.height, decoded.mode) == (
                    plain.width,
                    plain.height,
                    plain.mode,
                )
    assert file.mtime_ns == 0 and file.bytes == len(files["tall.png"])


def test_pixels_come_in_bands(decoder):
    data = picture(2000, 1500, format="PNG", compress_level=0)
    assert len(list(module._bands((2000, 1500)))) == 3
    _, decoded = decoder.read(data)
    assert decoded.rgb.tobytes() == decode_image(data).rgb.tobytes()


def test_reasons_are_those_of_this_process(decoder, tmp_path):
    pipe = tmp_path / "pipe.jpg"
    os.mkfifo(pipe)
    for source, reason in (
        (picture()[:2000], r"truncated: the file ends before the picture does \(2,000 bytes\)"),
        (b"<html>", "looks like HTML"),
        (tmp_path / "gone.jpg", "file not found"),
        (pipe, "is a named pipe, not a regular file"),
    ):
        with pytest.raises(ImageError, match=reason):
            decoder.read(source, name="a.jpg")


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        ("die SIGSEGV", "^the process that decoded it was killed by signal 11$"),
        ("die SIGKILL", "was killed by signal 9, as happens when memory runs out$"),
        ("exit", r"^the process that decoded it ended with exit status 3 \(the codec gives up\)$"),
    ],
)
def test_a_decoder_that_dies_costs_its_image(decoder, wanted, reason):
    assert decoder.read(b"FAKE fine")[1].rgb.getpixel((0, 0)) == (1, 2, 3)
    first = process_of(decoder).pid
    with pytest.raises(ImageError, match=reason):
        decoder.read(b"FAKE " + wanted.encode())
    assert decoder.read(b"FAKE fine")[1].rgb.getpixel((3, 3)) == (1, 2, 3)
    assert process_of(decoder).pid != first and not psutil.pid_exists(first)


def test_a_decoder_that_hangs_is_ended(fake):
    decoder = IsolatedDecoder(ImagePolicy(image_timeout=0.5))
    try:
        decoder.read(b"FAKE fine")
        first, start = process_of(decoder).pid, time.monotonic()
        text = r"^takes longer than 0.5 s to decode; its process was ended \(--image-timeout\)$"
        with pytest.raises(ImageError, match=text):
            decoder.read(b"FAKE hang")
        assert 0.5 <= time.monotonic() - start < module.START_SECONDS and not psutil.pid_exists(first)
        assert decoder.read(b"FAKE fine")[1].width == 4
    finally:
        decoder.close()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not limit the address space")
def test_address_space_is_limited(decoder):
    assert decoder.read(b"FAKE take 200")[1].width == 4
    with pytest.raises(ImageError, match=r"^not enough memory to decode it \(14 bytes in the file\)$"):
        decoder.read(b"FAKE take 9000")
    assert decoder.read(b"FAKE fine")[1].width == 4


def test_what_a_codec_prints_is_a_warning_with_the_images_name(decoder, caplog, capfd):
    decoder.read(b"FAKE fine", name="b.fake")
    decoder.read(b"FAKE print bad strip", name="a.fake")
    assert [record.getMessage() for record in caplog.records] == ["a.fake: bad strip (and 1 more such lines)"]
    assert capfd.readouterr() == ("", "")


def test_waiting_for_memory_is_not_decoding(fake):
    budget, policy = MemoryBudget(), ImagePolicy(decode_memory=64, image_timeout=0.5)
    decoder = IsolatedDecoder(policy)
    decoder.read(b"FAKE fine")
    asked, free = [], threading.Event()

    def reserve(amount):
        asked.append(amount)
        free.wait(1.0)
        return budget.hold(amount, policy.memory_bytes)

    try:
        assert decoder.read(picture(), reserve=reserve)[1].width == 300
        assert len(asked) == 1 and 300 * 200 * 10 < asked[0] < 2**22 and budget._held == 0
    finally:
        decoder.close()


def test_close_frees_a_thread_that_waits(fake):
    decoders = IsolatedDecoders(1, ImagePolicy())
    reasons, started = [], threading.Event()

    def work():
        with decoders.borrowed() as decoder:
            decoder.read(b"FAKE fine")
            started.set()
            for data in (b"FAKE hang", b"FAKE fine"):
                with pytest.raises(ImageError) as caught:
                    decoder.read(data)
                reasons.append(str(caught.value))

    thread = threading.Thread(target=work)
    thread.start()
    assert started.wait(60)
    time.sleep(0.2)
    decoders.close()
    thread.join(30)
    assert not thread.is_alive()
    assert reasons[0].startswith("the process that decoded it was killed by signal 9")
    assert reasons[1] == "not decoded: the work was stopped"


def test_a_process_that_cannot_start_is_a_users_error(tmp_path, monkeypatch):
    (tmp_path / "pillow_heif.py").write_text("raise SystemExit(7)", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    decoder = IsolatedDecoder(ImagePolicy())
    with pytest.raises(OptionError, match="^--isolate: the decoding process ended with exit status 7"):
        decoder.read(picture())
    decoder.close()


def test_the_child_ends_with_the_parent(decoder):
    decoder.read(b"FAKE fine")
    process = process_of(decoder)
    process.stdin.close()
    assert process.wait(30) == 0
    with pytest.raises(ImageError, match="^the process that decoded it ended with exit status 0"):
        decoder.read(b"FAKE fine")
