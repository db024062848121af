"""The engine in PostgreSQL, on a server of its own: what it finds, keeps and refuses."""

import itertools
import pickle
import signal
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from sklearn_cmac.collection import ExactEngine, InUseError, RegionTable, Stamp, open_store
from sklearn_cmac.maps import RegionVectors
from sklearn_cmac.testing import check_engine, check_store

psycopg = pytest.importorskip("psycopg", reason="psycopg is not installed: sklearn-cmac[pg]")

STAMP = Stamp("a pipeline", dimension=4)
TABLES = itertools.count()


def with_options(uri, **options):
    pairs = "&".join(f"{name}={value}" for name, value in options.items())
    return f"{uri}{'&' if '?' in uri else '?'}{pairs}"


@pytest.fixture
def sql(postgresql):
    """Runs a command on the postgresql, beside the engines."""
    with psycopg.connect(postgresql, autocommit=True) as connection:
        yield connection.execute


@pytest.fixture
def address(postgresql):
    """Of an engine that is not there yet."""
    return with_options(postgresql, table=f"photos_{next(TABLES)}")


def name_in(address):
    return address.rpartition("table=")[2]


def unit(rng, *shape):
    rows = rng.standard_normal(shape).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def both(address, ids, descriptors, regions=None):
    """The engine and the oracle with the same rows."""
    stamp = Stamp("a pipeline", descriptors.shape[1], regions is not None)
    engines = open_store(address, stamp), ExactEngine(stamp)
    for engine in engines:
        engine.upsert(ids, descriptors, regions)
    return engines


# -- what it finds --------------------------------------------------------------------------------


def test_it_obeys_the_rules_of_all_engines(postgresql):
    check_store(
        lambda: with_options(postgresql, table=f"photos_{next(TABLES)}"), single_writer=False
    )


def test_with_a_graph_of_enough_candidates_it_obeys_them_too(postgresql):
    def make(stamp, folder):
        options = {"table": f"photos_{next(TABLES)}", "hnsw": "true", "ef_search": 1000}
        return open_store(with_options(postgresql, **options), stamp)

    check_engine(make)


def test_lengths_and_signs_of_scores_are_those_of_dot_products(address, rng):
    descriptors = 100 * rng.standard_normal((50, 4)).astype(np.float32)
    ids = [f"photo {i}" for i in range(50)]
    engine, _ = both(address, ids, descriptors)
    query = descriptors[0]
    found, scores = engine.kneighbors([query], 10**9)
    products = descriptors.astype(float) @ query
    assert found[0].tolist() == [ids[i] for i in np.argsort(-products)]
    np.testing.assert_allclose(scores[0], np.sort(products)[::-1], rtol=1e-4, atol=1e-2)
    assert scores[0][-1] < 0


def test_equal_scores_come_in_the_order_of_code_points(address, sql):
    ids = ["b", "é", "Z", "a", "𝔸", "B", "z", "￿", "aa", "ä", "_", ""]
    engine, oracle = both(address, ids, np.ones((len(ids), 4), np.float32))
    query = np.ones((1, 4), np.float32)
    for k in (3, len(ids)):
        assert engine.kneighbors(query, k)[0][0].tolist() == sorted(ids)[:k]
    assert (oracle.kneighbors(query, 5)[0] == engine.kneighbors(query, 5)[0]).all()
    # Whatever the order of the database is, which here is that of code points too.
    ((collation,), *_) = sql(f"SELECT collation for (id) FROM {name_in(address)}").fetchall()
    assert collation == '"C"'


def test_only_ids_that_are_asked_for_are_found(address, rng):
    ids, rows = [f"photo {i}" for i in range(30)], unit(rng, 30, 4)
    for engine in both(with_options(address, hnsw="true"), ids, rows):
        found, scores = engine.kneighbors(rows[:2], 20, among=[*ids[5:9], ids[5], "nobody"])
        assert found.shape == scores.shape == (2, 4)
        assert set(found[0]) == set(ids[5:9])
        assert engine.kneighbors(rows[:2], 3, among=[])[0].shape == (2, 0)
        assert engine.kneighbors(rows[:0], 3, among=ids)[0].shape == (0, 3)


