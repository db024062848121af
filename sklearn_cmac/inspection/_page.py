"""Rankings as one HTML file that needs nothing beside it."""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader
from PIL import Image

from sklearn_cmac._printing import printable
from sklearn_cmac.inspection._outlines import Outline, svg_overlay
from sklearn_cmac.photos import Box
from sklearn_cmac.store import written_whole


@dataclass
class Figure:
    """A picture and what is said below it.

    Parameters
    ----------
    image : PIL.Image.Image or None
        None if there is nothing to see any more.
    caption : str
    right : bool, optional
        Whether it shows the object, if that is known: a sign, and a green or a red frame.
    outlines : sequence of Outline
        What is outlined on it.
    size : (width, height), optional
        Pixels of the photo that outlines are given in. Default: those of the image.
    window : (x0, y0, x1, y1), optional
        The part of it that the image shows. Default: all of it.
    alt : str
        What it shows, for who does not see it. Default: the caption.
    address : str
        Where the caption leads.
    """

    image: Image.Image | None
    caption: str
    right: bool | None = None
    outlines: Sequence[Outline] = ()
    size: tuple[int, int] | None = None
    window: Box | None = None
    alt: str = ""
    address: str = ""

    @property
    def uri(self) -> str:
        """The picture as the page embeds it."""
        assert self.image is not None
        content = BytesIO()
        self.image.convert("RGB").save(content, "JPEG", quality=82)
        return "data:image/jpeg;base64," + base64.b64encode(content.getvalue()).decode()

    @property
    def drawing(self) -> str:
        """The outlines as SVG."""
        return self.drawn(self.outlines)

    def drawn(self, outlines: Sequence[Outline]) -> str:
        """Outlines on this picture as SVG."""
        if not outlines or self.image is None:
            return ""
        return svg_overlay(outlines, self.size or self.image.size, self.window)

    @property
    def text(self) -> str:
        """What stands for the picture where it is not seen."""
        return self.alt or self.caption


@dataclass
class Ranking:
    """One row of pictures.

    Parameters
    ----------
    title : str
    figures : list of Figure
    """

    title: str
    figures: list[Figure] = field(default_factory=list)


def write_page(
    path: str | os.PathLike[str],
    title: str,
    sections: Sequence[tuple[str, Sequence[Ranking]]],
    *,
    header: Sequence[str] = (),
    table: Sequence[Sequence[str]] = (),
) -> None:
    """Write a page of rankings.

    Parameters
    ----------
    path : path
    title : str
    sections : sequence of (heading, rankings)
        One for each query.
    header : sequence of str
        Column names of a table above them.
    table : sequence of rows of str
        Its cells.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from PIL import Image
    >>> from sklearn_cmac.inspection import Figure, Ranking, write_page
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     row = Ranking("best first", [Figure(Image.new("RGB", (8, 8)), "a.jpg 0.93")])
    ...     write_page(f"{folder}/page.html", "Results", [("tower", [row])])
    ...     "a.jpg 0.93" in Path(f"{folder}/page.html").read_text()
    True
    """
    content = {"title": title, "sections": sections, "header": header, "table": table}
    write_template(path, "rankings.html.j2", **content)


def write_template(path: str | os.PathLike[str], name: str, **content: Any) -> None:
    """Write a page of a template, whole or not at all; all texts are escaped."""
    environment = Environment(
        loader=PackageLoader("sklearn_cmac.inspection", ""),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    page = environment.get_template(name).render(**content).encode()
    with written_whole(Path(path), len(page)) as file:
        file.write(page)


def _shown(value: Any) -> Any:
    """Texts from outside in one line; what macros have made is HTML already."""
    return value if hasattr(value, "__html__") else printable(value)
