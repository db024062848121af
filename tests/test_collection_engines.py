"""Engines: ours obey the rules of all engines, and those with a fault are caught by the rule."""

import itertools
import shutil
import unicodedata
import warnings

import numpy as np
import pytest
import wrong_stores
from hypothesis import given
from hypothesis import strategies as st

from sklearn_cmac.collection import STORES, ExactEngine, FlatEngine, RegionTable, Stamp
from sklearn_cmac.collection._scores import top_rows
from sklearn_cmac.maps import RegionVectors
from sklearn_cmac.testing import _engine_address as address
from sklearn_cmac.testing import _engine_keeping as keeping
from sklearn_cmac.testing import check_engine, check_store

# -- the rules --------------------------------------------------------------------------------


def test_the_exact_engine_passes():
    check_engine(lambda stamp, folder: ExactEngine(stamp))


def test_the_flat_engine_passes(tmp_path):
    numbers = itertools.count()
    check_store(lambda: str(tmp_path / str(next(numbers))))


class Wrong(ExactEngine):
    """An engine in memory, of which each of those below has one fault."""

    def __init__(self, stamp, folder=None):
        super().__init__(stamp)

    def sorted_by(self, key, descriptors, among=None):
        """All hits, best first, equal scores in the order of what key says of ids."""
        for ids, scores in zip(*super().kneighbors(descriptors, len(self), among)):
            order = sorted(range(len(ids)), key=lambda i: (-scores[i], key(ids[i])))
            yield ids[order], scores[order]

    def stacked(self, hits, k):
        ids, scores = zip(*((ids[:k], scores[:k]) for ids, scores in hits))
        return np.stack(ids), np.stack(scores)


class Cosine(Wrong):
    def kneighbors(self, descriptors, k, among=None):
        lengths = np.linalg.norm(descriptors, axis=1, keepdims=True)
        return super().kneighbors(descriptors / np.maximum(lengths, 1e-9), k, among)


class Distance(Wrong):
    def kneighbors(self, descriptors, k, among=None):
        ids, scores = super().kneighbors(descriptors, k, among)
        return ids, np.abs(scores)


class ScoresInDouble(Wrong):
    def kneighbors(self, descriptors, k, among=None):
        ids, scores = super().kneighbors(descriptors, k, among)
        return ids, scores.astype(float)


class WorstFirst(Wrong):
    def kneighbors(self, descriptors, k, among=None):
        return tuple(part[:, ::-1] for part in super().kneighbors(descriptors, k, among))


class OneTooFew(Wrong):
    def kneighbors(self, descriptors, k, among=None):
        return super().kneighbors(descriptors, max(k - 1, 0), among)


class TiesByInsertion(Wrong):
    def kneighbors(self, descriptors, k, among=None):
        if not len(descriptors) or not len(self):
            return super().kneighbors(descriptors, k, among)
        return self.stacked(self.sorted_by(self._row_of.get, descriptors, among), k)


class TiesByLocale(TiesByInsertion):
    def sorted_by(self, key, descriptors, among=None):
        return super().sorted_by(str.lower, descriptors, among)


class TiesOfTheFirstK(Wrong):
    """Of equal scores at the k-th place those that were added first, and these by id."""

    def kneighbors(self, descriptors, k, among=None):
        if not len(descriptors) or not len(self):
            return super().kneighbors(descriptors, k, among)
        hits = self.sorted_by(self._row_of.get, descriptors, among)
        first = [(ids[:k], scores[:k]) for ids, scores in hits]
        orders = [np.lexsort((ids.astype(str), -scores)) for ids, scores in first]
        return self.stacked(
            [(ids[order], scores[order]) for (ids, scores), order in zip(first, orders)], k
        )


