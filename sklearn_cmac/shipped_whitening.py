"""Whitenings that are installed with this package, for collections too small to fit one on.

A file never changes under its name, since fingerprints of what was described with it are kept:
its digest is written here, so damage of any byte is an error.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.utils import Tags, check_array

from sklearn_cmac._scikit_learn import StrOptions
from sklearn_cmac._steps import TableOrSequenceStep, is_table
from sklearn_cmac.maps import Vectors, check_vectors
from sklearn_cmac.networks import Backbone, WeightsError
from sklearn_cmac.whitening import Provenance, whiten

# Names, which are those of the networks, and the SHA-256 of their files.
SHIPPED = {
    "efficientnet_lite0": "4751f32bf71c7fbe892b56689ede7c1214fe651de2262798b54fd41198dc278a",
}
_FOLDER = Path(__file__).parent / "whitenings"


class WhiteningArrays(NamedTuple):
    """What a file of a whitening holds.

    Parameters
    ----------
    mean : ndarray of shape (D,)
    components : ndarray of shape (D', D)
    provenance : dict
        What it was fitted on.
    """

    mean: np.ndarray
    components: np.ndarray
    provenance: Provenance


class ShippedWhitener(TableOrSequenceStep, BaseEstimator):
    """`RegionWhitener`, fitted on other photos already: unit length, whitening, unit length.

    A few photos are too few to whiten with: what distinguishes their objects is most of their
    variance, and is whitened away. There is nothing to fit, so a clone is as good.

    Parameters
    ----------
    name : str, default="efficientnet_lite0"
        Which whitening; it is called as the network that it was fitted on is.

    Attributes
    ----------
    mean_ : ndarray of shape (D,)
    components_ : ndarray of shape (D', D)
        Of descending variance; kept in half precision, here in single.
    provenance_ : dict from str to str or int
        The photos that it was fitted on and what described them. "summary" says it in one line.
    n_components_ : int
        D'.
    n_features_in_ : int
        D.

    Raises
    ------
    WeightsError
        If the installed file is missing or damaged.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmac import ShippedWhitener
    >>> photos = [np.random.default_rng(0).random((20, 1280))]
    >>> ShippedWhitener().transform(photos)[0].vectors.shape
    (20, 512)
    """

    _parameter_constraints: dict = {"name": [StrOptions(set(SHIPPED))]}

    def __init__(self, name: str = "efficientnet_lite0"):
        self.name = name

    def fit(self, X: ArrayLike | Vectors, y: object = None) -> ShippedWhitener:
        """Check that the vectors are as long as those it was fitted on.

        Parameters
        ----------
        X : sequence of RegionVectors or of arrays of shape (R_i, D), or array-like of shape (n, D)
        y : ignored

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If they are not.
        """
        self._check_params()
        if not is_table(X):
            check_vectors(X, self, self.n_features_in_)
        elif (found := check_array(X).shape[1]) != self.n_features_in_:
            raise ValueError(
                f"the whitening {self.name!r} takes vectors of {self.n_features_in_} dimensions, "
                f"got {found}; use RegionWhitener for those of another network or layer"
            )
        return self

    def fits(self, network: Backbone) -> bool:
        """Whether it was fitted on maps of this network: by name, layer and weights.

        Parameters
        ----------
        network : Backbone
            Such as ``pipeline["features"].network``.

        Returns
        -------
        bool
        """
        about = self.provenance_
        fitted_on = about["network"], about["layer"], about["weights_sha256"]
        return fitted_on == (network.name, network.layer, network.weights_sha256)

    def check_network(self, network: Backbone) -> None:
        """An error unless it was fitted on maps of this network.

        Parameters
        ----------
        network : Backbone

        Raises
        ------
        ValueError
        """
        if not self.fits(network):
            about = self.provenance_
            raise ValueError(
                f"the whitening {self.name!r} is of {about['network']}, layer {about['layer']}, "
                f"weights {str(about['weights_sha256'])[:12]}; got {network.name}, layer "
                f"{network.layer}, weights {network.weights_sha256[:12]}. Fit a RegionWhitener"
            )

    @property
    def mean_(self) -> np.ndarray:
        return _shipped(self.name).mean

    @property
    def components_(self) -> np.ndarray:
        return _shipped(self.name).components

    @property
    def provenance_(self) -> Provenance:
        return dict(_shipped(self.name).provenance)

    @property
    def n_components_(self) -> int:
        return len(self.components_)

    @property
    def n_features_in_(self) -> int:
        return self.components_.shape[1]

    @property
    def _n_features_out(self) -> int:
        return self.n_components_

    def __fingerprint__(self) -> tuple[np.ndarray, np.ndarray]:
        return self.mean_, self.components_

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        return tags

    def _transform_rows(self, rows: np.ndarray) -> np.ndarray:
        return whiten(rows, self.mean_, self.components_)


@cache
def _shipped(name: str) -> WhiteningArrays:
    return read_whitening(_FOLDER / f"{name}.npz", SHIPPED[name])


def read_whitening(path: Path, sha256: str) -> WhiteningArrays:
    """What a file of a whitening holds. Nothing in it is run.

    Parameters
    ----------
    path : Path
    sha256 : str
        Digest of the file.

    Returns
    -------
    WhiteningArrays
        In single precision, read-only.

    Raises
    ------
    WeightsError
        If the file cannot be read, or is another one.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error}); install sklearn-cmac anew") from None
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise WeightsError(
            f"{path}: is damaged, its SHA-256 is {found[:12]} in place of {sha256[:12]}; install "
            "sklearn-cmac anew"
        )
    with np.load(io.BytesIO(content), allow_pickle=False) as held:
        mean, components = (held[name].astype(np.float32) for name in ("mean", "components"))
        provenance = json.loads(held["provenance"].tobytes())
    mean.flags.writeable = components.flags.writeable = False
    return WhiteningArrays(mean, components, provenance)


def write_whitening(
    path: str | os.PathLike[str],
    mean: ArrayLike,
    components: ArrayLike,
    provenance: Mapping[str, str | int],
) -> str:
    """Write a file that `read_whitening` reads.

    Parameters
    ----------
    path : path
    mean : array-like of shape (D,)
    components : array-like of shape (D', D)
        Kept in half precision.
    provenance : mapping from str to str or int

    Returns
    -------
    str
        The file's SHA-256.
    """
    np.savez(
        path,
        mean=np.asarray(mean, np.float32),
        components=np.ascontiguousarray(components, np.float16),
        provenance=np.frombuffer(json.dumps(dict(provenance)).encode(), np.uint8),
    )
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()
