"""The grid search over the whole retrieval chain, and what it found, on paper."""

from __future__ import annotations

import csv
import warnings
from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV, GroupKFold, ParameterGrid
from sklearn.utils import Bunch

from sklearn_cmac._progress import show_progress
from sklearn_cmac.datasets import as_benchmark
from sklearn_cmac.evaluation import QueryReport, report_rankings
from sklearn_cmac.metrics import RetrievalScorer
from sklearn_cmac.persistence import PipelineFileError, save_pipeline
from sklearn_cmac.search import Retriever
from sklearn_cmac.store import written_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def tune(
    estimator: BaseEstimator,
    grid: Mapping[str, Sequence[Any]],
    folder: Bunch,
    *,
    queries: str = "all",
    distractor: Any = "",
    n_folds: int = 3,
    n_jobs: int | None = None,
    verbose: bool | int = False,
) -> GridSearchCV:
    """Find the settings with the highest mAP on labelled photos.

    Photos of one object stay in one fold; those of none are spread evenly.

    Parameters
    ----------
    estimator : Pipeline or Retriever
    grid : dict from str to sequence
        Values of parameters, by their paths.
    folder : Bunch
        With `photos` and `target`, as `load_photo_folder` returns it.
    queries : {"all", "boxed"}, default="all"
        As for `RetrievalScorer`.
    distractor : object, default=""
        The label of photos that show none of the objects.
    n_folds : int, default=3
    n_jobs : int, optional
        Settings tried at once.
    verbose : bool or int, default=False

    Returns
    -------
    GridSearchCV
        Fitted, its best estimator on all photos. Its `chance_` is the mAP of rankings in random
        order in these folds.

    Raises
    ------
    ValueError
        As `check_tuning` does, before any photo is described.

    Examples
    --------
    >>> from sklearn_cmac import make_rmac_pipeline
    >>> from sklearn_cmac.datasets import make_object_scenes
    >>> from sklearn_cmac.tuning import tune
    >>> scenes = make_object_scenes(n_objects=4, n_scenes=2, n_distractors=2, size=(320, 240))
    >>> rmac = make_rmac_pipeline(whiten__shrinkage=1)
    >>> search = tune(rmac, {"regions__n_levels": [1, 2]}, scenes, n_folds=2)
    >>> len(search.cv_results_["mean_test_score"])
    2
    """
    check_tuning(estimator, grid, folder, distractor=distractor, n_folds=n_folds)
    groups = _groups(folder, distractor)
    scorer = RetrievalScorer(queries=queries, distractor=distractor)
    total = len(ParameterGrid(dict(grid))) * n_folds
    here = n_jobs in (None, 1)  # elsewhere, a bar would not see them
    with show_progress(None, total, "trying settings", verbose and here, unit="fit") as bar:

        def score(*tried: Any) -> float:
            found = scorer(*tried)
            bar.update()
            return found

        search = GridSearchCV(
            estimator,
            dict(grid),
            scoring=score if verbose and here else scorer,
            cv=GroupKFold(n_folds),
            n_jobs=n_jobs,
            error_score="raise",
        )
        search.fit(folder.photos, folder.target, groups=groups)
    folds = search.cv.split(folder.photos, folder.target, groups)
    by_chance = [
        scorer.chance([folder.photos[i] for i in test], [folder.target[i] for i in test])
        for _, test in folds
    ]
    search.chance_, search.scorer_ = float(np.mean(by_chance)), scorer
    return search.set_params(scoring=scorer)


def report_folds(search: GridSearchCV, folder: Bunch) -> list[list[QueryReport]]:
    """What queries find with the best settings, each among the photos of its fold.

    The pipeline is fitted anew on the photos of the other folds.

    Parameters
    ----------
    search : GridSearchCV
        As `tune` returns it.
    folder : Bunch
        That it was given.

    Returns
    -------
    list of list of QueryReport
        Of each fold, the worst queries first.

    Examples
    --------
    >>> from sklearn_cmac import make_rmac_pipeline
    >>> from sklearn_cmac.datasets import make_object_scenes
    >>> from sklearn_cmac.tuning import report_folds, tune
    >>> scenes = make_object_scenes(n_objects=4, n_scenes=2, n_distractors=2, size=(320, 240))
    >>> rmac = make_rmac_pipeline(whiten__shrinkage=1)
    >>> search = tune(rmac, {"regions__n_levels": [1]}, scenes, n_folds=2)
    >>> [len(reports) for reports in report_folds(search, scenes)]
    [4, 4]
    """
    scorer, best = search.scorer_, search.best_estimator_
    folds = search.cv.split(folder.photos, folder.target, _groups(folder, scorer.distractor))
    return [_report_fold(best, scorer, folder, *fold) for fold in folds]


def _report_fold(
    best: Any, scorer: RetrievalScorer, folder: Bunch, train: np.ndarray, test: np.ndarray
) -> list[QueryReport]:
    fit_on, tested = (
        Bunch(
            photos=[folder.photos[i] for i in part],
            target=[folder.target[i] for i in part],
            DESCR="",
        )
        for part in (train, test)
    )
    fitted = clone(best).fit(fit_on.photos, fit_on.target)
    if not isinstance(fitted, Retriever):
        fitted = Retriever(FrozenEstimator(fitted)).fit([])
    fold = as_benchmark(tested, scorer.queries, scorer.distractor)
    orders = [ranked.order for ranked in fitted.rank(fold.queries, fold.photos, fold.exclude)]
    return report_rankings(fold, orders)