class OneWriteBehind(Wrong):
    """The first search after a write does not know of it."""

    before = None

    def upsert(self, *given):
        self.before = ExactEngine(self.stamp)
        for ids, rows in self.scan():
            self.before.upsert(ids, rows, self.get_regions(ids) if self.stamp.regions else None)
        super().upsert(*given)

    def kneighbors(self, descriptors, k, among=None):
        before, self.before = self.before, None
        known = before if before is not None and len(before) else super()
        return known.kneighbors(descriptors, k, among)


class AmongIsIgnored(Wrong):
    def kneighbors(self, descriptors, k, among=None):
        return super().kneighbors(descriptors, k)


class AmongMustBeKnown(Wrong):
    def _rows_among(self, ids):
        return np.unique(self._find(ids))


class NoneIsAll(Wrong):
    """Among no ids, all are found."""

    def kneighbors(self, descriptors, k, among=None):
        return super().kneighbors(descriptors, k, among if among is None or len(among) else None)


class AtLeastOne(Wrong):
    def kneighbors(self, descriptors, k, among=None):
        return super().kneighbors(descriptors, max(k, 1), among)


class FewQueries(Wrong):
    """Queries after the 512th are answered as the first are."""

    def kneighbors(self, descriptors, k, among=None):
        part = descriptors[np.arange(len(descriptors)) % 512]
        return super().kneighbors(part, k, among)


class WeightsOfQueriesIgnored(Wrong):
    def match(self, queries, k, candidates=None):
        return super().match([RegionVectors(q.vectors) for q in queries], k, candidates)


class WeightsOfQueriesSummed(Wrong):
    def match(self, queries, k, candidates=None):
        sums = [1 if q.weights is None else q.weights.sum() for q in queries]
        found = super().match(queries, k, candidates)
        return [(ids, scores * total) for (ids, scores), total in zip(found, sums)]


class WeightsOfPhotosLost(Wrong):
    def get_regions(self, ids):
        table = super().get_regions(ids)
        return RegionTable(table.vectors, np.ones_like(table.weights), table.indptr)


class CandidatesById(Wrong):
    def match(self, queries, k, candidates=None):
        return super().match(queries, k, candidates and [sorted(ids) for ids in candidates])


class WithoutRegionsZero(Wrong):
    """Photos without regions are ranked as if their score were 0."""

    def match(self, queries, k, candidates=None):
        found = super().match(queries, k, candidates)
        empty = [id_ for id_ in self._row_of if not len(self.get_regions([id_])[0])]
        zeros = np.zeros(len(empty), np.float32)
        joined = [(np.append(ids, empty), np.append(scores, zeros)) for ids, scores in found]
        best = [np.argsort(-scores, kind="stable")[:k] for _, scores in joined]
        return [(ids[order], scores[order]) for (ids, scores), order in zip(joined, best)]


class WithNormalIds(Wrong):
    """Ids are changed to a normal form before they are kept."""

    normal = staticmethod(str.strip)

    def upsert(self, ids, descriptors, regions=None):
        super().upsert([self.normal(id_) for id_ in ids], descriptors, regions)

    def delete(self, ids):
        super().delete([self.normal(id_) for id_ in ids])

    def _find(self, ids, absent=None):
        return super()._find([self.normal(id_) for id_ in ids], absent)

    def __contains__(self, id_):
        return super().__contains__(self.normal(id_))


class OfSmallLetters(WithNormalIds):
    normal = staticmethod(str.lower)


class Composed(WithNormalIds):
    @staticmethod
    def normal(id_):
        return unicodedata.normalize("NFC", id_)


class OfPaths(WithNormalIds):
    normal = staticmethod(lambda id_: id_.replace("\\", "/"))


class Cut(WithNormalIds):
    normal = staticmethod(lambda id_: id_[:255])


class Appends(Wrong):
    """What is replaced is still found."""

    def upsert(self, ids, descriptors, regions=None):
        hidden = self._hidden().copy()
        super().upsert(ids, descriptors, regions)
        self._hidden()[: len(hidden)] = hidden