def test_photos_without_regions_are_not_matched(address, rng):
    photos = [RegionVectors(unit(rng, n, 4), np.ones(n, np.float32)) for n in (2, 0, 3, 0)]
    table, ids = RegionTable.of(photos, 4), ["a", "b", "c", "d"]
    engine, oracle = both(address, ids, unit(rng, 4, 4), table)
    asked = [RegionVectors(unit(rng, 2, 4), np.array([1.0, 3.0]))]
    for candidates in (None, [["d", "c", "b", "nobody", "a"]]):
        ((found, scores),) = engine.match(asked, 9, candidates)
        ((expected, exact),) = oracle.match(asked, 9, candidates)
        assert found.tolist() == expected.tolist()
        np.testing.assert_allclose(scores, exact, atol=1e-3)
    assert engine.match(asked, 9, [["b", "d"]])[0][0].tolist() == []
    assert engine.get_regions(["b", "a", "b"]).counts.tolist() == [0, 2, 0]


def made_clusters(rng, n, dimension=32):
    centres = unit(rng, 20, dimension)
    return unit_rows(centres[rng.integers(0, 20, n)] + 0.1 * rng.standard_normal((n, dimension)))


def unit_rows(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_a_graph_finds_what_is_nearest(address, sql, rng):
    rows = made_clusters(rng, 1500)
    ids = [f"photo {i}" for i in range(len(rows))]
    # Few rows are compared one by one unless that is forbidden.
    asked = with_options(address, hnsw="true", ef_search=500, options="-cenable_seqscan%3Doff")
    engine, oracle = both(asked, ids, rows)
    queries = rows[::100]
    found, scores = engine.kneighbors(queries, 10)
    expected, exact = oracle.kneighbors(queries, 10)
    hits = sum(len(set(one) & set(other)) for one, other in zip(found, expected))
    assert hits >= 0.99 * expected.size
    # Scores are of single precision: half would be off by 1e-4.
    right = [i for i in range(len(queries)) if found[i].tolist() == expected[i].tolist()]
    np.testing.assert_allclose(scores[right], exact[right], atol=1e-6)
    assert len(right) > 0.8 * len(queries)
    engine.close()
    used = "SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = %s"
    name = f"{name_in(address)}_hnsw"
    assert wait_for(lambda: sql(used, (name,)).fetchone()[0] >= len(queries)), "it was searched"


def wait_for(holds, seconds=20):
    deadline = time.monotonic() + seconds
    while not (held := holds()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return held


def test_a_graph_whose_photos_are_deleted_finds_those_that_are_left(address, rng):
    rows = made_clusters(rng, 600)
    ids = [f"photo {i}" for i in range(len(rows))]
    asked = with_options(address, hnsw="true", ef_search=20, options="-cenable_seqscan%3Doff")
    engines = both(asked, ids, rows)
    for engine in engines:
        engine.delete(ids[:-15])
    found, expected = (engine.kneighbors(rows[:4], 10)[0] for engine in engines)
    assert found.tolist() == expected.tolist()


# -- what it keeps --------------------------------------------------------------------------------


def test_what_was_written_is_there_when_it_is_opened_again(address, rng):
    rows = unit(rng, 3, 4)
    engine = open_store(address, STAMP)
    engine.upsert(["b", "a"], rows[:2])
    engine.upsert(["c", "b"], rows[[2, 0]])
    engine.close()
    again = open_store(address)
    assert again.stamp == STAMP
    assert [ids for ids, _ in again.scan(2)] == [["a", "c"], ["b"]]
    np.testing.assert_array_equal(again.get(["b", "a", "c"]), rows)
    with pytest.raises(OSError, match="was closed"):
        len(engine)


def test_a_search_sees_what_another_has_written(address, rng):
    one, other = open_store(address, STAMP), open_store(address, STAMP)
    row = unit(rng, 1, 4)
    one.upsert(["new"], row)
    assert other.kneighbors(row, 1)[0].tolist() == [["new"]]
    other.delete(["new"])
    assert one.kneighbors(row, 1)[0].shape == (1, 0)


def test_a_scan_is_of_the_moment_in_which_it_began(address, rng):
    engine = open_store(address, STAMP)
    engine.upsert(["a", "b", "c", "d"], unit(rng, 4, 4))
    batches = engine.scan(2)
    seen = next(batches)[0]
    engine.upsert(["a", "e"], unit(rng, 2, 4))
    engine.delete(["d"])
    assert [*seen, *next(batches)[0]] == ["a", "b", "c", "d"]
    assert list(batches) == []


STRANGE = [
    "",
    " ",
    "'; DROP TABLE photos; --",
    '"',
    "%s",
    "{table}",
    "\\",
    "a\nb",
    "∅ 𝔸",
    "x" * 2000,
]


def test_ids_and_tables_may_be_any_texts(postgresql, rng):
    table = 'Photos "of; %25s {table}'
    rows = unit(rng, len(STRANGE), 4)
    engine = open_store(with_options(postgresql, table=table), STAMP)
    engine.upsert(STRANGE, rows)
    np.testing.assert_array_equal(engine.get(STRANGE), rows)
    assert set(engine.kneighbors(rows[:1], 100)[0][0]) == set(STRANGE)
    engine.delete(STRANGE[1:])
    assert "" in engine
    assert len(engine) == 1


@pytest.mark.parametrize("bad", ["a\0b", "photo\ud800"])
def test_ids_that_the_database_cannot_hold_are_named(address, rng, bad):
    engine = open_store(address, STAMP)
    with pytest.raises(ValueError, match="NUL") as caught:
        engine.upsert(["good", bad], unit(rng, 2, 4))
    assert repr(bad) in str(caught.value)
    assert len(engine) == 0
    assert bad not in engine
    engine.delete([bad])
    with pytest.raises(KeyError):
        engine.get([bad])


def test_an_id_that_is_too_long_is_refused(address, rng):
    letters = [chr(code) for code in rng.integers(33, 127, 3000)]
    engine = open_store(address, STAMP)
    engine.upsert(["".join(letters[:2600])], unit(rng, 1, 4))
    with pytest.raises(ValueError, match="maximum 2704"):
        engine.upsert(["".join(letters)], unit(rng, 1, 4))
    assert len(engine) == 1


def test_numbers_that_are_none_are_refused_as_a_whole(address, rng):
    engine = open_store(address, STAMP)
    rows = unit(rng, 3, 4)
    rows[1, 2] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        engine.upsert(["a", "b", "c"], rows)
    assert len(engine) == 0


def test_a_copy_opens_the_same_table(address, rng):
    rows = unit(rng, 2, 4)
    engine = open_store(address, STAMP, read_only=False, timeout=3.0)
    engine.upsert(["a", "b"], rows)
    kept = pickle.dumps(engine)
    assert len(kept) < 1000
    copy = pickle.loads(kept)
    np.testing.assert_array_equal(copy.get(["a", "b"]), rows)
    copy.upsert(["c"], rows[:1])
    assert "c" in engine
    assert pickle.loads(pickle.dumps(open_store(address, read_only=True))).read_only


# -- several writers, and those that are killed ---------------------------------------------------


@pytest.mark.parametrize("write", ["upsert", "delete"])
def test_writers_of_the_same_ids_do_not_deadlock(address, postgresql, sql, write):
    ids = [f"photo {i}" for i in range(9)]
    engines = [open_store(address, STAMP, timeout=60) for _ in range(2)]
    engines[0].upsert(ids, np.ones((9, 4), np.float32))

    def work(engine, order):
        if write == "delete":
            engine.delete(order)
        else:
            engine.upsert(order, np.ones((9, 4), np.float32))
        return order

    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    with ThreadPoolExecutor() as threads, psycopg.connect(postgresql) as other:
        # Who comes from the one side and who comes from the other are both held up in the midst.
        other.execute(f"SELECT * FROM {name_in(address)} WHERE id = 'photo 4' FOR UPDATE")
        done = [threads.submit(work, *pair) for pair in zip(engines, (ids, ids[::-1]))]
        assert wait_for(lambda: sql(waiting).fetchone()[0] == 2)
        other.rollback()
        assert [each.result() for each in done] == [ids, ids[::-1]]
    assert len(engines[0]) == (0 if write == "delete" else 9)


def test_writers_at_once_leave_the_rows_of_both(address):
    engines = [open_store(address, STAMP, timeout=60) for _ in range(2)]

    def work(i):
        for j in range(20):
            ids = [f"writer {i} photo {j}", *(f"photo {k}" for k in range(20))]
            engines[i].upsert(ids, np.full((21, 4), i, np.float32))

    with ThreadPoolExecutor() as threads:
        list(threads.map(work, range(2)))
    assert len(engines[0]) == 60
    last = engines[0].get([f"photo {k}" for k in range(20)])
    assert len(np.unique(last)) == 1, "the last batch is there as a whole"


def test_an_answer_is_of_one_moment(address, rng, monkeypatch):
    table = RegionTable.of([RegionVectors(unit(rng, 2, 4))] * 3, 4)
    engine, oracle = both(address, ["a", "b", "c"], unit(rng, 3, 4), table)
    other, live = open_store(address), engine._live

    def list_and_lose():
        rows = live()
        other.delete(["b"])
        return rows

    monkeypatch.setattr(engine, "_live", list_and_lose)
    asked = [RegionVectors(unit(rng, 1, 4))]
    assert engine.match(asked, 3)[0][0].tolist() == oracle.match(asked, 3)[0][0].tolist()
    assert "b" not in engine


def test_threads_may_share_an_engine(address, rng):
    rows, ids = unit(rng, 20, 4), [f"photo {i}" for i in range(20)]
    engine = open_store(address, STAMP)

    def work(i):
        engine.upsert([ids[i]], rows[i : i + 1])
        return engine.kneighbors(rows[i : i + 1], 1)[0][0, 0]

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(work, range(20))) == ids


def test_who_waits_too_long_for_another_writer_is_told(address, postgresql, rng):
    engine = open_store(address, STAMP, timeout=0.2)
    engine.upsert(["a"], unit(rng, 1, 4))
    with psycopg.connect(postgresql) as other:
        other.execute(f"SELECT * FROM {name_in(address)} FOR UPDATE")
        with pytest.raises(InUseError, match=name_in(address)):
            engine.upsert(["a"], unit(rng, 1, 4))
    engine.upsert(["a"], unit(rng, 1, 4))


WRITER = """
    import os, signal, sys
    import numpy as np
    from sklearn_cmac.collection import open_store

    engine = open_store(sys.argv[1], timeout=60)
    engine.upsert([f"first {i}" for i in range(500)], np.ones((500, 4), np.float32))
    print("acknowledged", flush=True)
    if len(sys.argv) > 2:
        engine.upsert([f"second {i:03}" for i in range(500)], np.ones((500, 4), np.float32))
    os.kill(os.getpid(), signal.SIGKILL)
"""


def start_writer(*args):
    command = [sys.executable, "-c", textwrap.dedent(WRITER), *args]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL on Windows")
def test_what_was_acknowledged_survives_a_kill(address):
    engine = open_store(address, STAMP)
    with start_writer(address) as writer:
        assert writer.stdout.read() == "acknowledged\n"
    assert writer.returncode == -signal.SIGKILL
    assert len(engine) == 500


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL on Windows")
def test_of_a_batch_that_a_kill_interrupts_nothing_is_there(address, postgresql, sql):
    engine, table = open_store(address, STAMP), name_in(address)
    waiting = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    with psycopg.connect(postgresql) as other:
        # Another holds an id in the midst of the second batch, at which the writer waits.
        other.execute(f"INSERT INTO {table} VALUES ('second 250', -1, '[1,1,1,1]')")
        with start_writer(address, "twice") as writer:
            assert writer.stdout.readline() == "acknowledged\n"
            (pid,) = wait_for(lambda: sql(waiting).fetchone())
            writer.kill()
        other.rollback()
    running = "SELECT pid FROM pg_stat_activity WHERE pid = %s"
    assert wait_for(lambda: sql(running, (pid,)).fetchone() is None)
    assert len(engine) == 500
    assert "first 499" in engine
    assert not any(f"second {i:03}" in engine for i in range(500))


def test_a_lost_connection_is_an_error_once(address, sql, rng):
    engine = open_store(address, STAMP)
    row = unit(rng, 1, 4)
    engine.upsert(["a"], row)
    sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
    )
    with pytest.raises(OSError, match=f"table={name_in(address)}: "):
        engine.kneighbors(row, 1)
    assert engine.kneighbors(row, 1)[0].tolist() == [["a"]]


