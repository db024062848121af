"""Rankings as one HTML file that needs nothing beside it."""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from io import BytesIO
from pathlib import Path

from jinja2 import Environment
from PIL import Image

from sklearn_cmac._printing import printable
from sklearn_cmac.store import written_whole


@dataclass
class Figure:
    """A picture and what is said below it.

    Parameters
    ----------
    image : PIL.Image.Image
    caption : str
    right : bool, optional
        Whether it shows the object, if that is known: a green or a red frame.
    """

    image: Image.Image
    caption: str
    right: bool | None = None

    @property
    def uri(self) -> str:
        """The picture as the page embeds it."""
        content = BytesIO()
        self.image.convert("RGB").save(content, "JPEG", quality=82)
        return "data:image/jpeg;base64," + base64.b64encode(content.getvalue()).decode()


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
    template = files("sklearn_cmac.inspection").joinpath("page.html.j2").read_text("utf-8")
    environment = Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, finalize=printable
    )
    page = environment.from_string(template)
    content = page.render(title=title, sections=sections, header=header, table=table).encode()
    with written_whole(Path(path), len(content)) as file:
        file.write(content)
