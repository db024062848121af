"""Options that commands share, and how their values are read."""

from __future__ import annotations

import ast
import errno
import math
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem
from sklearn.pipeline import Pipeline

from sklearn_cmac._printing import print_lines
from sklearn_cmac.datasets._tables import read_table, shown
from sklearn_cmac.extraction import ConvFeatureExtractor
from sklearn_cmac.networks import speed_advice
from sklearn_cmac.photos import Box, PhotoError
from sklearn_cmac.pipelines import SYSTEMS

# Systems that have a network to be chosen; some of them learn from labels.
ON_ANY_NETWORK = [name for name, system in SYSTEMS.items() if system.only is None]
WITHOUT_LABELS = [name for name in ON_ANY_NETWORK if not SYSTEMS[name].learned]

Command = Callable[..., None]

MOST_WORKERS = 1024
_LARGEST = 2**31 - 1  # of any number; beyond, libraries overflow


class _Path(click.Path):
    """A path; none is meant by an empty text, such as a variable that a script has not set."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("a path is empty", param, ctx)
        try:
            os.lstat(value)
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                self.fail(f"{value[:40]}… is too long", param, ctx)
        return super().convert(value, param, ctx)


PATH = _Path(path_type=Path)
FILE = _Path(exists=True, dir_okay=False, path_type=Path)
NEW_FILE = _Path(dir_okay=False, writable=True, path_type=Path)
NEW_FOLDER = _Path(file_okay=False, writable=True, path_type=Path)
INDEX = _Path(exists=True, file_okay=False, path_type=Path)


class _Text(click.ParamType):
    """A name or address, which is not empty."""

    name = "text"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not value.strip():
            self.fail("a text is empty", param, ctx)
        return value


TEXT = _Text()


class Count(click.IntRange):
    """A whole number of things."""

    def __init__(self, min: int = 1, max: int | None = None):
        super().__init__(min, max)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        found = super().convert(value, param, ctx)
        if found > _LARGEST:
            self.fail(f"{value} is above {_LARGEST}", param, ctx)
        return found


def parse_number(text: str) -> float:
    """A number of 0 or more."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number <= _LARGEST:
        raise click.BadParameter(f"a number from 0 to {_LARGEST} is needed, got {text!r}")
    return number


def parse_n_jobs(text: str) -> int:
    """How many at once; -1 are as many as there are cores."""
    try:
        n_jobs = int(text)
    except ValueError:
        n_jobs = 0
    if n_jobs == 0 or abs(n_jobs) > MOST_WORKERS:
        raise click.BadParameter(
            f"1 to {MOST_WORKERS}, -1 for all cores, or -2 for all but one; got {text!r}"
        )
    return n_jobs


def parse_box(text: str) -> Box:
    """The corners of X0,Y0,X1,Y1."""
    try:
        corners = tuple(float(v) for v in text.split(","))
    except ValueError:
        corners = ()
    if len(corners) != 4 or not all(map(math.isfinite, corners)):
        raise click.BadParameter(f"a box is X0,Y0,X1,Y1 in pixels, got {text!r}")
    return corners


def parse_scales(text: str) -> tuple[float, ...]:
    """The numbers of 1,0.75."""
    try:
        scales = tuple(float(v) for v in text.split(","))
    except ValueError:
        scales = ()
    if not scales or not all(0 < scale <= 1000 for scale in scales):
        raise click.BadParameter(
            f"scales are numbers above 0, at most 1000, with commas between, got {text!r}"
        )
    return scales


def parse_photo_scale(text: str) -> float | dict[str, float]:
    """A number, or the scale of each photo by two columns of a table, FILE.csv:NAME:SCALE."""
    with suppress(ValueError):
        return _scale(text)
    try:
        file, name, scale = text.rsplit(":", 2)
    except ValueError:
        raise click.BadParameter(
            f"a scale is a number or FILE.csv:NAME:SCALE with two of its columns, got {text!r}"
        ) from None
    try:
        return _scales_in(file, name, scale)
    except PhotoError as error:  # of others click tells no reason
        raise click.BadParameter(str(error)) from None


