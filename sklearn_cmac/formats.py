"""Image formats: which are opened, what a pixel of each costs, and which are refused by name.

Photos come from strangers. Pillow is told by name what it may take a file for, and formats that
start a program, fetch something, have no bound, or hold no photo are not among them.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import cache
from typing import Any

from PIL import Image

# What is opened of what Pillow opens itself. MPO is opened as the JPEG that it begins with.
_OPENED = frozenset(
    {
        "AVIF", "BLP", "BMP", "DCX", "DDS", "DIB", "FLI", "FTEX", "GBR", "GIF", "IMT", "JPEG",
        "JPEG2000", "MCIDAS", "MSP", "PCD", "PCX", "PIXAR", "PNG", "PPM", "PSD", "QOI",
        "SGI", "SPIDER", "SUN", "TGA", "TIFF", "WEBP", "XBM", "XPM", "XVTHUMB",
    }
)  # fmt: skip
# Of Pillow's formats, those that are not opened, and why.
_REFUSED = {
    "EPS": "PostScript, a program that would be run to draw it",
    "WMF": "Windows drawing commands, which would be run to draw it",
    "PDF": "a PDF document",
    "MPEG": "a film",
    "BUFR": "a table of weather data",
    "GRIB": "a table of weather data",
    "HDF5": "a container of data",
    "IPTC": "a caption without a photo",
    "FITS": "a table of astronomical data, whose compression has no bound",
    "IM": "a format of IFUNC, which Pillow gives up",
    "ICO": "a set of icons",
    "CUR": "a mouse pointer",
    "ICNS": "a set of icons",
}
# HEIC and HEIF, which pi-heif decodes; the name is that of Pillow's plugin.
HEIF = "HEIF"
HEIF_ENDINGS = frozenset({".heic", ".heics", ".heif", ".heifs", ".hif"})

# Bytes that decoders were seen to take for each pixel, the picture itself included, where that is
# more than the picture: `_BYTES_OF_MODE`.
_BYTES_PER_PIXEL = {"WEBP": 16.5, "AVIF": 10.0, HEIF: 10.0, "JPEG2000": 6.5}
_BYTES_OF_MODE = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2, "I;16N": 2}
# Formats of which the decoder needs what the picture needs.
_PLAIN = frozenset({"JPEG", "PNG", "GIF", "TIFF", "BMP", "DIB", "PPM", "TGA"})
# Some formats are decoded in Python, a microsecond for each pixel and more: they count as so many
# bytes that a limit of memory is one of time, too.
_BYTES_IN_PYTHON = 256.0

_allowed: dict[str, float] = {}

# How files begin that are taken for photos now and then.
_BEGINNINGS = (
    (b"%!PS", _REFUSED["EPS"]),
    (b"\xc5\xd0\xd3\xc6", _REFUSED["EPS"]),
    (b"\xd7\xcd\xc6\x9a", _REFUSED["WMF"]),
    (b"\x01\x00\x00\x00", _REFUSED["WMF"]),
    (b"%PDF", _REFUSED["PDF"]),
    (b"\x00\x00\x01\x00", _REFUSED["ICO"]),
    (b"icns", _REFUSED["ICNS"]),
    (b"SIMPLE", _REFUSED["FITS"]),
    (b"\x89HDF", _REFUSED["HDF5"]),
    (b"GRIB", _REFUSED["GRIB"]),
    (b"BUFR", _REFUSED["BUFR"]),
    (b"\x00\x00\x01\xb3", _REFUSED["MPEG"]),
    (b"\x00\x00\x01\xba", _REFUSED["MPEG"]),
    (b"Image type:", _REFUSED["IM"]),
    (b"\xff\x0a", "JPEG XL"),
    (b"\x00\x00\x00\x0cJXL ", "JPEG XL"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"<!DOCTYPE", "a web page"),
    (b"<!doctype", "a web page"),
    (b"<html", "a web page"),
    (b"<svg", "SVG, a drawing"),
    (b"<?xml", "an XML document, perhaps a drawing (SVG)"),
)


def allow_format(name: str, endings: tuple[str, ...] = (), bytes_per_pixel: float = 24.0) -> None:
    """Let a format be opened for which a plugin is registered with Pillow.

    Parameters
    ----------
    name : str
        As the plugin registered it, such as "JXL".
    endings : tuple of str, default=()
        Of its files, with the dot; those that the plugin registered need not be given.
    bytes_per_pixel : float, default=24
        Memory that its decoder takes for each pixel, the picture included, at most. What a photo
        needs is told from it before it is decoded.

    Raises
    ------
    ValueError
        If no plugin of that name is registered with Pillow.

    Examples
    --------
    >>> from sklearn_cmac.formats import allow_format
    >>> allow_format("WAL")
    Traceback (most recent call last):
    ...
    ValueError: no plugin for the format 'WAL' is registered with Pillow; import it first
    """
    Image.init()
    if name not in Image.OPEN:
        raise ValueError(
            f"no plugin for the format {name!r} is registered with Pillow; import it first"
        )
    for ending in endings:
        Image.register_extension(name, ending)
    _allowed[name] = bytes_per_pixel


Opener = tuple[Callable[..., Image.Image], Callable[[bytes], Any] | None]


def openers() -> dict[str, Opener]:
    """The formats that are opened, by name, each with what opens it and what recognises it.

    Returns
    -------
    dict from str to (callable, callable or None)
        In the order in which they are tried, as Pillow registers them. HEIC and HEIF, as "HEIF",
        are among them if pi-heif is installed.

    Examples
    --------
    >>> from sklearn_cmac.formats import openers
    >>> "JPEG" in openers(), "EPS" in openers()
    (True, False)
    """
    Image.init()
    found: dict[str, Opener] = {
        form: Image.OPEN[form] for form in Image.ID if form in _OPENED or form in _allowed
    }
    if has_heif():
        from pi_heif import HeifImageFile

        found[HEIF] = HeifImageFile, is_heif
    return found


@cache
def has_heif() -> bool:
    """Whether HEIC and HEIF can be decoded: it takes the extra `heic`."""
    return importlib.util.find_spec("pi_heif") is not None


def readable_endings() -> set[str]:
    """Endings of the files that are opened, in lower case and with the dot.

    Returns
    -------
    set of str

    Examples
    --------
    >>> from sklearn_cmac.formats import readable_endings
    >>> sorted({".jpg", ".avif", ".eps", ".txt"} & readable_endings())
    ['.avif', '.jpg']
    """
    forms = {*openers(), "MPO"}
    found = {ending for ending, form in Image.registered_extensions().items() if form in forms}
    return found | HEIF_ENDINGS if HEIF in forms else found - HEIF_ENDINGS


def refused_endings() -> set[str]:
    """Endings of image files that are not opened, in lower case and with the dot.

    Returns
    -------
    set of str
    """
    readable = readable_endings()
    return ({*Image.registered_extensions()} | HEIF_ENDINGS) - readable


def is_heif(content: bytes) -> bool:
    """Whether a file begins as HEIC or HEIF, which AVIF is a kind of."""
    brands = content[8:12], content[16:64]
    is_box = content[4:8] == b"ftyp"
    return is_box and (
        brands[0][:3] in (b"hei", b"hev") or (brands[0] == b"mif1" and b"hei" in brands[1])
    )


def why_refused(content: bytes) -> str | None:
    """What a file is that is not opened, by how it begins; None if that is not known."""
    if is_heif(content):
        return None if has_heif() else "HEIC, and needs: pip install sklearn-cmac[heic]"
    start = content.lstrip()[:16]
    for beginning, what in _BEGINNINGS:
        if start.startswith(beginning) or content.startswith(beginning):
            return f"{what}, which is not opened"
    if content[4:8] == b"ftyp" and content[8:11] in (b"iso", b"mp4", b"M4V", b"qt ", b"3gp"):
        return "a film, which is not opened"
    return None


def why_image_refused(image: Image.Image) -> str | None:
    """The same of an image that somebody has opened with Pillow.

    It is decoded when its pixels are asked for, and a program may be started then.
    """
    what = _REFUSED.get(image.format or "")
    return what and f"{what}, which is not opened"


def bytes_per_pixel(image: Image.Image) -> float:
    """Memory that decoding takes for each pixel, the picture included.

    Parameters
    ----------
    image : PIL.Image.Image
        As it was opened, before it is loaded.
    """
    tiles = getattr(image, "tile", None) or ()
    if any(tile[0] in Image.DECODERS for tile in tiles):
        return _BYTES_IN_PYTHON
    form = image.format or ""
    picture = float(_BYTES_OF_MODE.get(image.mode, 4))
    if form == "JPEG2000":
        return of_format(form) * len(image.getbands())
    return picture if form in _PLAIN else max(picture, of_format(form))


def of_format(form: str) -> float:
    """The same of a format whose decoder takes more than the picture needs.

    Parameters
    ----------
    form : str
        For "JPEG2000", it is for each channel.
    """
    return _allowed.get(form) or _BYTES_PER_PIXEL.get(form, 8.0)