class KeepsRegions(Wrong):
    """Photos without regions keep those that they had."""

    def upsert(self, ids, descriptors, regions=None):
        if regions is not None and len(regions) == len(ids):
            known = [id_ in self for id_ in ids]
            old = {i: self.get_regions([ids[i]])[0] for i in np.flatnonzero(known)}
            each = [old[i] if i in old and not len(own) else own for i, own in enumerate(regions)]
            regions = RegionTable.of(each, regions.vectors.shape[1])
        super().upsert(ids, descriptors, regions)


class AsGiven(Wrong):
    """The given array itself is kept, until the next."""

    given = None

    def upsert(self, ids, descriptors, regions=None):
        super().upsert(ids, descriptors, regions)
        self.given = descriptors

    def _descriptors(self):
        rows = super()._descriptors()
        if self.given is not None:
            rows[len(rows) - len(self.given) :] = self.given
        return rows


class TwiceIsOnce(Wrong):
    """Of an id that is given twice, the last counts."""

    def upsert(self, ids, descriptors, regions=None):
        last = sorted({id_: i for i, id_ in enumerate(ids)}.values())
        if len(last) == len(ids):
            super().upsert(ids, descriptors, regions)
        else:
            table = None if regions is None else regions.take(last)
            super().upsert([ids[i] for i in last], descriptors[last], table)


class HalfABatch(Wrong):
    """The first photo is kept before the others are looked at."""

    def upsert(self, ids, descriptors, regions=None):
        first = None if regions is None else regions.take([0]) if len(regions) else regions
        if len(ids) and np.shape(descriptors)[1] == self.stamp.dimension:
            super().upsert(ids[:1], descriptors[:1], first)
        super().upsert(ids, descriptors, regions)


class AnyDimension(Wrong):
    """What is too long is cut."""

    def upsert(self, ids, descriptors, regions=None):
        super().upsert(ids, descriptors[:, : self.stamp.dimension], regions)


class Unexplained(Wrong):
    def upsert(self, *given):
        try:
            super().upsert(*given)
        except ValueError:
            raise ValueError("these do not fit") from None


class DeletedInMatch(Wrong):
    def _live(self):
        return np.arange(len(self._rows("ids")))


class DeletedAmong(Wrong):
    """What was deleted is there for whoever asks for it by name."""

    gone = ()

    def delete(self, ids):
        self.gone = {**dict(self.gone), **{id_: self._row_of.get(id_) for id_ in ids}}
        super().delete(ids)

    def get(self, ids):
        rows = [self._row_of.get(id_, dict(self.gone).get(id_)) for id_ in ids]
        return super().get(ids) if None in rows else self._descriptors()[np.array(rows, int)]


class DeletesKnownOnly(Wrong):
    def delete(self, ids):
        if unknown := [id_ for id_ in ids if id_ not in self and id_ == "nobody"]:
            raise KeyError(unknown[0])
        super().delete(ids)


class ScansTwice(Wrong):
    def scan(self, batch_size=1024):
        for ids, rows in super().scan(batch_size):
            yield ids, rows
            if batch_size == 21:
                yield ids, rows


class ScansFullBatches(Wrong):
    """The last batch, which is not full, is lost."""

    def scan(self, batch_size=1024):
        return (batch for batch in super().scan(batch_size) if len(batch[0]) == batch_size)