# -- what it refuses ------------------------------------------------------------------------------


def test_vectors_of_another_stamp_are_refused(address, sql):
    with pytest.raises(FileNotFoundError, match="no vectors are kept here"):
        open_store(address)
    open_store(address, STAMP).close()
    with pytest.raises(
        ValueError, match="of pipeline a pipeline, .* of pipeline another"
    ) as caught:
        open_store(address, Stamp("another", dimension=4))
    assert name_in(address) in str(caught.value)
    # Who drops the table begins anew.
    sql(f"DROP TABLE {name_in(address)}")
    with pytest.raises(FileNotFoundError):
        open_store(address)
    assert open_store(address, Stamp("another", dimension=4)).stamp.pipeline == "another"


def test_tables_of_others_are_left_alone(address, sql):
    table = name_in(address)
    sql(f"CREATE TABLE {table} (id text)")
    for stamp in (None, STAMP):
        with pytest.raises(ValueError, match="holds no vectors of this package"):
            open_store(address, stamp)


@pytest.mark.parametrize("stamp", ["", "{}", "[1]", '{"pipeline": "a", "code": 1}', "\\"])
def test_a_damaged_stamp_is_an_error_that_names_it(address, sql, stamp):
    open_store(address, STAMP).close()
    table = name_in(address)
    sql("UPDATE cmac_stamps SET stamp = %s WHERE table_name = %s", (stamp, table))
    with pytest.raises(ValueError, match=f"stamp of table '{table}' in cmac_stamps is damaged"):
        open_store(address)


