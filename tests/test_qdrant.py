"""The engines on Qdrant: in this process, and by HTTP with a server that a stub stands in for."""

import pickle
import re
import subprocess
import sys
from itertools import count

import numpy as np
import pytest

pytest.importorskip("qdrant_edge", reason="needs pip install sklearn-cmac[qdrant]")
pytest.importorskip("qdrant_client", reason="needs pip install sklearn-cmac[qdrant]")

from qdrant_client import QdrantClient
from qdrant_server import qdrant_server

from sklearn_cmac import RegionVectors
from sklearn_cmac.collection import (
    ExactEngine,
    InUseError,
    QdrantEngine,
    RegionTable,
    Stamp,
    _qdrant,
    match_nearest,
    open_store,
)
from sklearn_cmac.testing import check_engine, check_store

pytestmark = pytest.mark.filterwarnings("ignore:Local mode performs exact")

PLAIN = Stamp("a pipeline", 2)
WITH_REGIONS = Stamp("a pipeline", 2, regions=True)
STRANGE = ["", "a/b", "é", "e\u0301", "'\"\\", "a\nb", "\0", "photo", "PHOTO", "x" * 1000, "🗿"]


@pytest.fixture
def server():
    with qdrant_server() as (server, address):
        yield server, address


@pytest.fixture(params=["edge", "http"])
def address(request, tmp_path):
    """Where an engine may keep something."""
    if request.param == "edge":
        return f"qdrant:{tmp_path}/vectors"
    return f"{request.getfixturevalue('server')[1]}/photos"


def unit(rng, *shape):
    rows = rng.standard_normal(shape).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def regions(*photos):
    """Vectors of two dimensions, region by region."""
    return RegionTable.of(
        [RegionVectors(np.reshape(photo, (-1, 2)).astype(float)) for photo in photos], 2
    )


def test_edge_does_what_every_engine_must(tmp_path):
    """But that no other process reads its folder while it is open."""
    names = count()
    check_store(lambda: f"qdrant:{tmp_path}/{next(names)}", readers=False)


def test_a_server_does_what_every_engine_must(server):
    names = count()
    check_store(lambda: f"{server[1]}/{next(names)}", single_writer=False)


def test_a_client_that_is_handed_over_does_what_every_engine_must():
    check_engine(
        lambda stamp, folder: QdrantEngine(
            "qdrant+http://nowhere/photos", stamp, client=QdrantClient(":memory:")
        )
    )


def test_scores_are_dot_products_of_vectors_as_they_are(address):
    engine = open_store(address, PLAIN)
    engine.upsert(["a", "b", "c", "zero"], np.array([[3, 4], [-6, 8], [0.5, 0], [0, 0]]))
    ids, scores = engine.kneighbors(np.array([[2, 0], [-1, -1]]), 9)
    assert ids.tolist() == [["a", "c", "zero", "b"], ["zero", "c", "b", "a"]]
    assert scores.tolist() == [[6, 1, 0, -12], [0, -0.5, -2, -7]]
    np.testing.assert_array_equal(engine.get(["b", "a", "b"]), [[-6, 8], [3, 4], [-6, 8]])


def test_region_matching_sums_best_similarities_by_their_shares(address):
    engine = open_store(address, WITH_REGIONS)
    photos = regions([[1, 0], [0, 1]], [[0.5, 0.5]], [])
    engine.upsert(["corner", "middle", "blank"], np.eye(2)[[0, 0, 0]], photos)
    query = RegionVectors(np.array([[1.0, 0], [0, -1]]), np.array([3.0, 1.0]))
    # 3/4 of the first region's best, 1/4 of the second's: 0.75 + 0 and 0.375 - 0.125.
    ((ids, scores),) = engine.match([query], 5)
    assert ids.tolist() == ["corner", "middle"]
    np.testing.assert_allclose(scores, [0.75, 0.25])
    ((ids, scores),) = engine.match([query], 5, [["blank", "middle", "nobody"]])
    assert ids.tolist() == ["middle"]


def test_a_query_without_regions_is_similar_to_nothing(address):
    engine = open_store(address, WITH_REGIONS)
    engine.upsert(["a"], np.eye(2)[:1], regions([[1, 0]]))
    ((ids, scores),) = engine.match([RegionVectors(np.empty((0, 2)))], 1)
    assert (ids.tolist(), scores.tolist()) == (["a"], [0])


