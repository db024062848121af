"""Annotation files, tables and ground truth: sound ones, damaged ones, and ones built to harm."""

from __future__ import annotations

import pickle
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
from PIL import Image
from scipy.io import savemat

from hostile.damage import Kind
from sklearn_cmac.cli._options import parse_photo_scale
from sklearn_cmac.datasets import (
    load_gldv2,
    load_ilias,
    load_instre,
    load_oxford5k,
    load_photo_folder,
    load_products,
    load_roxford5k,
)
from sklearn_cmac.photos import PhotoError

NAMES = ["a", "b", "c", "d"]
ENTRY = {"bbx": [1.5, 2.0, 30.0, 40.0], "easy": [0], "hard": [1], "junk": [2]}
REVISITED = {"imlist": NAMES[1:], "qimlist": ["a"], "gnd": [ENTRY]}
OFFICIAL = {"imlist": NAMES, "qimlist": ["a"], "gnd": [{**ENTRY, "ok": [0, 1], "junk": [3]}]}
ROWS = "filename,instance,width,height\na.jpg,t,40,30\nb.jpg,t,40,30\nc.jpg,,,\n"
BOXES = "filename;x0;y0;x1;y1\na.jpg;1;2;30;20\na.jpg;5;5;9,5;9\n".replace("9,5", "9.5")
SOLUTION = "id,images,Usage\na,b c,Private\nd,b,Public\n"
PRODUCTS = "image_id class_id super_class_id path\n1 7 1 a.jpg\n2 7 1 b.jpg\n3 8 1 c.jpg\n"


def make_photos(folder: Path) -> None:
    """Four small photos, flat and as the benchmarks have them."""
    for place in ("photos", "landmarks/index", "landmarks/test"):
        (folder / place).mkdir(parents=True)
        for name in NAMES:
            Image.new("RGB", (40, 30)).save(folder / place / f"{name}.jpg")


def _arrays(entry: dict[str, Any], dtype: str) -> dict[str, Any]:
    return {key: np.array(values, None if key == "bbx" else dtype) for key, values in entry.items()}


def _matlab(folder: Path, compressed: bool) -> bytes:
    def cells(values: list[str]) -> np.ndarray:
        return np.array([*values, None], object)[None, :-1]

    entry = np.zeros((1, 1), [("ok", object), ("bbx", object)])
    entry[0, 0] = (np.array([[1, 2]]), np.array([[4, 6, 30, 25]]))
    content = {
        "imlist": cells(["a.jpg", "b.jpg"]), "qimlist": cells(["c.jpg"]), "gnd": entry,
    }  # fmt: skip
    savemat(folder / "made.mat", content, do_compression=compressed)
    made = (folder / "made.mat").read_bytes()
    (folder / "made.mat").unlink()
    return made


def _lists(file: Path) -> Path:
    """The four text files of the official annotation, but for the one that is there."""
    texts = {"query": "oxc1_a 1 2 30 25", "good": "a\nb", "ok": "c", "junk": "d"}
    for kind, text in texts.items():
        path = file.with_name(f"tower_1_{kind}.txt")
        if not path.exists():
            path.write_text(text)
    return file.parent


def _ilias_lists(file: Path) -> Path:
    texts = {"image_query_ids.txt": "q/c.jpg,0.1\n", "positive_ids.txt": "q/a.jpg,0.1,3\n"}
    for name, text in texts.items():
        if not (file.parent / name).exists():
            (file.parent / name).write_text(text)
    return file.parent


def _ilias(made: Path, file: Path) -> Any:
    core = file.parent / "core" / "q"
    core.mkdir(parents=True)
    for name in NAMES:
        (core / f"{name}.jpg").write_bytes((made / "photos" / f"{name}.jpg").read_bytes())
    boxes = file.parent / "c_bbox.txt"
    (core / "c_bbox.txt").write_bytes(boxes.read_bytes() if boxes.exists() else b"1 2 20 20\n")
    return load_ilias(core.parent, _ilias_lists(file), missing="restrict")


def _scales(made: Path, file: Path) -> Any:
    return parse_photo_scale(f"{file}:name:scale")