def test_damaged_regions_are_an_error_that_names_the_photo(address, sql, rng):
    table = RegionTable.of([RegionVectors(unit(rng, 2, 4))], 4)
    engine, _ = both(address, ["church"], unit(rng, 1, 4), table)
    sql(f"UPDATE {name_in(address)} SET region_vectors = '\\x00'")
    with pytest.raises(ValueError, match="regions of 'church' are damaged"):
        engine.get_regions(["church"])


@pytest.mark.parametrize(
    ("dimension", "options", "said"),
    [
        (16_001, {}, "pgvector holds 1 to 16000 dimensions, and these descriptors have 16001"),
        (4_001, {"hnsw": "true"}, "hnsw index of half precision holds 1 to 4000 dimensions"),
        (0, {}, "have 0"),
    ],
)
def test_too_many_dimensions_are_refused(address, dimension, options, said):
    with pytest.raises(ValueError, match=said):
        open_store(with_options(address, **options), Stamp("a pipeline", dimension))
    with pytest.raises(FileNotFoundError):
        open_store(address)


@pytest.mark.parametrize("dimension", [1500, 1501, 16_000])
def test_long_descriptors_are_kept(address, rng, dimension):
    rows = unit(rng, 3, dimension)
    ids = ["a", "b", "x" * 500]
    engine, oracle = both(address, ids, rows)
    np.testing.assert_array_equal(engine.get(ids), rows)
    np.testing.assert_allclose(
        engine.kneighbors(rows, 3)[1], oracle.kneighbors(rows, 3)[1], atol=1e-5
    )