def test_equal_scores_stand_in_the_order_of_ids_at_the_last_place_too(address):
    engine = open_store(address, WITH_REGIONS)
    ids = [f"photo {i}" for i in np.random.default_rng(0).permutation(60)]
    engine.upsert(ids, np.tile([0.0, 1], (60, 1)), regions(*[[[0, 1]]] * 60))
    engine.upsert(["best"], np.array([[0, 2]]), regions([[0, 2]]))
    right = ["best", *sorted(ids)[:6]]
    query, parts = np.array([[0, 1]]), [RegionVectors(np.array([[0.0, 1]]))]
    assert engine.kneighbors(query, 7)[0].tolist() == [right]
    assert engine.kneighbors(query, 7, among=ids + ["best"])[0].tolist() == [right]
    assert engine.match(parts, 7)[0][0].tolist() == right
    assert engine.match_nearest(query, parts, 7, 61)[0][0].tolist() == right
    assert engine.match(parts, 3, [ids])[0][0].tolist() == ids[:3]


def test_ids_are_any_texts(address):
    engine = open_store(address, PLAIN)
    rows = unit(np.random.default_rng(0), len(STRANGE), 2)
    engine.upsert(STRANGE, rows)
    assert len(engine) == len(STRANGE)
    assert all(id_ in engine for id_ in STRANGE)
    assert "Photo" not in engine
    scanned = {id_: row for ids, part in engine.scan(3) for id_, row in zip(ids, part)}
    assert sorted(scanned) == sorted(STRANGE)
    np.testing.assert_array_equal([scanned[id_] for id_ in STRANGE], rows)
    assert set(engine.kneighbors(rows[:1], 99)[0][0]) == set(STRANGE)
    engine.delete(STRANGE[::2])
    assert sorted(engine.kneighbors(rows[:1], 99)[0][0]) == sorted(STRANGE[1::2])


def test_only_ids_among_those_given_are_found(address):
    engine = open_store(address, PLAIN)
    engine.upsert(["a", "b", "c", "d"], np.array([[4, 0], [3, 0], [2, 0], [1, 0]]))
    query = np.array([[1, 0]])
    assert engine.kneighbors(query, 2, among=["d", "b", "d", "c"])[0].tolist() == [["b", "c"]]
    assert engine.kneighbors(query, 9, among=np.array(["d"]))[0].tolist() == [["d"]]
    assert engine.kneighbors(query, 9, among=[])[0].shape == (1, 0)
    assert engine.kneighbors(query, 9, among=["d", "nobody"])[0].tolist() == [["d"]]


def test_regions_come_back_as_they_were_given(address):
    rng = np.random.default_rng(0)
    stamp = Stamp("a pipeline", 5, regions=True)
    counts = [3, 0, 1, 40]
    photos = [RegionVectors(3 * unit(rng, n, 5), rng.random(n).astype("f4")) for n in counts]
    given = RegionTable.of(photos, 5)
    engine = open_store(address, stamp)
    engine.upsert(list("abcd"), unit(rng, 4, 5), given)
    found = engine.get_regions(list("dbca"))
    right = given.take([3, 1, 2, 0])
    assert (found.vectors.dtype, found.weights.dtype) == (np.float16, np.float32)
    for name in ("vectors", "weights", "indptr"):
        np.testing.assert_array_equal(getattr(found, name), getattr(right, name))
    engine.upsert(["d"], unit(rng, 1, 5), given.take([1]))
    assert engine.get_regions(["d"]).counts.tolist() == [0]
    assert "d" not in engine.match([photos[0]], 9)[0][0]


def test_both_stages_in_one_request_find_what_the_exact_engine_finds(address):
    rng = np.random.default_rng(0)
    stamp = Stamp("a pipeline", 16, regions=True)
    engine, exact = open_store(address, stamp), ExactEngine(stamp)
    ids, rows = [f"photo {i}" for i in range(300)], unit(rng, 300, 16)
    photos = [RegionVectors(unit(rng, n, 16)) for n in rng.integers(0, 5, 300)]
    for each in (engine, exact):
        each.upsert(ids, rows, RegionTable.of(photos, 16))
    queries = [RegionVectors(unit(rng, 3, 16), rng.random(3)) for _ in range(8)]
    descriptors = unit(rng, 8, 16)
    for k, n in ((5, 20), (20, 20), (10, 500)):
        found = match_nearest(engine, descriptors, queries, k, n)
        for mine, right in zip(found, match_nearest(exact, descriptors, queries, n, n)):
            score_of = dict(zip(*right))
            np.testing.assert_allclose(mine[1], right[1][:k], atol=2e-4)
            # Edge rounds queries to half precision, so those that nearly tie may change places.
            np.testing.assert_allclose([score_of[id_] for id_ in mine[0]], mine[1], atol=2e-4)