def annotation_kinds(folder: Path) -> Iterator[Kind]:
    """Each kind of file, with a sound one, how it is opened, and what is built to harm."""
    allowed = (PhotoError,)
    load = "missing", "restrict"
    restrict = dict([load])
    for kind in ("query", "good", "ok", "junk"):
        text = {"query": "oxc1_a 1 2 30 25\n", "good": "a\nb\n", "ok": "c\n", "junk": "d\n"}[kind]
        yield Kind(
            f"official {kind}", f"tower_1_{kind}.txt", text.encode(),
            lambda made, file: load_oxford5k(made / "photos", _lists(file), **restrict), allowed,
            lambda: bad_texts("{}"), named_by=file_or_folder,
        )  # fmt: skip
    for protocol in (0, 2, 4, 5):
        yield Kind(
            f"revisited pickle {protocol}", "gnd_roxford5k.pkl", pickle.dumps(REVISITED, protocol),
            lambda made, file: load_roxford5k(made / "photos", file, **restrict), allowed,
            bad_pickles if protocol == 2 else tuple, named_by=file_or_folder,
        )  # fmt: skip
        yield Kind(
            f"official pickle {protocol}", "gnd_oxford5k.pkl",
            pickle.dumps({**OFFICIAL, "gnd": [_arrays(OFFICIAL["gnd"][0], "i4")]}, protocol),
            lambda made, file: load_oxford5k(made / "photos", file, **restrict), allowed,
            named_by=file_or_folder,
        )  # fmt: skip
    for compressed in (False, True):
        yield Kind(
            f"matlab {compressed}", "gnd_instre.mat", _matlab(folder, compressed),
            lambda made, file: load_instre(made / "photos", file, **restrict), allowed, bad_matlab,
            named_by=file_or_folder,
        )  # fmt: skip
    tables: list[tuple[str, str, str, Callable[[Path, Path], Any]]] = [
        ("labels", "labels.csv", ROWS, lambda made, file: load_photo_folder(made / "photos", file)),
        (
            "boxes",
            "boxes.csv",
            BOXES,
            lambda made, file: load_photo_folder(made / "photos", boxes=file),
        ),
        (
            "solution",
            "solution.csv",
            SOLUTION,
            lambda made, file: load_gldv2(made / "landmarks", file, **restrict),
        ),
        (
            "products",
            "Ebay_test.txt",
            PRODUCTS,
            lambda made, file: load_products(made / "photos", file, **restrict),
        ),
        ("ilias queries", "image_query_ids.txt", "q/c.jpg,0.1\n", _ilias),
        ("ilias positives", "positive_ids.txt", "q/a.jpg,0.1,3\nq/b.jpg,0.2,4\n", _ilias),
        ("ilias boxes", "c_bbox.txt", "1 2 20 20\n5 5 3 3\n", _ilias),
        ("scales", "scales.csv", "name,scale\na,0.5\nb,1\n", _scales),
    ]
    for name, file_name, text, opened in tables:
        for encoding in ("utf-8", "utf-16"):
            yield Kind(
                f"{name} {encoding}", file_name, text.encode(encoding), opened,
                (*allowed, click.BadParameter),
                partial(bad_texts, text) if encoding == "utf-8" else tuple,
                named_by=file_or_folder,
            )  # fmt: skip


def file_or_folder(file: Path) -> list[str]:
    """What a message may name: the file, those beside it, or the photos that it asks for."""
    return [str(file.parent), "/photos-", " annotated photos ", "nothing to ask for"]


# -- built to harm ----------------------------------------------------------------------------


class Runs:
    """Pickled, it asks for something to be run when it is read."""

    def __init__(self, run: Callable[..., object], *arguments: object):
        self.run, self.arguments = run, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.run, self.arguments


def payloads() -> Iterator[Any]:
    """Objects that, if they are read as pickle reads, leave a file called MARK where they run."""
    import os
    import runpy
    import subprocess

    yield Runs(os.system, "touch MARK")
    yield Runs(exec, "open('MARK', 'w').close()")
    yield Runs(eval, "open('MARK', 'w').close()")
    yield Runs(open, "MARK", "w")
    yield Runs(os.mkdir, "MARK")
    yield Runs(subprocess.check_call, ["touch", "MARK"])
    yield Runs(runpy._run_code, "open('MARK', 'w').close()", {})
    yield Runs(getattr, "MARK", "join")
    yield Runs(__import__, "antigravity")
    with suppress(ImportError):
        import torch

        yield Runs(torch.load, "MARK")
        yield Runs(torch.hub.load, "a/b", "MARK")
        yield Runs(torch.utils.data.DataLoader, "MARK")
    yield Runs(np.load, "MARK")
    yield Runs(np.fromfile, "MARK")
    yield Runs(np.save, "MARK.npy", [1])


