"""Everything of the paper that the photos at hand allow, and one page that shows it.

    python benchmarks/paper --out paper/
    python benchmarks/paper --data ../shared/data --store maps/ --out paper/

Tables and figures in the paper's order, published numbers beside measured ones, and one sentence
under each: what the paper claims, and what was measured. Without photos they are of made scenes;
what needs other photos or weights has a footnote that says which. Where the paper's network has no
weights, the one that comes with the package takes its place. Open `index.html`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import figure1
import figure3
import figure4
import figure5
import figure6
import figure7
from jinja2 import Environment
from paper_tables import RANDOM, Filled, add_options, comparisons, tables_of
from pictures import Drawing, photos_at_hand, proposing, records, shown
from published import CLAIMS, PAPER_TABLES, SOURCES
from systems import Settings, Task, make_parser, read_settings

from sklearn_cmac import make_cmac_pipeline

FIGURES = {
    "Figure 1": figure1,
    "Figure 3": figure3,
    "Figure 4": figure4,
    "Figure 5": figure5,
    "Figure 6": figure6,
    "Figure 7": figure7,
}


@dataclass
class Part:
    """A table or figure on the page."""

    name: str
    sentences: list[str]
    tables: list[tuple[str, Filled]] = field(default_factory=list)
    picture: str = ""
    text: str = ""


def available(wanted: str, args: Any, settings: Settings) -> list[str]:
    """The networks that were asked for; else the paper's, or where it has no weights the own."""
    if args.networks:
        return args.networks
    return [wanted if wanted in settings.weights else "efficientnet_lite0"]


def sentence(name: str, measured: str, random: bool = False) -> str:
    """What the paper claims of a figure, and what was measured."""
    warning = f" With {RANDOM}." if random else ""
    return f"The paper: {CLAIMS[name]} Here: {measured}{warning}"


def table_parts(args: Any, settings: Settings) -> Iterator[Part]:
    """The paper's tables."""
    for name in ("Table 1", "Table 2", "Table 3"):
        # What the text says beside a table is compared with its rows.
        own = {key: table for key, table in PAPER_TABLES.items() if key.startswith(name)}
        for network in available(own[name].network, args, settings):
            found = [pair for key in own for pair in tables_of(key, args, settings, network)]
            said = comparisons(list(own.values()), [filled for _, filled in found])
            yield Part(name, said, found)


def figure_parts(args: Any, settings: Settings, tasks: Mapping[str, Task]) -> Iterator[Part]:
    """The paper's figures; the second one is the chain of steps."""
    for name in CLAIMS:
        if name == "Figure 2":
            steps = " → ".join(map(repr, make_cmac_pipeline("paper").named_steps.values()))
            yield Part(name, [sentence(name, "the steps of the paper's pipeline.")], text=steps)
        elif name in FIGURES:
            for network in available("vgg16", args, settings):
                drawing = FIGURES[name].draw(tasks, settings, network)
                yield figure_part(name, drawing, args.out, settings, network)


def figure_part(name: str, drawing: Drawing, out: Path, settings: Settings, network: str) -> Part:
    """A figure, saved, with its sentence."""
    picture, _ = drawing.save(out / f"{name.lower().replace(' ', '')}-{network}")
    measured = f"{settings.label(network)}: {drawing.measured}"
    said = sentence(name, measured, settings.random(network))
    return Part(name, [said], picture=picture.stem, text=drawing.table)


def headline(args: Any, settings: Settings, tasks: Mapping[str, Task]) -> Part:
    """Seconds that the clusters of a photo take, on photos that are shown."""
    (network, *_) = available("vgg16", args, settings)
    queries, fit_on = shown(tasks, 6)
    steps = proposing(fit_on, settings, network)
    maps = records(queries, steps[:-1])
    started = time.perf_counter()
    steps[-1].transform(maps)
    seconds = (time.perf_counter() - started) / len(maps)
    height, width = maps[0].shape
    measured = (
        f"{settings.label(network)}: {seconds:.3f} s a photo for all clustering, of maps of about "
        f"{height}x{width} cells."
    )
    return Part("Headline", [sentence("Headline", measured)])


PAGE = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(
    """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>The paper, published and measured</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 64rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse } td, th { border-bottom: 1px solid #ccc; padding: .2rem .7rem }
td + td, th + th { text-align: right } th:first-child { text-align: left }
img { max-width: 100% } pre { overflow-x: auto } .note { font-size: .85rem; margin: .2rem 0 }
</style>
<h1>The paper, published and measured</h1>
<p>{{ source }}. Cells are published / measured mAP in percent with a 95% interval over queries, or
measured alone where the paper has no such column. Photos: {{ photos }}.</p>
{% for part in parts %}
<h2 id="{{ part.name | lower | replace(" ", "-") }}">{{ part.name }}</h2>
{% for title, table in part.tables %}
<h3>{{ title }}</h3>
<table>
<tr>{% for cell in table.header %}<th>{{ cell }}</th>{% endfor %}</tr>
{% for row in table.rows %}
<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}
</table>
{% for note in table.footnotes %}
<p class="note">{{ note }}</p>
{% endfor %}
{% endfor %}
{% if part.picture %}
<a href="{{ part.picture }}.svg"><img src="{{ part.picture }}.png" alt="{{ part.name }}"></a>
{% endif %}
{% if part.text %}
<pre>{{ part.text }}</pre>
{% endif %}
{% for sentence in part.sentences %}
<p>{{ sentence }}</p>
{% endfor %}
{% endfor %}
</html>
"""
)


def main() -> None:
    parser = make_parser(__doc__, networks=())
    add_options(parser)
    args = parser.parse_args()
    if args.out is None:
        parser.error("--out is needed: the folder of the page")
    args.out.mkdir(parents=True, exist_ok=True)
    settings, tasks = read_settings(args), photos_at_hand(args)
    parts = [
        *table_parts(args, settings),
        *figure_parts(args, settings, tasks),
        headline(args, settings, tasks),
    ]
    page = PAGE.render(parts=parts, source=SOURCES["a"].where, photos=", ".join(tasks))
    (args.out / "index.html").write_text(page, encoding="utf-8")
    for part in parts:
        print(part.name, *part.sentences, sep="\n", end="\n\n")
    print(args.out / "index.html")
