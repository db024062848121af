"""Local features and their encoders, against calculations by hand and scikit-image."""

import builtins
import sys

import numpy as np
import pytest
from PIL import Image
from scipy import stats
from sklearn.frozen import FrozenEstimator

from sklearn_cmac import (
    VLAD,
    BagOfWords,
    FisherVector,
    LocalFeatureExtractor,
    LocalFeatures,
    Photo,
    PhotoError,
    Query,
    make_bow_pipeline,
    make_fisher_pipeline,
    make_vlad_pipeline,
)
from sklearn_cmac.datasets import as_benchmark, make_object_scenes
from sklearn_cmac.evaluation import evaluate
from sklearn_cmac.local import _extraction as extraction
from sklearn_cmac.local import count_words, sum_residuals
from sklearn_cmac.search import RetrievalIndex

BLANK = np.full((60, 80, 3), 200, np.uint8)


@pytest.fixture(scope="module")
def scenes():
    return make_object_scenes(n_objects=4, n_scenes=3, n_distractors=4, size=(320, 240))


@pytest.fixture(scope="module")
def features(scenes):
    return LocalFeatureExtractor(max_features=300).fit_transform(scenes.photos)


def unit(vector):
    return vector / np.linalg.norm(vector)


# -- features ---------------------------------------------------------------------------------


def draw_blobs(size, places, radius):
    """Dark round spots at (x, y) on a bright ground."""
    x, y = np.meshgrid(np.arange(size[0]) + 0.5, np.arange(size[1]) + 0.5)
    image = np.full((size[1], size[0]), 255.0)
    for left, top in places:
        image -= 200 * np.exp(-((x - left) ** 2 + (y - top) ** 2) / (2 * radius**2))
    return np.clip(image, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("max_size", [None, 150])
def test_positions_are_pixels_of_the_original_whatever_size_is_described(max_size):
    places = np.array([[60.0, 50.0], [200.0, 50.0], [130.0, 150.0]])
    photo = draw_blobs((300, 200), places, 12)
    (found,) = LocalFeatureExtractor(max_size=max_size).fit_transform([photo])
    distances = np.linalg.norm(found.positions[:, None] - places, axis=2)
    assert distances.min(axis=0).max() < 2
    assert found.photo_size == (300, 200)


def test_a_query_keeps_the_features_inside_its_box():
    photo = draw_blobs((300, 200), [[60, 50], [200, 50], [130, 150]], 12)
    box = (100, 0, 300, 100)
    for crop in ("activations", "image"):
        extractor = LocalFeatureExtractor(query_crop=crop)
        whole, inside = extractor.fit_transform([photo, Query(photo, box)])
        distances = np.linalg.norm(inside.positions - (200, 50), axis=1)
        assert 0 < len(inside) < len(whole)
        assert distances.min() < 2
        assert ((inside.positions >= (100, 0)) & (inside.positions <= (300, 100))).all()


def test_rootsift_is_the_square_root_of_sift_at_unit_sum(scenes):
    photo = scenes.photos[:1]
    plain = LocalFeatureExtractor("sift").fit_transform(photo)[0].descriptors
    expected = np.sqrt(plain / np.abs(plain).sum(axis=1, keepdims=True))
    found = LocalFeatureExtractor().fit_transform(photo)[0].descriptors
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-6)


def test_features_of_the_largest_scale_are_kept():
    """A large spot and small ones: the large one is kept."""
    photo = np.minimum(
        draw_blobs((300, 200), [[80, 100]], 25),
        draw_blobs((300, 200), [[200, 40], [200, 100], [200, 160]], 4),
    )
    (one,) = LocalFeatureExtractor(max_features=1).fit_transform([photo])
    np.testing.assert_allclose(one.positions, [[80, 100]], atol=3)


@pytest.mark.parametrize("photo", [BLANK, np.zeros((1, 1), np.uint8), np.eye(11)])
def test_a_photo_without_features_is_described_by_none(photo):
    (found,) = LocalFeatureExtractor().fit_transform([photo])
    assert found.positions.shape == (0, 2)
    assert found.descriptors.shape == (0, 128)


def test_broken_photos_are_named_and_the_others_are_not_lost(pixels, tmp_path):
    photos = [pixels, tmp_path / "missing.jpg", pixels[::-1], b"text"]
    with pytest.raises(PhotoError, match="2 of 4 photos cannot be used") as caught:
        LocalFeatureExtractor().fit_transform(photos)
    assert [i for i, _, _ in caught.value.failures] == [1, 3]
    assert [i for i, _ in caught.value.maps] == [0, 2]
    assert "missing.jpg" in str(caught.value)
    with pytest.raises(ValueError, match="put a single photo into a list"):
        LocalFeatureExtractor().transform("photo.jpg")