def tuples(n: int, ending: bytes = b".") -> bytes:
    """A pickle of a tuple in a tuple, and so on."""
    return b"\x80\x02)" + b"\x85" * n + ending


def laughs(n: int = 60) -> bytes:
    """A pickle of tuples of two of the one before, which take 2 ** n to walk through."""
    steps = (b"h%ch%c\x86q%c" % (i, i, i + 1) for i in range(n))
    return b"\x80\x02)q\0" + b"".join(steps)


def bad_pickle_bodies() -> Iterator[bytes]:
    """Pickles that ask for memory, depth or time."""
    for step, width in ((b"X", 4), (b"\x8d", 8), (b"B", 4), (b"\x8e", 8), (b"T", 4), (b"\x96", 8)):
        for length in (2**31 - 1, 2**32 - 1, 2**62, 2**63 + 1):
            if length < 256**width:
                yield b"\x80\x05" + step + length.to_bytes(width, "little") + b"x."
    yield b"\x80\x02\x8b" + (2**31 - 1).to_bytes(4, "little") + b"\xff."
    yield b"\x80\x02)r\xff\xff\xff\xff."
    yield b"\x80\x02)r\xff\xff\xff\x7f."
    yield b")p99999999999999999999\n."
    yield tuples(300_000)
    yield b"\x80\x02}" + tuples(300_000, b"K\x01s.")[2:]
    yield laughs() + b"."
    yield b"\x80\x02}" + laughs()[2:] + b"K\x01s."
    yield b"\x80\x04\x8f(" + laughs()[2:] + b"\x90."
    yield b"]q\0h\0a."
    yield b"}q\0X\x03\0\0\0gndh\0s."
    yield b"(" * 1_000_000 + b"."
    yield b"0" * 1000 + b"."
    yield b"N" * 2_500_000 + b"."
    yield b"I" + b"9" * 100_000 + b"\n."
    yield b"L" + b"9" * 100_000 + b"L\n."
    yield b"cnumpy\nndarray\n)R."
    yield b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\0\x85tR."
    yield b"c__builtin__\nbytearray\n(J\xff\xff\xff\x7ftR."
    yield b"cbuiltins\nbytes\n(J\xff\xff\xff\x7ftR."
    yield b"ccollections\nOrderedDict\n)R" + laughs()[2:] + b"K\x01s."
    yield b"P1\n."
    yield b"\x82\x01."


def bad_pickles() -> Iterator[bytes]:
    """Ground truth that harms: by what it runs, asks for, or holds where a list should be."""
    for payload in payloads():
        for protocol in (0, 2, 4):
            yield pickle.dumps({**REVISITED, "gnd": payload}, protocol)
            yield pickle.dumps({**REVISITED, "gnd": [{**ENTRY, "easy": payload}]}, protocol)
    yield from bad_pickle_bodies()
    place = 987654321
    for key in ("imlist", "qimlist", "gnd"):
        yield from _with_bad_parts(pickle.dumps({**REVISITED, key: place}, 2), place)
    for key in ENTRY:
        truth = {**REVISITED, "gnd": [{**ENTRY, key: place}]}
        yield from _with_bad_parts(pickle.dumps(truth, 2), place)
        for value in (
            None, 1, "", "ab", b"ab", [], [None], [True], [1.5], [-1], [10**30], [10**5000], {},
            [[]], [float("nan")], [float("inf")] * 4, np.zeros((2, 2)), np.zeros(4), np.array(3),
            np.array(["a"]), np.zeros((0, 2)), np.zeros(2, "c16"), np.zeros(1, "i4,f8"),
        ):  # fmt: skip
            yield pickle.dumps({**REVISITED, "gnd": [{**ENTRY, key: value}]}, 2)
    for i in (4, 10**9, -(2**63), 2**63):
        yield pickle.dumps({**REVISITED, "gnd": [{**ENTRY, "easy": [i]}]}, 2)
    for name in ("/etc/passwd", "../../x", "\0", "", "C:\\x", "a" * 10**6):
        yield pickle.dumps({**REVISITED, "imlist": ["b", "c", name]}, 2)
        yield pickle.dumps({**REVISITED, "qimlist": [name]}, 2)
    many = {**REVISITED, "imlist": [str(i) for i in range(1000)], "qimlist": ["a"] * 5000}
    yield pickle.dumps({**many, "gnd": [{**ENTRY, "easy": list(range(1000))}] * 5000}, 2)


