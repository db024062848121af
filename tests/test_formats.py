"""Photos of any format are opened within limits, or refused by name before they cost anything."""

import io
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from heic import HEIC, upright
from PIL import Image

from sklearn_cmac import ConvFeatureExtractor, PhotoError, formats
from sklearn_cmac._containers import exif_orientation, look_into
from sklearn_cmac.formats import allow_format, openers, readable_endings, refused_endings
from sklearn_cmac.pixels import decode, photo_size


def encode(image: Image.Image, form: str, **options) -> bytes:
    content = io.BytesIO()
    image.save(content, form, **options)
    return content.getvalue()


def exif_of(kind: int, count: int, value: bytes) -> bytes:
    """An Exif block that holds an orientation of any type and number."""
    return (
        b"Exif\0\0II*\0\x08\0\0\0\x01\0"
        + struct.pack("<HHL", 0x112, kind, count)
        + value
        + bytes(4)
    )


STORED = {
    1: lambda a: a, 2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud,
    5: lambda a: np.rot90(np.flipud(a), 3), 6: lambda a: np.rot90(a, 1),
    7: lambda a: np.rot90(np.flipud(a), 1), 8: lambda a: np.rot90(a, 3),
}  # fmt: skip


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF", "MPO"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_sizes_agree_with_what_is_decoded_however_a_photo_lies(form, orientation, pixels):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](pixels)))
    options = {"save_all": True, "append_images": [stored]} if form == "MPO" else {}
    content = encode(stored, form, exif=exif, **options)
    rgb, size = decode(content, "a")
    assert photo_size(content) == size == (128, 96)
    assert rgb.shape == (96, 128, 3)
    assert np.abs(rgb.astype(int) - pixels).mean() < 12


@pytest.mark.parametrize(
    ("kind", "count", "value", "expected"),
    [
        (3, 1, b"\x06\0\0\0", 6),  # SHORT
        (4, 1, b"\x06\0\0\0", 6),  # LONG
        (3, 2, b"\x06\0\x06\0", 6),
        (3, 1, b"\x09\0\0\0", 1),
        (3, 1, b"\xff\xff\0\0", 1),
        (4, 1, b"\x01\0\x01\0", 1),  # 65537
        (3, 0, b"\x06\0\0\0", 1),
        (2, 2, b"6\0\0\0", 1),  # ASCII
        (7, 1, b"\x06\0\0\0", 6),  # UNDEFINED
        (8, 1, b"\x06\0\0\0", 6),  # SSHORT
        (8, 1, b"\xfa\xff\0\0", 1),  # -6
        (5, 1, b"\x08\0\0\0", 1),  # RATIONAL, elsewhere
        (3, 2**32 - 1, b"\xff\xff\xff\xff", 1),
        (99, 1, b"\x06\0\0\0", 1),
    ],
)
def test_an_orientation_that_is_none_is_1(kind, count, value, expected, pixels):
    exif = exif_of(kind, count, value)
    assert exif_orientation(exif) == expected
    content = encode(Image.fromarray(pixels), "JPEG", exif=exif)
    size = (128, 96) if expected == 1 else (96, 128)
    assert photo_size(content) == decode(content, "a")[1] == size


def test_heic_is_upright_and_right():
    pytest.importorskip("pi_heif", reason="HEIC needs the extra heic")
    rgb, size = decode(HEIC, "a")
    assert photo_size(HEIC) == size == (48, 64)
    assert np.abs(rgb.astype(int) - upright()).mean() < 4
    assert {".heic", ".heif"} <= readable_endings()


def test_without_pi_heif_heic_is_refused_with_what_to_install(monkeypatch):
    monkeypatch.setattr(formats, "has_heif", lambda: False)
    with pytest.raises(PhotoError, match=r"^holiday: is HEIC.*pip install sklearn-cmac\[heic\]"):
        decode(HEIC, "holiday")
    assert ".heic" in refused_endings()
    assert ".heic" not in readable_endings()


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "PostScript"),
        (b"\xc5\xd0\xd3\xc6" + bytes(40), "PostScript"),
        (b"%PDF-1.7\n", "PDF"),
        (b"\xd7\xcd\xc6\x9a" + bytes(80), "Windows drawing"),
        (b"\x89HDF\r\n\x1a\n" + bytes(80), "data"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"\0\0\0\x18ftypmp42" + bytes(16), "film"),
        (b"\0\0\x01\0\x01\0" + bytes(40), "icons"),
    ],
)
def test_what_starts_programs_or_shows_nothing_is_refused_by_name(content, what):
    with pytest.raises(PhotoError, match=f"^holiday: is .*{what}.*not opened"):
        decode(content, "holiday")


