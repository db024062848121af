"""Photos in flow: in order, few under way, and nothing begun after a stop."""

import threading
import time

import joblib
import numpy as np
import pytest
from joblib.parallel import ThreadingBackend

from sklearn_cmac import make_cmac_pipeline, make_rmac_pipeline
from sklearn_cmac._flow import Threads, in_order, is_worker
from sklearn_cmac.search import describe_collection

SMALL = {"features__max_size": 128, "features__scales": (1.0,), "whiten__n_components": 8}


@pytest.mark.parametrize("n_jobs", [1, 3])
def test_results_come_in_the_order_of_the_items(n_jobs):
    def slow_first(i):
        time.sleep(0.02 * (5 - i))
        return i

    with Threads(n_jobs) as threads:
        assert list(threads.each(slow_first, range(6))) == list(range(6))


def test_few_items_are_under_way_however_slow_the_consumer():
    begun = []
    with Threads(2) as threads:
        results = threads.each(begun.append, range(100))
        next(results)
        time.sleep(0.1)
        assert len(begun) <= 6


def test_work_on_two_items_overlaps():
    meet = threading.Barrier(2, timeout=30)
    with Threads(2) as threads:
        assert len(list(threads.each(lambda _: meet.wait(), range(4)))) == 4


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_an_error_ends_the_flow_and_what_has_not_begun_never_does(n_jobs):
    begun = []

    def work(i):
        begun.append(i)
        time.sleep(0.02)
        if i == 1:
            raise KeyboardInterrupt
        return i

    with pytest.raises(KeyboardInterrupt), Threads(n_jobs) as threads:
        list(threads.each(work, range(100)))
    assert len(begun) < 10


class ListsOnly(ThreadingBackend):
    """As Ray's backend of joblib: it yields no results one by one."""

    supports_return_generator = False
    supports_sharedmem = False


@pytest.mark.parametrize("backend", ["threading", "sequential", "loky", ListsOnly()])
def test_tasks_are_done_in_order_by_any_backend_and_few_are_taken(backend):
    taken = []
    tasks = (joblib.delayed(pow)(i, 2) for i in range(100) if not taken.append(i))
    with joblib.parallel_config(backend, n_jobs=2):
        results = in_order(tasks)
        assert next(results) == 0
        if isinstance(backend, ListsOnly):
            assert taken == list(range(8))
        assert list(results) == [i**2 for i in range(1, 100)]


def test_tasks_of_a_worker_run_in_its_thread():
    def inner(_):
        tasks = (joblib.delayed(threading.get_ident)() for _ in range(3))
        return {threading.get_ident(), *in_order(tasks, n_jobs=4)}

    with joblib.parallel_config("threading"), Threads(2) as threads:
        assert all(len(idents) == 1 for idents in threads.each(inner, range(3)))


def test_a_worker_starts_no_threads_of_its_own():
    def inner(_):
        with Threads(4) as threads:
            return threads.n, is_worker()

    with Threads(2) as threads:
        assert set(threads.each(inner, range(3))) == {(1, True)}
    assert not is_worker()


def test_the_number_of_threads_is_joblibs():
    with joblib.parallel_config(n_jobs=3), Threads(None) as threads:
        assert threads.n == 3
    with Threads(None) as threads:
        assert threads.n == 1


@pytest.fixture(scope="module")
def photos():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 255, (96, 128, 3), np.uint8) for _ in range(9)]


@pytest.mark.parametrize("make", [make_rmac_pipeline, make_cmac_pipeline])
@pytest.mark.filterwarnings("ignore:whitening .* dimensions", "ignore:.* keeps")
def test_threads_change_no_bit_of_a_description(make, photos):
    pipeline = make(**SMALL).fit(photos[:4])
    hostile = [*photos[:3], b"no photo", *photos[3:], photos[0]]  # the last is a copy
    described = []
    for n_jobs in (1, 2, 4):
        pipeline.set_params(features__n_jobs=n_jobs)
        found = describe_collection(pipeline, hostile, regions=True, batch_size=4)
        assert list(found.failed) == [3]
        assert found.ids[0] == found.ids[-1]
        described.append(found.engine)
    first, *others = described
    ids = [id_ for id_ in found.ids if id_]
    for other in others:
        np.testing.assert_array_equal(first.get(ids), other.get(ids))
        one, two = first.get_regions(ids), other.get_regions(ids)
        np.testing.assert_array_equal(one.vectors, two.vectors)


@pytest.mark.filterwarnings("ignore:whitening .* dimensions", "ignore:.* keeps")
def test_draws_from_a_generator_are_made_in_order(photos):
    described = []
    for n_jobs in (1, 4):
        pipeline = make_cmac_pipeline(
            **SMALL, regions__random_state=np.random.RandomState(3), features__n_jobs=n_jobs
        )
        found = describe_collection(pipeline.fit(photos[:4]), photos)
        described.append(found.engine.get(found.ids))
    np.testing.assert_array_equal(*described)


@pytest.mark.filterwarnings("ignore:whitening .* dimensions", "ignore:.* keeps")
def test_what_was_described_when_it_was_stopped_is_kept(photos, tmp_path):
    pipeline = make_rmac_pipeline(**SMALL, features__n_jobs=2).fit(photos[:4])
    seen = []

    def stop(id_, record):
        seen.append(id_)
        if len(seen) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        describe_collection(pipeline, photos, folder=tmp_path, batch_size=32, witness=stop)
    seen.clear()
    described = describe_collection(
        pipeline, photos, folder=tmp_path, witness=lambda id_, record: seen.append(id_)
    )
    assert 0 < len(seen) <= 6  # three were kept, of nine
    assert len(described.engine) == 9