def test_what_is_sent_to_a_server(server, monkeypatch):
    monkeypatch.setattr(_qdrant, "_NUMBERS", 8)
    server, address = server
    uri = f"{address}/my%20photos?exact=false&quantization=scalar&shards=3&replicas=2"
    engine = open_store(uri, WITH_REGIONS)
    assert engine.name == "my photos"
    (made,) = [body for method, route, body in server.requests if (method, route) == ("PUT", "")]
    assert (made["shard_number"], made["replication_factor"]) == (3, 2)
    descriptor, parts = made["vectors"]["descriptor"], made["vectors"]["regions"]
    assert descriptor["distance"] == parts["distance"] == "Dot"
    assert descriptor["quantization_config"]["scalar"]["type"] == "int8"
    assert (parts["datatype"], parts["on_disk"]) == ("float16", True)
    assert parts["multivector_config"] == {"comparator": "max_sim"}

    server.requests.clear()
    engine.upsert(list("abc"), np.eye(2)[[0, 1, 0]], regions([[1, 0]], [[0, 1], [1, 1]], []))
    assert [route for _, route, _ in server.requests] == ["/points?wait=true"] * 2
    points = [point for _, _, body in server.requests for point in body["points"]]
    assert [point["payload"] for point in points] == [
        {"id": "a", "weights": [1.0]},
        {"id": "b", "weights": [1.0, 1.0]},
        {"id": "c", "weights": []},
    ]
    assert points[1]["vector"] == {"descriptor": [0, 1], "regions": [[0, 1], [1, 1]]}
    assert points[2]["vector"] == {"descriptor": [1, 0]}

    server.requests.clear()
    query = RegionVectors(np.array([[1.0, 0], [0, 1]]), np.array([3.0, 1.0]))
    engine.match_nearest(np.eye(2)[:1], [query], 1, 2)
    ((_, _, body),) = server.requests
    (search,) = body["searches"]
    assert search["query"]["nearest"] == [[0.75, 0], [0, 0.25]]
    assert (search["using"], search["params"]["exact"]) == ("regions", False)
    first = search["prefetch"]
    assert (first["query"], first["using"], first["limit"]) == ([1, 0], "descriptor", 2)

    server.requests.clear()
    engine.delete(["a"])
    assert [route for _, route, _ in server.requests] == ["/points/delete?wait=true"]


def test_what_was_kept_is_there_when_it_is_opened_again(address):
    engine = open_store(address, WITH_REGIONS)
    engine.upsert(["a", "b"], np.eye(2), regions([[1, 0]], []))
    engine.delete(["b"])
    engine.close()
    again = open_store(address)
    assert again.stamp == WITH_REGIONS
    assert [ids for ids, _ in again.scan()] == [["a"]]
    assert again.get_regions(["a"]).counts.tolist() == [1]
    again.close()


@pytest.mark.parametrize(
    ("other", "named"),
    [(Stamp("another", 2), "a pipeline.*another"), (Stamp("a pipeline", 3), "dimension 2.*3")],
)
def test_another_stamp_is_refused(address, other, named):
    open_store(address, PLAIN).close()
    with pytest.raises(ValueError, match=named) as refused:
        open_store(address, other)
    assert address in str(refused.value)
    assert open_store(address, PLAIN).stamp == PLAIN


def test_nothing_is_opened_where_nothing_is_kept(address):
    for stamp, read_only in ((None, False), (PLAIN, True)):
        with pytest.raises(FileNotFoundError, match="no vectors are kept here"):
            open_store(address, stamp, read_only=read_only)


def test_an_engine_that_is_read_only_writes_nothing(address):
    open_store(address, PLAIN).upsert(["a"], np.eye(2)[:1])
    engine = open_store(address, read_only=True)
    for write in (lambda: engine.upsert(["b"], np.eye(2)[:1]), lambda: engine.delete(["a"])):
        with pytest.raises(InUseError, match="read only"):
            write()
    assert "a" in engine