def _scales_in(file: str, name: str, scale: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for row in read_table(file, (name, scale)):
        try:
            value = _scale(row[scale])
        except ValueError:
            raise PhotoError(
                f"{row.place}: {scale} is a number above 0, got {shown(row[scale])}"
            ) from None
        if found.setdefault(row[name], value) != value:
            raise PhotoError(f"{row.place}: {shown(row[name])} has another scale above")
    return found


def _scale(text: str) -> float:
    found = float(text)
    if not 0 < found <= _LARGEST:
        raise ValueError(f"{text!r} is not from above 0 to {_LARGEST}")
    return found


def parse_grid_axis(text: str) -> tuple[str, list[Any]]:
    """The parameter and the values of PATH=VALUES."""
    path, _, values = text.partition("=")
    try:
        found = ast.literal_eval(values)
    except (ValueError, SyntaxError, MemoryError, RecursionError):  # the latter two, if nested
        raise click.BadParameter(
            f"an axis is PATH=[VALUE, …] with Python literals, got {text!r}"
        ) from None
    return path, list(found) if isinstance(found, (list, tuple)) else [found]


class ListOf(click.ParamType):
    """Some of the names, with commas between."""

    name = "list"

    def __init__(self, names: Iterable[str]):
        self.names = list(names)

    def convert(
        self, value: str | list[str], param: click.Parameter | None, ctx: click.Context | None
    ) -> list[str]:
        chosen = value.split(",") if isinstance(value, str) else value
        for name in chosen:
            if name not in self.names:
                self.fail(f"{name!r} is none of {', '.join(self.names)}", param, ctx)
        return chosen

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        before, comma, begun = incomplete.rpartition(",")
        fitting = [name for name in self.names if name.startswith(begun)]
        return [CompletionItem(before + comma + name) for name in fitting]


@dataclass(frozen=True)
class SystemOptions:
    """How a command makes systems, on any network."""

    backbone: str = "efficientnet_lite0"
    weights: str = "default"
    layer: str = "default"
    max_size: int | None = None
    scales: tuple[float, ...] | None = None
    shrinkage: float = 1.0
    precision: str = "float32"
    n_jobs: int = -1
    max_pixels: int | None = None

    def how(self) -> dict[str, Any]:
        """Parameters of an extractor that say how photos are described, not with what."""
        own = {"n_jobs": self.n_jobs, "max_pixels": self.max_pixels}
        return {name: value for name, value in own.items() if value is not None}

    def make(self, system: str, store: str | Path | None) -> Pipeline:
        """The pipeline of a named system, with its activation maps in a folder."""
        found = SYSTEMS[system]
        # A file is found from wherever a fitted pipeline is used later.
        weights = Path(self.weights).resolve() if Path(self.weights).is_file() else self.weights
        params: dict[str, Any] = {
            "features__backbone": self.backbone,
            "features__weights": str(weights),
            "features__layer": self.layer,
            "features__store": store,
            "features__precision": self.precision,
            "whiten__shrinkage": self.shrinkage,
        }
        own = {"max_size": self.max_size, "scales": self.scales, **self.how()}
        params.update({f"features__{name}": v for name, v in own.items() if v is not None})
        return found.make(**params, **found.of_network(self.backbone))


max_pixels_option = click.option(
    "--max-pixels",
    type=Count(),
    help="Refuse photos of which more pixels would have to be decoded. Default: the system's own.",
)


def say_how_it_runs(pipeline: Pipeline) -> None:
    """Print which engine runs the pipeline's network, if it has one."""
    if isinstance(pipeline[0], ConvFeatureExtractor):
        print_lines(speed_advice(*pipeline[0].way), err=True)


def system_options(command: Command) -> Command:
    """Options that say how systems are made; the command gets them as one, `made`."""
    own = SystemOptions()

    @click.option("--backbone", type=TEXT, default=own.backbone, help="The network.")
    @click.option(
        "--weights", type=TEXT, default=own.weights, help="A file of the network's weights."
    )
    @click.option("--layer", type=TEXT, default=own.layer, help="Where the network is cut.")
    @click.option(
        "--max-size",
        type=Count(),
        help="Longest side in pixels. Default: the system's own.",
    )
    @click.option(
        "--scales",
        type=parse_scales,
        metavar="SHARE,…",
        help="Sizes of each photo, as shares of --max-size. Default: the system's own.",
    )
    @click.option(
        "--shrinkage",
        type=parse_number,
        default=own.shrinkage,
        metavar="NUMBER",
        help="Of the whitening.",
    )
    @click.option(
        "--precision",
        type=click.Choice(["float32", "bfloat16", "float16"]),
        default=own.precision,
        help="In which the network computes, where processor or GPU can.",
    )
    @click.option(
        "--n-jobs",
        type=parse_n_jobs,
        default=own.n_jobs,
        metavar="N",
        help="Photos described at once; -1: all cores.",
    )
    @max_pixels_option
    @wraps(command)
    def with_options(
        *,
        backbone: str,
        weights: str,
        layer: str,
        max_size: int | None,
        scales: tuple[float, ...] | None,
        shrinkage: float,
        precision: str,
        n_jobs: int,
        max_pixels: int | None,
        **others: Any,
    ) -> None:
        made = SystemOptions(
            backbone, weights, layer, max_size, scales, shrinkage, precision, n_jobs, max_pixels
        )
        command(made=made, **others)

    return with_options


labels_option = click.option("--labels", type=FILE, help="Table with filename and instance.")
boxes_option = click.option("--boxes", type=FILE, help="Table with filename, x0, y0, x1, y1.")
store_option = click.option(
    "--store", type=_Path(file_okay=False, path_type=Path), help="Keep activation maps here."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