@pytest.mark.parametrize(
    ("wrong", "rule"),
    [
        (Cosine, "scores are plain dot products"),
        (Distance, "scores are plain dot products"),
        (ScoresInDouble, "scores are float32"),
        (WorstFirst, "best first"),
        (OneTooFew, "all are found, best first"),
        (TiesByInsertion, "equal scores come in the order of ids as texts|score 0 with all"),
        (TiesByLocale, "equal scores come in the order of ids as texts, code point by code point"),
        (TiesOfTheFirstK, "equal scores come in the order of ids as texts"),
        (OneWriteBehind, "the first search after a write knows of it"),
        (AmongIsIgnored, "among given ids"),
        (AmongMustBeKnown, "What was deleted is not found, .* raised KeyError"),
        (NoneIsAll, r"among \[\], nothing is found"),
        (AtLeastOne, r"k=0 have shape \(0, 0\)"),
        (FewQueries, "of 600 queries each finds the 3 nearest"),
        (WeightsOfQueriesIgnored, "region matching finds|count by their share"),
        (WeightsOfQueriesSummed, "region matching finds|count by their share"),
        (WeightsOfPhotosLost, "get_regions gives the regions of .* with their weights"),
        (CandidatesById, "equal scores in the order of candidates"),
        (WithoutRegionsZero, "region matching finds|without regions are left out"),
        (WithNormalIds, "Ids are any texts"),
        (OfSmallLetters, "Ids are any texts"),
        (Composed, "Ids are any texts"),
        (OfPaths, "Ids are any texts"),
        (Cut, "Ids are any texts"),
        (Appends, "an upsert of the same again leaves one of each id"),
        (KeepsRegions, "an upsert replaces the descriptor and all regions"),
        (AsGiven, "whatever becomes of the given arrays"),
        (TwiceIsOnce, "an id twice is refused with a ValueError: it raised nothing"),
        (HalfABatch, "and nothing is changed"),
        (AnyDimension, "another dimension are refused: .*it raised nothing"),
        (Unexplained, "the error does not say 12, 13: these do not fit"),
        (DeletedInMatch, "region matching finds"),
        (DeletedAmong, "get of an id that is not there is a KeyError"),
        (DeletesKnownOnly, "can be added again. This one raised KeyError"),
        (ScansTwice, "in batches of 21 passes over each id once"),
        (ScansFullBatches, "a scan passes over each id once"),
    ],
)
def test_an_engine_with_a_fault_is_caught_by_the_rule(wrong, rule):
    with pytest.raises(AssertionError, match=rule):
        check_engine(wrong)


@pytest.mark.parametrize(
    ("wrong", "rule", "message"),
    [
        ("AcknowledgesTooSoon", address.rule_killed_writer, "acknowledged is there after a kill"),
        ("AcknowledgesTooSoon", address.rule_reader, "a reader in another process sees what is"),
        ("RowByRow", address.rule_killed_writer, "all is there or nothing"),
        ("WithoutLock", address.rule_two_writers, "a second writer is refused.*got no error"),
        ("Nameless", address.rule_two_writers, "names the process of the first, .*somebody"),
        ("OfAnyStamp", address.rule_other_stamps, "vectors of another pipeline are refused"),
        ("MakesAnyway", address.rule_nothing_there, "a FileNotFoundError"),
        ("Stale", address.rule_reader, "a reader in another process sees what is acknowledged"),
        ("PicklesWhole", address.rule_pickle, "pickles as the address, not as what is kept"),
        ("BringsBack", keeping.rule_deleted, "what was deleted is not found"),
    ],
)
def test_a_store_with_a_fault_is_caught_by_the_rule(tmp_path, monkeypatch, wrong, rule, message):
    monkeypatch.setitem(STORES, "wrong", (wrong_stores.__name__, wrong))
    numbers = itertools.count()
    case = address.StoreCase(
        lambda: f"wrong:{tmp_path / str(next(numbers))}",
        Stamp("pipeline A", 12, regions=True),
        tolerance=1e-5,
        single_writer=True,
        readers=True,
    )
    with pytest.raises(AssertionError, match=message):
        rule(case)
    case.engine.close()


# -- how they compute and keep ----------------------------------------------------------------


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=40), st.integers(1, 50))
def test_the_highest_rows_are_those_of_a_stable_sort(scores, k):
    scores = np.array(scores, np.float32)
    expected = sorted(range(len(scores)), key=lambda row: (-scores[row], row))[:k]
    assert top_rows(scores, k)[:k].tolist() == expected


