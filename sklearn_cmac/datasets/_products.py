"""Stanford Online Products: each photo of a product asks for the others.

H. O. Song et al., "Deep Metric Learning via Lifted Structured Feature Embedding", CVPR 2016.
"""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path

import numpy as np
from sklearn.utils import Bunch

from sklearn_cmac.datasets._benchmarks import Relevance, restricted
from sklearn_cmac.datasets._tables import Line, check_name, read_lines, shown
from sklearn_cmac.photos import Photo, PhotoError

_COLUMNS = ["image_id", "class_id", "super_class_id", "path"]


def load_products(
    photos_dir: str | os.PathLike[str],
    annotations: str | os.PathLike[str] | None = None,
    missing: str = "error",
) -> Bunch:
    """Stanford Online Products: 60,502 photos of 11,316 products, each of them a query.

    The scores are recall at 1, 10, 100 and 1000, and mAP at 1000. A query's own photo is left out.

    Parameters
    ----------
    photos_dir : path
        The published folder, with the photos in a folder for each kind of product.
    annotations : path, optional
        ``Ebay_test.txt``, or the folder that it is in: lines of image_id, class_id,
        super_class_id and path. Default: `photos_dir`.
    missing : {"error", "restrict"}, default="error"
        As for `load_oxford5k`.

    Returns
    -------
    Bunch
        As for `as_benchmark`, with `at` and `ks`.

    Raises
    ------
    PhotoError
        If photos or annotations are missing, a line cannot be read, or a photo is of two
        products.

    Examples
    --------
    >>> from sklearn_cmac.datasets import load_products
    >>> products = load_products("Stanford_Online_Products")  # doctest: +SKIP
    >>> len(products.photos), len(products.queries)  # doctest: +SKIP
    (60502, 60502)
    """
    root = Path(photos_dir)
    file = root if annotations is None else Path(annotations)
    file = file / "Ebay_test.txt" if file.is_dir() else file
    listed = _read(file)
    kept = restricted("products", list(listed), lambda name: (root / name).is_file(), missing)
    names = [name for name in listed if name in kept]
    of_product = defaultdict(list)
    for i, name in enumerate(names):
        of_product[listed[name]].append(i)
    own = [i for i, name in enumerate(names) if len(of_product[listed[name]]) > 1]
    if not own:
        raise PhotoError(f"{root}: has no two photos of one product, so nothing to ask for")
    photos = [Photo(root / name, name=name) for name in names]
    answers = [np.array(of_product[listed[names[i]]]) for i in own]
    return Bunch(
        name="products",
        photos=photos,
        queries=[photos[i] for i in own],
        relevance=[Relevance(same[same != i], np.array([i])) for i, same in zip(own, answers)],
        exclude=own,
        groups=[listed[names[i]] for i in own],
        labels=[listed[name] for name in names],
        at=1000,
        ks=(1, 10, 100, 1000),
        protocol="recall",
        DESCR=f"products: {len(names)} photos of {len(of_product)} products, {len(own)} queries.",
    )


def _read(file: Path) -> dict[str, str]:
    """The product of each photo, by the photo's name."""
    header, *lines = [*read_lines(file)] or [Line(f"{file}, line 1", [])]
    wrong = [line for line in lines if len(line.cells) != len(_COLUMNS)]
    if header.cells != _COLUMNS or wrong:
        place, cells = header if header.cells != _COLUMNS else wrong[0]
        raise PhotoError(
            f"{place}: expected lines of {' '.join(_COLUMNS)}, with that header, got "
            f"{shown(' '.join(cells))}"
        )
    product_of: dict[str, str] = {}
    for place, (_, product, _, name) in lines:
        name = check_name(name, place)
        known = product_of.setdefault(name, product)
        if known != product:
            raise PhotoError(f"{place}: {name!r} is of the products {known!r} and {product!r}")
    return product_of
