"""LightGlue from layer to layer, as functions of arrays; what a layer computes, an engine does.

P. Lindenberger, P.-E. Sarlin, M. Pollefeys, "LightGlue: Local Feature Matching at Light Speed",
ICCV 2023, section 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import expit, log_expit, log_softmax

from sklearn_cmac._threads import one_thread
from sklearn_cmac.networks._engines import Runner

# Features are filled up to a multiple of this: engines prepare for each number that they meet.
_STEP = 64
# What is added to the similarity with what only fills up.
_ABSENT = np.float32(-1e9)


class Points(NamedTuple):
    """Local features as LightGlue takes them.

    Parameters
    ----------
    positions : ndarray of shape (n, 2)
        (x, y) in pixels of the photo.
    descriptors : ndarray of shape (n, 64) or (n, 128)
        Of XFeat or of ALIKED.
    photo_size : (width, height)
    """

    positions: np.ndarray
    descriptors: np.ndarray
    photo_size: tuple[int, int]


class Linear(NamedTuple):
    """x @ weight + bias, of shapes (d, k) and (k,)."""

    weight: np.ndarray
    bias: np.ndarray

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return x @ self.weight + self.bias


class Layer(NamedTuple):
    """One of a network's layers, and what is read from the tokens behind it.

    Parameters
    ----------
    run : callable
        From tokens (n, D), (m, D), encodings (n, h), (m, h), and what is added to the similarity
        with each, (n, 1), (m, 1), to the tokens of both behind it (n + m, D).
    projection : Linear
        To what is compared.
    matchability : Linear
        To how likely a feature matches any, as a logit.
    confidence : Linear or None
        To how sure the network is of a feature, as a logit. None: the network never ends early.
    sure : float
        Confidence above which it is sure.
    """

    run: Runner
    projection: Linear
    matchability: Linear
    confidence: Linear | None
    sure: float


class MatchingLayers(NamedTuple):
    """A whole network.

    Parameters
    ----------
    entrance : Linear
        From a descriptor to a token.
    frequencies : ndarray of shape (2, h / 2)
        Of the encoding of positions.
    layers : sequence of Layer
    min_matchability : float
        Of features that are less likely to match, those that it is sure of are left out.
    max_doubts : float
        The share of features in doubt below which the network ends.
    """

    entrance: Linear
    frequencies: np.ndarray
    layers: Sequence[Layer]
    min_matchability: float
    max_doubts: float


class _Side(NamedTuple):
    """The features of one photo that are left, and which of its features these are."""

    tokens: np.ndarray
    encoding: np.ndarray
    rows: np.ndarray


def match_by_layers(
    network: MatchingLayers, query: Points, photos: Sequence[Points], min_score: float
) -> list[np.ndarray]:
    """Features of a query and of photos that match, pair by pair.

    Parameters
    ----------
    network : MatchingLayers
    query : Points
    photos : sequence of Points
    min_score : float
        Probability above which features match.

    Returns
    -------
    list of ndarray of int of shape (k_i, 2)
        For each photo the positions of matching features in the query, increasing, and in it.
    """
    with one_thread():
        asked = _enter(network, query)
        return [_match(network, asked, _enter(network, photo), min_score) for photo in photos]


def _enter(network: MatchingLayers, points: Points) -> _Side:
    size = np.array(points.photo_size, np.float32)
    places = (points.positions - size / 2) / (size.max() / 2)
    angles = places.astype(np.float32) @ network.frequencies
    encoding = np.concatenate([np.cos(angles), np.sin(angles)], axis=1)
    tokens = network.entrance(points.descriptors.astype(np.float32))
    return _Side(tokens, encoding, np.arange(len(tokens)))


def _match(network: MatchingLayers, one: _Side, other: _Side, min_score: float) -> np.ndarray:
    n_features = len(one.rows) + len(other.rows)
    for layer in network.layers:
        if not len(one.rows) or not len(other.rows):
            return np.empty((0, 2), int)
        one, other = _exchange(layer, one, other)
        if layer is network.layers[-1]:
            break
        doubts = [_in_doubt(layer, side) for side in (one, other)]
        if layer.confidence and sum(map(np.sum, doubts)) < network.max_doubts * n_features:
            break
        one, other = (
            _keep(side, doubt | (_matchability(layer, side) > network.min_matchability))
            for side, doubt in zip((one, other), doubts)
        )
    return _assign(layer, one, other, min_score)


def _exchange(layer: Layer, one: _Side, other: _Side) -> tuple[_Side, _Side]:
    """Each feature looks at those of its photo, and then at those of the other."""
    sides = one, other
    tokens = layer.run(
        *(_filled(side.tokens) for side in sides),
        *(_filled(side.encoding) for side in sides),
        *(_filled(np.zeros((len(side.rows), 1), np.float32), _ABSENT) for side in sides),
    )
    start = len(tokens) - _rounded_up(len(other.rows))
    return (
        one._replace(tokens=tokens[: len(one.rows)]),
        other._replace(tokens=tokens[start : start + len(other.rows)]),
    )


def _filled(rows: np.ndarray, value: float = 0) -> np.ndarray:
    missing = _rounded_up(len(rows)) - len(rows)
    return np.pad(rows, [(0, missing), (0, 0)], constant_values=value)


def _rounded_up(n: int) -> int:
    return -(-n // _STEP) * _STEP


def _in_doubt(layer: Layer, side: _Side) -> np.ndarray:
    if layer.confidence is None:
        return np.zeros(len(side.rows), bool)
    return expit(layer.confidence(side.tokens)[:, 0]) <= layer.sure


def _matchability(layer: Layer, side: _Side) -> np.ndarray:
    return expit(layer.matchability(side.tokens)[:, 0])


def _keep(side: _Side, mask: np.ndarray) -> _Side:
    return _Side(*(part[mask] for part in side))


def _assign(layer: Layer, one: _Side, other: _Side, min_score: float) -> np.ndarray:
    """Features that are each other's best, with a probability above the least.

    It is that of being the other's best, both ways, and of matching any.
    """
    scale = one.tokens.shape[1] ** 0.5
    similar = layer.projection(one.tokens) @ layer.projection(other.tokens).T / scale
    mine, theirs = (log_expit(layer.matchability(side.tokens)) for side in (one, other))
    scores = log_softmax(similar, 1) + log_softmax(similar, 0) + mine + theirs.T
    there, back = scores.argmax(axis=1), scores.argmax(axis=0)
    matching = back[there] == np.arange(len(there))
    matching &= np.exp(scores.max(axis=1)) > min_score
    return np.stack([one.rows[matching], other.rows[there[matching]]], axis=1)