def test_neighbours_are_those_of_plain_arithmetic(rng):
    rows, query = rng.standard_normal((50, 6)).astype("f4"), rng.standard_normal(6)
    engine = ExactEngine(Stamp("p", 6))
    engine.upsert([str(i) for i in range(50)], rows)
    (ids,), (scores,) = engine.kneighbors(query[None], 4)
    products = [(sum(a * b for a, b in zip(row, query)), i) for i, row in enumerate(rows)]
    products.sort(reverse=True)
    assert ids.tolist() == [str(i) for _, i in products[:4]]
    np.testing.assert_allclose(scores, [product for product, _ in products[:4]], rtol=1e-5)


@pytest.mark.filterwarnings("ignore:.*is damaged")
@pytest.mark.parametrize(
    ("name", "step"),  # between bytes
    # All bytes of the arrays; of the catalogue, which is mostly empty pages, some.
    [
        ("descriptors-1.f32", 1),
        ("vectors-1.f16", 1),
        ("weights-1.f32", 1),
        ("catalogue.sqlite", 97),
    ],
)
def test_damage_of_any_byte_is_noticed_and_nothing_wrong_is_answered(tmp_path, rng, name, step):
    """Each byte in turn: the photos that it took count as absent, and are added again."""
    rows, ids = rng.standard_normal((3, 4)).astype("f4"), np.array(["a", "b", "c"])
    stamp, whole, folder = Stamp("p", 4, regions=True), tmp_path / "whole", tmp_path / "damaged"
    own = [RegionVectors(rows[i : i + 1], np.full(1, i + 2.0)) for i in range(3)]
    table = RegionTable.of(own, 4)
    engine = FlatEngine(whole, stamp)
    engine.upsert(ids, rows, table)
    engine.close()
    content, noticed = (whole / name).read_bytes(), 0
    positions = range(0, len(content), step)
    for position in positions:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(whole, folder)
        damaged = bytearray(content)
        damaged[position] ^= 0x5A
        (folder / name).write_bytes(damaged)
        try:
            found = FlatEngine(folder, stamp)
            found.check()
            there = np.array([id_ in found for id_ in ids])
            mine, right = found.get_regions(ids[there]), table.take(np.flatnonzero(there))
            np.testing.assert_array_equal(found.get(ids[there]), rows[there])
        except ValueError as error:
            assert str(folder) in str(error)
            noticed += 1
            continue
        np.testing.assert_array_equal(mine.vectors, right.vectors)
        np.testing.assert_array_equal(mine.weights, right.weights)
        noticed += not there.all()
        found.upsert(ids[~there], rows[~there], table.take(np.flatnonzero(~there)))
        np.testing.assert_array_equal(found.get(ids), rows)
        found.close()
    assert noticed >= (len(positions) if step == 1 else 5)


def test_a_commit_that_was_not_taken_note_of_is_not_written_over(tmp_path, monkeypatch):
    """Ctrl-C between the commit and the note of it: the next rows took the place of these."""
    engine = FlatEngine(tmp_path, Stamp("p", 2))
    rows = np.eye(2, dtype=np.float32)

    def interrupted(self, dead, ids):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(FlatEngine, "_forget", interrupted)
        with pytest.raises(KeyboardInterrupt):
            engine.upsert(["a"], rows[:1])
    engine.upsert(["b"], rows[1:])
    np.testing.assert_array_equal(engine.get(["a", "b"]), rows)
    assert engine.check() == []


def test_a_reader_that_had_not_read_yet_when_files_were_exchanged(tmp_path):
    writer = FlatEngine(tmp_path, Stamp("p", 2))
    writer.upsert(["a", "b", "c"], np.eye(3, 2, dtype=np.float32))
    reader = FlatEngine(tmp_path, read_only=True)
    assert len(reader) == 3
    writer.delete(["a"])
    reader._sync = lambda: None  # it looked just before
    writer.compact()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (ids,), _ = reader.kneighbors(np.ones((1, 2), np.float32), 3)
    assert sorted(ids) == ["b", "c"]