def test_a_box_outside_the_photo_is_refused(pixels):
    for crop in ("activations", "image"):
        extractor = LocalFeatureExtractor(query_crop=crop)
        with pytest.raises(PhotoError, match="does not lie in the photo"):
            extractor.fit_transform([Query(pixels, (0, 0, 900, 900))])


def test_a_store_finds_features_once_per_photo_and_setting(scenes, tmp_path, monkeypatch):
    photos = scenes.photos[:2]
    extractor = LocalFeatureExtractor(max_features=50, store=tmp_path / "features")
    first = extractor.fit_transform(photos)

    def fails(*args):
        raise AssertionError("features are found again")

    monkeypatch.setattr(extraction, "_detect", fails)
    renamed = [Photo(photo.source, name=f"copy of {photo.name}") for photo in photos]
    for one, other in zip(first, extractor.transform(renamed)):
        np.testing.assert_array_equal(one.positions, other.positions)
        np.testing.assert_array_equal(one.descriptors, other.descriptors)
        assert other.name == f"copy of {one.name}"
    with pytest.raises(AssertionError, match="again"):
        extractor.set_params(max_features=51).transform(photos)


def test_processes_change_nothing(scenes):
    one = LocalFeatureExtractor(max_features=50).fit_transform(scenes.photos[:3])
    two = LocalFeatureExtractor(max_features=50, n_jobs=2).fit_transform(scenes.photos[:3])
    for a, b in zip(one, two):
        np.testing.assert_array_equal(a.descriptors, b.descriptors)