def test_an_engine_pickles_as_its_address(address):
    engine = open_store(address, PLAIN)
    engine.upsert(["a"], np.eye(2)[:1])
    text = pickle.dumps(engine)
    assert len(text) < 500
    again = pickle.loads(text)
    assert again.stamp == PLAIN
    engine.upsert(["b"], np.eye(2)[:1])
    assert "b" in again
    engine.close()
    assert "a" in again
    assert pickle.loads(pickle.dumps(open_store(address, read_only=True))).read_only


def test_a_client_that_is_handed_over_does_not_pickle():
    client = QdrantClient(":memory:")
    engine = QdrantEngine("qdrant+http://nowhere/photos", PLAIN, client=client)
    with pytest.raises(TypeError, match="does not pickle"):
        pickle.dumps(engine)


def test_queries_of_another_dimension_are_refused(address):
    engine = open_store(address, WITH_REGIONS)
    with pytest.raises(ValueError, match=r"2 dimensions; queries have shape \(1, 3\)"):
        engine.kneighbors(np.ones((1, 3)), 1)
    with pytest.raises(ValueError, match=r"2 dimensions; queries have shape \(4, 3\)"):
        engine.match([RegionVectors(np.ones((4, 3)))], 1)


def test_without_regions_there_is_no_matching(address):
    engine = open_store(address, PLAIN)
    for ask in (
        lambda: engine.match([RegionVectors(np.eye(2))], 1),
        lambda: engine.get_regions([]),
    ):
        with pytest.raises(ValueError, match="no region vectors"):
            ask()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ("exact=maybe", "exact is true or false, got 'maybe'"),
        ("exakt=false", "'exakt' is none of exact, quantization"),
        ("exact=false&quantization=product", "quantization is none or scalar"),
        ("quantization=scalar", "add exact=false"),
    ],
)
def test_options_that_are_not_known_are_refused(address, options, named):
    with pytest.raises(ValueError, match=named):
        open_store(f"{address}?{options}", PLAIN)


@pytest.mark.parametrize("module", ["qdrant_edge", "qdrant_client"])
def test_a_missing_package_says_how_it_is_installed(module, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    uri = f"qdrant:{tmp_path}/x" if module == "qdrant_edge" else "qdrant+http://127.0.0.1:1/x"
    with pytest.raises(ImportError, match=r"pip install sklearn-cmac\[qdrant\]"):
        open_store(uri, PLAIN)


# -- a folder ---------------------------------------------------------------------------------

WRITER = """
import sys, time
import numpy as np
from sklearn_cmac.collection import Stamp, open_store
engine = open_store(sys.argv[1], Stamp("a pipeline", 2))
for i in range(3):
    engine.upsert([f"photo {i}", "last"], np.array([[i, 1], [i, i]]))
engine.delete(["photo 0"])
print("written", flush=True)
time.sleep(60)
"""


def test_a_folder_has_one_writer_and_what_it_acknowledged_survives_it(tmp_path):
    uri = f"qdrant:{tmp_path}/vectors"
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, uri], stdout=subprocess.PIPE, text=True
    )
    try:
        assert writer.stdout.readline() == "written\n"
        with pytest.raises(InUseError, match=f"vectors: .* process {writer.pid} "):
            open_store(uri, timeout=0.1)
    finally:
        writer.kill()
        writer.communicate()
    engine = open_store(uri)
    assert len(engine) == 3
    found = engine.get(["photo 1", "photo 2", "last"])
    np.testing.assert_array_equal(found, [[1, 1], [2, 1], [2, 2]])


def test_a_shard_that_another_program_has_is_in_use(tmp_path):
    import qdrant_edge

    open_store(f"qdrant:{tmp_path}", PLAIN).close()
    other = qdrant_edge.EdgeShard.load(str(tmp_path / "shard"))
    with pytest.raises(InUseError, match="another program has it"):
        open_store(f"qdrant:{tmp_path}")
    other.close()
    assert len(open_store(f"qdrant:{tmp_path}")) == 0