def test_only_listed_formats_are_opened_until_one_is_allowed(monkeypatch, pixels):
    class Foreign(Image.Image):
        format = "FOREIGN"

    monkeypatch.setitem(Image.OPEN, "FOREIGN", (Foreign, lambda start: start[:7] == b"FOREIGN"))
    monkeypatch.setattr(Image, "ID", [*Image.ID, "FOREIGN"])
    monkeypatch.setattr(formats, "_allowed", {})
    assert "FOREIGN" not in openers()
    allow_format("FOREIGN", (".foreign",))
    assert "FOREIGN" in openers()
    assert ".foreign" in readable_endings()
    del Image.EXTENSION[".foreign"]
    assert not {"EPS", "WMF", "PDF", "HDF5", "FITS"} & openers().keys()


def chunk(name: bytes, data: bytes) -> bytes:
    """Of a PNG."""
    body = name + data
    return struct.pack(">L", len(data)) + body + struct.pack(">L", zlib.crc32(body))


def png_head(width: int, height: int) -> bytes:
    """A PNG of 8-bit RGB, of which the first row has begun."""
    head = struct.pack(">LLBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(99)))


def test_a_photo_is_opened_up_to_the_limit_and_refused_above(pixels):
    content = encode(Image.fromarray(pixels), "PNG")
    # 12,288 pixels of 4 bytes, once as they are decoded and once as they are kept, and the file.
    enough = 2 * 128 * 96 + len(content)
    assert decode(content, "a", max_pixels=enough)[0].shape == (96, 128, 3)
    with pytest.raises(PhotoError, match=r"^a: has 128x96 pixels.*max_pixels \(--max-pixels\)"):
        decode(content, "a", max_pixels=128 * 96)
    with pytest.raises(PhotoError, match="max_pixels"):
        ConvFeatureExtractor(max_pixels=1000).fit_transform([content])


def test_a_large_jpeg_is_decoded_at_an_eighth_and_counts_as_that():
    content = encode(Image.new("RGB", (4000, 3000), (9, 99, 199)), "JPEG")
    rgb, size = decode(content, "a", max_size=200, max_pixels=1_000_000)
    assert size == (4000, 3000)
    assert rgb.shape == (150, 200, 3)
    with pytest.raises(PhotoError, match="12|4000x3000"):
        decode(content, "a", max_pixels=1_000_000)


def test_large_photos_are_halved_as_they_are_converted():
    """A chequered ramp, so that strips that are put together wrongly show."""
    y, x = np.mgrid[0:3000, 0:4000]
    picture = np.stack([x * 255 // 4000, y * 255 // 3000, (x // 500 + y // 500) % 2 * 200], -1)
    content = encode(Image.fromarray(picture.astype(np.uint8)), "PNG", compress_level=1)
    rgb, _ = decode(content, "a", max_size=400)
    blocks = picture.reshape(300, 10, 400, 10, 3).mean((1, 3))
    assert np.abs(rgb - blocks).mean() < 1.5


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_grey_of_any_depth_is_the_same_picture(bits, pixels):
    grey = pixels[:, :, 1].astype(np.uint16)
    grey = (grey - grey.min()) * (255 / np.ptp(grey))  # the darkest is 0, the lightest is in use
    deep = Image.fromarray((grey * ((1 << bits) - 1) / 255).round().astype(np.uint16))
    for form in ("PNG", "TIFF"):
        found = decode(encode(deep, form), "a")[0][:, :, 0]
        assert np.abs(found.astype(int) - grey).max() <= 1
    assert np.abs(decode(deep, "a")[0][:, :, 0].astype(int) - grey).max() <= 1


def test_grey_of_32_bits_is_right_or_refused(pixels):
    grey = pixels[:, :, 1].astype(np.int64)
    grey[0, 0] = 255
    signed = Image.fromarray((grey * (2**31 - 1) // 255).astype(np.int32))
    assert np.abs(decode(encode(signed, "TIFF"), "a")[0][:, :, 0] - grey).max() <= 1
    below = Image.fromarray((grey - 100).astype(np.int32))
    with pytest.raises(PhotoError, match="^a: .*below 0"):
        decode(encode(below, "TIFF"), "a")


@pytest.mark.parametrize("unit", [1.0, 255.0, 65535.0])
def test_floats_count_in_units_bytes_or_words(unit, pixels):
    grey = pixels[:, :, 1].astype(np.float32)
    grey[0, 0] = 255
    content = encode(Image.fromarray(grey / 255 * np.float32(unit)), "TIFF")
    assert np.abs(decode(content, "a")[0][:, :, 0] - grey).max() <= 1


def scans(content: bytes, n: int) -> bytes:
    """A progressive JPEG with more scans: its last one again and again."""
    start = content.rindex(b"\xff\xda")
    return content[:-2] + content[start:-2] * n + b"\xff\xd9"


def test_a_jpeg_of_thousands_of_scans_is_refused_before_it_is_decoded(pixels):
    genuine = encode(Image.fromarray(pixels), "JPEG", progressive=True)
    assert decode(genuine, "a")[1] == (128, 96)
    with pytest.raises(PhotoError, match=r"^a: .* in \d{4,5} scans"):
        decode(scans(genuine, 3000), "a", max_pixels=1_000_000)


def test_descriptions_reach_no_decoder(pixels):
    """Whatever they claim: entries that all point at the same bytes, texts that inflate."""
    entries = b"".join(struct.pack("<HHLL", tag, 7, 60_000, 8) for tag in range(5000))
    bomb = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 5000) + entries
    image = Image.fromarray(pixels)
    png, jpeg = encode(image, "PNG"), encode(image, "JPEG")
    text = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(100_000_000)))
    segment = b"\xff\xe1" + struct.pack(">H", len(bomb) + 2) + bomb
    for plain, described in (
        (png, png[:33] + chunk(b"eXIf", bomb[6:]) + text + png[33:]),
        (jpeg, jpeg[:2] + segment * 20 + jpeg[2:]),
    ):
        assert look_into(described).content == look_into(plain).content
        np.testing.assert_array_equal(decode(described, "a")[0], decode(plain, "a")[0])
    exif = Image.Exif()
    exif[0x010E] = "a description"
    avif = encode(image, "AVIF", exif=exif)
    assert b"ExifExif\0" in avif  # kind and name of an item
    assert b"skipExif\0" in look_into(avif).content


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        # 34 bytes of lossless WebP, whose canvas is 16384x16384.
        (b"RIFF\x1a\0\0\0WEBPVP8L\x0d\0\0\0\x2f\xff\xff\xff\x0f" + bytes(9), "16384x16384"),
        (png_head(30_000, 30_000), "30000x30000"),
        # JPEG 2000 whose tiles are pixels.
        (
            b"\xff\x4f\xff\x51\0\x2f\0\0" + struct.pack(">8LH", 9999, 9999, 0, 0, 1, 1, 0, 0, 3)
            + bytes([7, 1, 1] * 3) + b"\xff\x52" + bytes(20),
            "tiles",
        ),
    ],
)  # fmt: skip
def test_small_files_that_ask_for_gigabytes_are_refused(content, reason):
    with pytest.raises(PhotoError, match=f"^a: .*{reason}"):
        decode(content, "a", max_size=512)