def _with_bad_parts(content: bytes, place: int) -> Iterator[bytes]:
    for part in (tuples(100_000, b"")[2:], laughs()[2:], b"]q\0h\0a", b"}q\0X\x01\0\0\0ah\0s"):
        yield content.replace(b"J" + place.to_bytes(4, "little"), part)


def bad_texts(text: str) -> Iterator[bytes]:
    """Tables that are no tables, are too wide or long, or name what is elsewhere."""
    header, _, rest = text.partition("\n")
    yield b""
    yield b"\n" * 100_000
    yield b"\0" * 1000
    yield b"\xff\xfe"
    yield b"\xff\xfe\0\xd8"
    yield b"\xff\xfe\0\0\xff\xff\xff\xff"
    yield text.encode("utf-16-le")
    yield ("\ufeff\ufeff" + text).encode()
    yield b"\x1f\x8b\x08\0" + text.encode()
    yield b"%PDF-1.4\n" + text.encode()
    yield b"PK\x03\x04" + bytes(range(256))
    yield f'{header}\n"{rest}'.encode()
    yield f'{header}\n{rest}"'.encode()
    yield (header + "," * 1_500_000 + "\n" + rest).encode()
    yield (header + "," * 900_000 + "\n" + rest * 1000).encode()
    yield (header + "\n" + '"\n",' * 300_000).encode()
    yield (header + "\n" + "a" * 1_500_000).encode()
    yield (header + "\n" + ",".join(["a" * 100_000] * 8)).encode()
    yield (header + "\n" + rest + rest).encode()
    yield (header + "\n" + header + "\n" + rest).encode()
    yield (header + "\n" + rest * 20_000).encode()
    yield text.replace("\n", "\r").encode()
    yield text.replace(",", ";").encode()
    yield text.replace(",", "\t").encode()
    for name in (
        "/etc/passwd",
        "../../../../etc/passwd",
        "..\\x",
        "C:\\x",
        "\\\\s\\x",
        "nul",
        "~/x",
    ):
        for old in ("a.jpg", "b.jpg", "c.jpg", "b", "oxc1_a", "{}"):
            yield text.replace(old, name).encode()
    for number in ("nan", "inf", "-1", "1e400", "1e-400", "9" * 5000, "0x10", "1_0", "", "½"):
        for old in ("40", "30", "1.5", "20", "0.1", "3", "1"):
            yield text.replace(old, number).encode()


HEAD = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<H", 0x0100) + b"IM"


def bad_matlab() -> Iterator[bytes]:
    """MATLAB files that nest, inflate, or say sizes that are not there."""
    cell = struct.pack("<IIIIII", 14, 0x7FFFFFF0, 6, 8, 1, 0)
    cell += struct.pack("<IIiiII", 5, 8, 1, 1, 1, 0)
    for n in (10, 100_000):
        top = struct.pack("<II", 14, len(cell) * n + 56) + cell[8:-8]
        yield HEAD + top + struct.pack("<II", 1, 6) + b"imlist\0\0" + cell * n
    packer = zlib.compressobj()
    packed = b"".join(packer.compress(bytes(1 << 24)) for _ in range(8)) + packer.flush()
    yield HEAD + struct.pack("<II", 15, len(packed)) + packed
    yield HEAD + (struct.pack("<II", 15, len(packed)) + packed) * 3
    for kind in (0, 1, 9, 14, 15, 16, 2**31, 2**32 - 1):
        for size in (0, 1, 7, 8, 2**31 - 1, 2**32 - 8, 2**32 - 1):
            yield HEAD + struct.pack("<II", kind, size) + bytes(64)
    for form in range(20):
        yield HEAD + struct.pack("<IIIIII", 14, 64, 6, 8, form, 0) + bytes(56)
    yield HEAD[:-2] + b"MI" + bytes(64)
    yield HEAD
    yield b"\x89HDF\r\n\x1a\n" + bytes(600)