def _groups(folder: Bunch, distractor: Any) -> list[str]:
    """Which photos stay in one fold."""
    return [
        f"distractor {i}" if label in (None, distractor) else f"object {label}"
        for i, label in enumerate(folder.target)
    ]


def check_tuning(
    estimator: BaseEstimator,
    grid: Mapping[str, Sequence[Any]],
    folder: Bunch,
    *,
    distractor: Any = "",
    n_folds: int = 3,
) -> None:
    """Refuse at once what a grid search would stumble over after hours.

    Parameters
    ----------
    estimator, grid, folder, distractor, n_folds
        As for `tune`.

    Raises
    ------
    ValueError
        If there are fewer objects than folds, the estimator has no such parameter, or its step
        does not take such a value.

    Examples
    --------
    >>> from sklearn_cmac import make_rmac_pipeline
    >>> from sklearn_cmac.datasets import make_object_scenes
    >>> from sklearn_cmac.tuning import check_tuning
    >>> scenes = make_object_scenes(n_objects=4, n_scenes=2, n_distractors=2, size=(320, 240))
    >>> check_tuning(make_rmac_pipeline(), {"whiten__shrinkage": [-1]}, scenes)
    Traceback (most recent call last):
    ...
    sklearn.utils._param_validation.InvalidParameterError: The 'shrinkage' parameter of ...
    """
    n_objects = len(set(folder.target) - {None, distractor})
    if n_objects < n_folds:
        raise ValueError(
            f"{n_objects} labelled objects cannot be spread over {n_folds} folds; label more, or "
            "take fewer folds"
        )
    ParameterGrid(dict(grid))  # refuses what is no list of values
    for path, values in grid.items():
        owner = path.rpartition("__")[0]
        is_step = hasattr(estimator.get_params().get(path), "fit")
        for value in values:
            if is_step and not (value in (None, "passthrough") or hasattr(value, "fit")):
                raise ValueError(f"{path} is a step, and {value!r} is none; None leaves it out")
            tried = clone(estimator).set_params(**{path: value})
            step = tried.get_params()[owner] if owner else tried
            if hasattr(step, "_parameter_constraints"):
                step._validate_params()


def tuning_rows(search: GridSearchCV) -> list[dict[str, Any]]:
    """Settings and scores of a search, best first.

    Parameters
    ----------
    search : GridSearchCV
        Fitted.

    Returns
    -------
    list of dict
        Each with the parameters by their paths, the mean score, its standard deviation over
        folds, the score of rankings in random order, if `tune` searched, and the seconds that
        fitting and scoring took.
    """
    found = search.cv_results_
    chance = {"random order": search.chance_} if hasattr(search, "chance_") else {}
    order = np.argsort(-found["mean_test_score"], kind="stable")
    return [
        {
            **found["params"][i],
            "mAP": float(found["mean_test_score"][i]),
            "std": float(found["std_test_score"][i]),
            **chance,
            "seconds": float(found["mean_fit_time"][i] + found["mean_score_time"][i]),
        }
        for i in order
    ]


def write_tuning(search: GridSearchCV, folder: Path) -> list[Path]:
    """Write the best estimator, the table of settings and a picture of the scores.

    Parameters
    ----------
    search : GridSearchCV
        Fitted.
    folder : path

    Returns
    -------
    list of Path
        ``best.safetensors`` (`load_pipeline` reads it), ``settings.csv`` and ``scores.png``.
        Without an estimator that files can hold, or without matplotlib, the first or the last is
        left out, and a warning says so.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    best, table, picture = (
        folder / name for name in ("best.safetensors", "settings.csv", "scores.png")
    )
    rows = tuning_rows(search)
    text = StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    with written_whole(table) as file:
        file.write(text.getvalue().encode())
    written = [table]
    try:
        save_pipeline(search.best_estimator_, best)
        written.insert(0, best)
    except PipelineFileError as error:
        warnings.warn(f"{best.name} is left out: {error}", stacklevel=2)
    try:
        with written_whole(picture) as file:
            plot_tuning(search).savefig(file, format="png", bbox_inches="tight", dpi=120)
        written.append(picture)
    except ImportError as error:
        warnings.warn(f"{picture.name} is left out: {error}", stacklevel=2)
    return written


def plot_tuning(search: GridSearchCV, x: str | None = None, y: str | None = None) -> Figure:
    """mAP over one or two parameters; of all others, the best value counts.

    Parameters
    ----------
    search : GridSearchCV
        Fitted.
    x, y : str, optional
        Paths of parameters. Default: those with the most values.

    Returns
    -------
    matplotlib.figure.Figure
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("pictures of scores need: pip install sklearn-cmac[plot]") from error
    from sklearn_cmac.inspection import ScoreSurfaceDisplay

    figure = Figure(figsize=(6, 4), layout="constrained")
    ScoreSurfaceDisplay.from_estimator(search, x=x, y=y, ax=figure.subplots())
    return figure