def test_the_room_of_what_was_deleted_is_given_back_and_answers_stay(tmp_path):
    rng = np.random.default_rng(0)
    engine = open_store(f"qdrant:{tmp_path}", Stamp("a pipeline", 64))
    ids, rows = [f"photo {i}" for i in range(3000)], unit(rng, 3000, 64)
    engine.upsert(ids, rows)
    engine.delete(ids[:2000])
    before = engine.kneighbors(rows[:3], 20)
    engine.optimize()
    after = engine.kneighbors(rows[:3], 20)
    for one, other in zip(before, after):
        np.testing.assert_array_equal(one, other)
    assert len(engine) == 1000


def test_a_graph_finds_nearly_all(tmp_path):
    import qdrant_edge

    rng = np.random.default_rng(0)
    uri = f"qdrant:{tmp_path}?exact=false&quantization=scalar"
    engine = open_store(uri, Stamp("a pipeline", 1024))
    ids, rows = [f"photo {i}" for i in range(2600)], unit(rng, 2600, 1024)
    engine.upsert(ids, rows)
    engine.kneighbors(rows[:1], 1)
    shard = engine._folder.shard
    assert isinstance(shard, qdrant_edge.EdgeShard)
    assert shard.info().indexed_vectors_count > 0
    found, _ = engine.kneighbors(rows[::100], 1)
    assert np.mean(found[:, 0] == np.array(ids)[::100]) > 0.9


def test_damage_of_the_stamp_is_noticed(tmp_path):
    open_store(f"qdrant:{tmp_path}", PLAIN).close()
    path = tmp_path / "stamp.json"
    whole = path.read_bytes()
    for i in range(0, len(whole), 5):
        path.write_bytes(whole[:i] + bytes([whole[i] ^ 4]) + whole[i + 1 :])
        with pytest.raises(ValueError, match=r"stamp\.json: is damaged"):
            open_store(f"qdrant:{tmp_path}")
    path.write_bytes(whole)
    assert open_store(f"qdrant:{tmp_path}").stamp == PLAIN


def test_a_shard_that_cannot_be_opened_is_an_error_with_its_address(tmp_path):
    open_store(f"qdrant:{tmp_path}", PLAIN).close()
    (tmp_path / "shard/edge_config.json").write_text("{")
    with pytest.raises(OSError, match=f"qdrant:{tmp_path}: .*edge_config"):
        open_store(f"qdrant:{tmp_path}")


def test_a_shard_of_somebody_else_is_not_written_to(tmp_path):
    (tmp_path / "shard").mkdir()
    with pytest.raises(ValueError, match="without a stamp"):
        open_store(f"qdrant:{tmp_path}", PLAIN)


def test_a_closed_engine_says_so(tmp_path):
    engine = open_store(f"qdrant:{tmp_path}", PLAIN)
    engine.close()
    engine.close()
    assert not (tmp_path / "owner").exists()
    with pytest.raises(ValueError, match="was closed"):
        len(engine)


# -- a server ---------------------------------------------------------------------------------


def test_a_server_that_is_not_there_is_named():
    uri = "qdrant+http://127.0.0.1:1/photos"
    with pytest.raises(ConnectionError, match=re.escape(f"{uri}: ")):
        open_store(uri, PLAIN)


def test_a_collection_of_another_program_is_refused(server):
    _, address = server
    client = QdrantClient(address.removeprefix("qdrant+"), check_compatibility=False)
    client.create_collection("photos", vectors_config={})
    with pytest.raises(ValueError, match="has no stamp"):
        open_store(f"{address}/photos", PLAIN)


def test_what_a_server_refuses_is_an_error_with_its_address(server):
    engine = open_store(f"{server[1]}/photos", PLAIN)
    engine.name = "other"
    with pytest.raises(ValueError, match=re.escape(f"{server[1]}/photos: ") + ".*not found"):
        len(engine)


@pytest.mark.parametrize("uri", ["qdrant+http://host", "qdrant+http:///photos", "qdrant:"])
def test_an_address_that_lacks_a_part_is_refused(uri):
    with pytest.raises(ValueError, match="is not of the form"):
        open_store(uri, PLAIN)


def test_an_address_holds_no_key_and_an_error_does_not_print_it():
    with pytest.raises(ValueError, match="QDRANT_API_KEY") as refused:
        open_store("qdrant+https://me:secret@host/photos", PLAIN)
    assert "secret" not in str(refused.value)