def test_what_libtiff_prints_is_told_with_the_photo(pixels, capfd):
    content = bytearray(encode(Image.fromarray(pixels), "TIFF", compression="tiff_lzw"))
    content[2000:2100] = b"\xff" * 100
    with pytest.raises(PhotoError, match="^holiday: .*code"):
        decode(bytes(content), "holiday")
    assert capfd.readouterr().err == ""


def test_eps_starts_no_program(tmp_path):
    """A program of the name that Pillow would start leaves a mark when it is run."""
    mark = tmp_path / "run"
    program = tmp_path / "gs"
    program.write_text(f"#!/bin/sh\necho > {mark}\n")
    program.chmod(0o755)
    photo = tmp_path / "a.jpg"
    Image.new("RGB", (64, 48)).save(photo, "EPS")
    code = (
        "import sys; from PIL import Image; from sklearn_cmac import Photo\n"
        "from sklearn_cmac.photos import read_source; from sklearn_cmac.pixels import decode\n"
        "for source in (sys.argv[1], Image.open(sys.argv[1])):\n"
        "    try: decode(read_source(Photo(source)), 'a')\n"
        "    except ValueError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, photo],
        capture_output=True,
        text=True,
        env={"PATH": str(tmp_path), "PYTHONPATH": ":".join(sys.path)},
    )
    assert not mark.exists()
    assert done.stdout.count("PostScript") == 2, done.stderr