def test_without_scikit_image_the_error_says_what_to_install(pixels, monkeypatch):
    real = builtins.__import__

    def absent(name, *args, **kwargs):
        if name.startswith("skimage"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(ImportError, match=r"pip install sklearn-cmac\[local\]"):
        LocalFeatureExtractor().fit([pixels])


# -- encoders ---------------------------------------------------------------------------------


def test_vlad_of_one_word_is_the_sum_of_differences_from_the_mean():
    rng = np.random.default_rng(0)
    photos = [rng.random((n, 5)) for n in (4, 7, 9)]
    mean = np.concatenate(photos).mean(axis=0)
    expected = [unit((photo - mean).sum(axis=0)) for photo in photos]
    found = VLAD(n_words=1, power=1, random_state=0).fit_transform(photos)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_vlad_by_hand():
    """Words (0, 0) and (10, 0), the means of two features each that lie about them."""
    photos = [np.array([[0.0, 1], [10, 1]]), np.array([[0.0, -1], [10, -1]])]
    vlad = VLAD(n_words=2, power=0.5, random_state=0).fit(photos)
    order = np.argsort(vlad.words_[:, 0])
    np.testing.assert_allclose(vlad.words_[order], [[0, 0], [10, 0]], atol=1e-6)
    photo = np.array([[1.0, 0], [3, 0], [6, 3]])  # residuals (4, 0) and (-4, 3)
    np.testing.assert_allclose(sum_residuals(photo, vlad.words_)[order], [[4, 0], [-4, 3]])
    (found,) = vlad.transform([photo])
    expected = unit(np.array([2, 0, -2, np.sqrt(3)]))
    np.testing.assert_allclose(found.reshape(2, 2)[order].ravel(), expected, rtol=1e-6)
    vlad.set_params(power=1, intra_normalize=True)
    (found,) = vlad.transform([photo])
    expected = np.array([1, 0, -0.8, 0.6]) / np.sqrt(2)
    np.testing.assert_allclose(found.reshape(2, 2)[order].ravel(), expected, rtol=1e-6)


def test_bag_of_words_by_hand():
    """Words at 0, 10 and 20 that occur in 3, 1 and 2 of 3 photos, with the weights of tf-idf."""
    photos = [[0.0, 0, 0, 10], [0.0, 20], [0.0, 20, 20]]
    photos = [np.array(photo)[:, None] for photo in photos]
    bag = BagOfWords(n_words=3, random_state=0).fit(photos)
    order = np.argsort(bag.words_[:, 0])
    np.testing.assert_allclose(bag.words_[order].ravel(), [0, 10, 20], atol=1e-6)
    weights = np.log([4 / 4, 4 / 2, 4 / 3]) + 1
    counts = np.array([[3, 1, 0], [1, 0, 1], [1, 0, 2]])
    expected = [unit(row * weights) for row in counts]
    np.testing.assert_allclose(bag.transform(photos)[:, order], expected, rtol=1e-6)


def test_every_feature_counts_for_one_word():
    rng = np.random.default_rng(0)
    photo, words = rng.random((50, 3)), rng.random((7, 3))
    nearest = ((photo[:, None] - words) ** 2).sum(axis=2).argmin(axis=1)
    expected = [(nearest == k).sum() for k in range(7)]
    np.testing.assert_array_equal(count_words(photo, words), expected)


def test_a_fisher_vector_of_one_gaussian_by_hand():
    """Mean 2, variance 4, features 3 and 5: (0.5 + 1.5) / 2, (1 - (0.25 + 2.25) / 2) / √2."""
    encoder = FisherVector(1, n_components=None, power=1, random_state=0)
    encoder.fit([np.array([[0.0], [4.0]])])
    np.testing.assert_allclose([encoder.means_, encoder.variances_], [[[2]], [[4]]], rtol=1e-5)
    (found,) = encoder.transform([np.array([[3.0], [5.0]])])
    np.testing.assert_allclose(found, unit(np.array([1, -0.25 / np.sqrt(2)])), rtol=1e-5)


def log_likelihood(photo, weights, means, deviations):
    """Of the mean feature, by the densities of scipy."""
    densities = stats.norm.pdf(photo[:, None], means, deviations).prod(axis=2)
    return np.log(densities @ weights).mean()


def test_a_fisher_vector_is_the_gradient_of_the_likelihood_at_unit_variance():
    """By differences; that to deviations has the other sign. Fisher's information is w / s^2."""
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((200, 5)) * [1, 2, 3, 4, 5] + 1
    photo = rng.standard_normal((20, 5))
    encoder = FisherVector(3, n_components=None, power=1, random_state=0).fit([rows])
    weights, means, deviations = encoder.weights_, encoder.means_, np.sqrt(encoder.variances_)
    scale = deviations / np.sqrt(weights)[:, None]
    to_means, to_deviations = np.empty((2, 3, 5))
    for place in np.ndindex(3, 5):
        step = np.zeros((3, 5))
        step[place] = 1e-5
        up, down = (log_likelihood(photo, weights, means + s, deviations) for s in (step, -step))
        to_means[place] = (up - down) / 2e-5 * scale[place]
        up, down = (log_likelihood(photo, weights, means, deviations + s) for s in (step, -step))
        to_deviations[place] = (up - down) / 2e-5 * scale[place] / np.sqrt(2)
    expected = np.array([to_means, -to_deviations]).ravel()
    np.testing.assert_allclose(encoder.transform([photo])[0], unit(expected), atol=1e-6)
    improved = unit(np.sign(expected) * np.sqrt(np.abs(expected)))
    (found,) = encoder.set_params(power=0.5).transform([photo])
    np.testing.assert_allclose(found, improved, atol=1e-4)


def test_without_scikit_image_fisher_vectors_say_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage.feature", None)
    with pytest.raises(ImportError, match=r"pip install sklearn-cmac\[local\]"):
        FisherVector().fit([np.random.default_rng(0).random((9, 4))])


@pytest.mark.parametrize(
    ("encoder", "attribute", "kept"),
    [
        (BagOfWords(n_words=50), "words_", 12),
        (VLAD(n_words=50), "words_", 12),
        (VLAD(n_words=10, max_samples=7), "words_", 7),
        (FisherVector(n_gaussians=50, n_components=2), "means_", 12),
        (FisherVector(n_gaussians=2, n_components=50), "components_", 4),
    ],
)
def test_a_codebook_smaller_than_asked_for_is_announced(encoder, attribute, kept, rng):
    photos = [rng.random((n, 4)) for n in (5, 7)]
    expected = rf"{type(encoder).__name__} keeps {kept} where .*=(50|10) was asked for.*4 dimens"
    with pytest.warns(UserWarning, match=expected) as caught:
        encoder.fit(photos)
    assert caught[0].filename == __file__
    assert len(getattr(encoder, attribute)) == kept


@pytest.mark.filterwarnings("error")
def test_a_codebook_as_large_as_asked_for_needs_no_warning(rng):
    photos = [rng.random((n, 4)) for n in (5, 7)]
    for encoder in (BagOfWords(12), VLAD(12), FisherVector(12, 4)):
        encoder.fit(photos)


ENCODERS = [
    BagOfWords(20, random_state=0),
    VLAD(4, random_state=0),
    FisherVector(4, 16, random_state=0),
]


@pytest.fixture(params=ENCODERS, ids=lambda e: type(e).__name__)
def encoder(request, features):
    return request.param.fit(features)


def test_the_order_of_features_does_not_matter(encoder, features):
    turned = LocalFeatures(features[0].positions[::-1], features[0].descriptors[::-1])
    np.testing.assert_allclose(*encoder.transform([features[0], turned]), atol=1e-5)


def test_descriptors_have_unit_length_and_those_of_no_features_are_zero(encoder, features):
    nothing = LocalFeatures(np.empty((0, 2)), np.empty((0, 128)), "nothing")
    table = encoder.transform([features[0], nothing, features[1]])
    np.testing.assert_allclose(np.linalg.norm(table, axis=1), [1, 0, 1], atol=1e-6)
    assert table.dtype == np.float32
    assert len(encoder.get_feature_names_out()) == table.shape[1]
    with_nothing = type(encoder)(**encoder.get_params()).fit([nothing, *features])
    expected = encoder.transform(features)
    np.testing.assert_allclose(with_nothing.transform(features), expected, atol=1e-3)


def test_a_sample_of_the_features_is_enough(encoder, features):
    sampled = type(encoder)(**encoder.get_params()).set_params(max_samples=200).fit(features)
    assert sampled.transform(features).shape == encoder.transform(features).shape


def test_what_cannot_be_encoded_is_refused_by_name(encoder, features):
    with pytest.raises(ValueError, match="one for each photo"):
        encoder.transform(features[0].descriptors)
    with pytest.raises(PhotoError, match="photo 1: its local descriptors have 64 dimensions"):
        encoder.transform([features[0], np.ones((3, 64))])
    broken = LocalFeatures(np.zeros((1, 2)), np.full((1, 128), np.nan), "broken.jpg")
    with pytest.raises(PhotoError, match=r"broken.jpg: its local descriptors are not finite"):
        encoder.transform([broken])
    with pytest.raises(ValueError, match="at least 2 local features, and 1 photos have 0"):
        encoder.fit([np.empty((0, 128))])


# -- pipelines --------------------------------------------------------------------------------

SMALL = {
    make_bow_pipeline: {"encode__n_words": 200},
    make_vlad_pipeline: {"encode__n_words": 16},
    make_fisher_pipeline: {"encode__n_gaussians": 8},
}


@pytest.mark.parametrize("make", SMALL, ids=lambda m: m.__name__)
def test_a_photo_is_found_when_it_is_turned_and_made_smaller(make, scenes):
    pipeline = make(features__max_features=300, **SMALL[make])
    assert list(pipeline.named_steps) == ["features", "encode"]
    descriptors = pipeline.fit_transform(scenes.photos)
    turned = [
        Image.fromarray(photo.source).resize((256, 192)).rotate(20, Image.Resampling.BICUBIC)
        for photo in scenes.photos
    ]
    found = (pipeline.transform(turned) @ descriptors.T).argmax(axis=1)
    np.testing.assert_array_equal(found, np.arange(len(scenes.photos)))


def test_an_index_takes_a_photo_without_features_and_finds_it_last(scenes):
    pipeline = make_bow_pipeline(encode__n_words=50, features__max_features=200)
    index = RetrievalIndex(pipeline.fit(scenes.photos))
    blank = Photo(BLANK, name="blank")
    assert index.add([blank, *scenes.photos]).failed == []
    results = index.search(scenes.photos[0], n_results=20)
    assert results[0].name == "object-00-scene-0"
    assert results[-1] == ("blank", 0)
    assert [result.score for result in index.search(blank)] == [0] * 10


def test_both_crops_are_evaluated(scenes, tmp_path):
    pipeline = make_vlad_pipeline(encode__n_words=4, features__store=tmp_path / "features")
    system = FrozenEstimator(pipeline.fit(scenes.photos))
    found = evaluate(as_benchmark(scenes), {"VLAD": system}, query_crops=("activations", "image"))
    assert [row.query_crop for row in found.rows] == ["activations", "image"]
    assert found.protocol["systems"]["VLAD"]["longest side in pixels"] == 1024


def test_a_real_photo_keeps_its_features_when_it_is_cut(landmarks):
    """Those of the part lie where those of the whole do, and are described alike."""
    path = sorted((landmarks / "images").rglob("*.jpg"))[0]
    image = Image.open(path)
    part = image.crop((0, 0, image.width * 2 // 3, image.height))
    whole, part = LocalFeatureExtractor(max_size=None).fit_transform([path, part])
    near = np.linalg.norm(whole.positions[:, None] - part.positions, axis=2) < 1
    alike = whole.descriptors @ part.descriptors.T > 0.9
    assert len(part) > 100
    assert (near & alike).any(axis=0).mean() > 0.8