def test_an_engine_to_be_read_refuses_to_write(address, rng):
    row = unit(rng, 1, 4)
    with pytest.raises(FileNotFoundError):
        open_store(address, STAMP, read_only=True)
    open_store(address, STAMP).upsert(["a"], row)
    engine = open_store(with_options(address, hnsw="true"), STAMP, read_only=True)
    assert engine.kneighbors(row, 1)[0].tolist() == [["a"]]
    for write in (lambda: engine.upsert(["b"], row), lambda: engine.delete(["a"])):
        with pytest.raises(InUseError, match="read only"):
            write()
    assert len(engine) == 1


def test_a_database_without_pgvector_is_told_how_to_have_it(postgresql):
    with pytest.raises(ValueError, match="CREATE EXTENSION vector in the database"):
        open_store(postgresql.replace("/postgres?", "/bare?"), STAMP)


@pytest.mark.parametrize(
    ("uri", "error"),
    [
        ("postgresql://anna:pa55word@127.0.0.1:1/photos", OSError),
        ("postgresql://anna:pa55%23word@127.0.0.1:1/photos?password=pa55word", OSError),
        ("postgresql://anna@127.0.0.1:1/photos?password=pa55word&table=x", OSError),
        ("postgresql://anna:pa55@word@localhost/photos", ValueError),
        ("postgresql://anna:pa55/word@localhost/photos", ValueError),
        ("postgresql://anna:pa55?word@localhost/photos", ValueError),
        ("postgresql://anna:pa55word@localhost/photos?tabel=x", ValueError),
        ("postgresql://anna:pa55word@local%zz/photos", ValueError),
        ("postgresql://anna:pa55word@localhost:port/photos", OSError),
        ("postgresql://anna:pa55word@localhost/photos?table=", ValueError),
        ("postgresql://anna:pa55word@localhost/photos?hnsw=yes", ValueError),
        ("postgresql://anna:pa55word@localhost/photos?ef_search=1001", ValueError),
        (f"postgresql://anna:pa55word@localhost/photos?table={'x' * 51}", ValueError),
        ("postgresql:photos", ValueError),
    ],
)
def test_no_error_has_the_password(uri, error):
    with pytest.raises(error) as caught:
        open_store(uri, STAMP)
    chain, each = [], caught.value
    while each is not None:
        chain.append(str(each))
        each = each.__cause__ or each.__context__
    assert not any("pa55" in text or "word@" in text for text in chain)
    assert str(caught.value).startswith(("postgresql://anna@", "an address is"))


def test_a_pickle_has_no_password(postgresql):
    uri = with_options(postgresql.replace("postgres:@", "postgres:pa55word@"), table="secret")
    kept = pickle.dumps(open_store(uri, STAMP))
    assert b"table=secret" in kept
    assert b"pa55word" not in kept


def test_without_the_package_it_says_what_to_install(monkeypatch):
    monkeypatch.delitem(sys.modules, "sklearn_cmac.collection._pgvector", raising=False)
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ImportError, match=r"pip install sklearn-cmac\[pg\]"):
        open_store("postgresql://localhost/photos")
