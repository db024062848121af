"""Contrast of all pages, computed from their style sheets: WCAG 2.2, level AA."""

import itertools
import re
from importlib.resources import files

import numpy as np
import pytest
from contrast import LARGE, TEXT, contrast, declared, rgb, schemes

from sklearn_cmac.inspection import Outline, svg_overlay
from sklearn_cmac.inspection._outlines import COLORS


def read(*parts):
    return files("sklearn_cmac").joinpath(*parts).read_text()


def served():
    return read("serve", "static", "cmac.css")


def written():
    """The style of the pages that commands write."""
    templates = [
        read("inspection", f"{name}.html.j2") for name in ("base", "results", "evaluation")
    ]
    return "\n".join(templates)


# Of each style sheet: colours of texts, of what is behind them, and of what bounds controls.
SHEETS = {
    "served": (served, {"text", "soft", "accent", "right", "wrong"}, {"back", "front", "shade"},
               {"soft", "accent", "right", "wrong"}),
    "written": (written, {"text", "soft", "link", "right", "wrong"}, {"page", "card", "mat"},
                {"link", "right", "wrong"}),
}  # fmt: skip
# Other pairs (text, behind) in them.
PAIRS = {
    "served": {("on-accent", "accent"), ("front", "right"), ("front", "wrong"), ("#fff", "#111")},
    "written": {("#fff", "#111")},
}


def test_contrast_is_that_of_the_definition():
    """White and black differ by 21, and #767676 is known as the lightest grey for text on white."""
    assert contrast(rgb("#fff"), rgb("#000")) == pytest.approx(21)
    assert contrast(rgb("#767676"), rgb("#fff")) == pytest.approx(4.54, abs=0.005)
    assert contrast(rgb("#777"), rgb("#ffffff")) == pytest.approx(4.48, abs=0.005)


@pytest.mark.parametrize("sheet", SHEETS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_each_text_stands_out_from_all_that_can_be_behind_it(sheet, scheme):
    style, texts, grounds, bounds = SHEETS[sheet]
    colors = schemes(style())[scheme]
    named = lambda name: rgb(colors.get(name, name))  # noqa: E731
    pairs = {*itertools.product(texts, grounds), *PAIRS[sheet]}
    assert {p: contrast(*map(named, p)) for p in pairs if contrast(*map(named, p)) < TEXT} == {}
    seen = {p: contrast(*map(named, p)) for p in itertools.product(bounds, grounds)}
    assert {p: ratio for p, ratio in seen.items() if ratio < LARGE} == {}


@pytest.mark.parametrize("sheet", SHEETS)
def test_no_other_colours_are_used(sheet):
    """So that the pairs above are all."""
    style, texts, grounds, _ = SHEETS[sheet]
    known = {text for pair in PAIRS[sheet] for text in pair} | texts | grounds
    plain = {"inherit", "transparent", "currentColor"}
    over_pages = {"#0009", "var(--query) 0 0 / 100% 100%"}  # a veil, and a photo
    said = {name: declared(style(), name) for name in ("color", "background")}
    for name, values in said.items():
        found = {re.sub(r"^var\(--([\w-]+)\)$", r"\1", value) for value in values}
        assert found <= known | plain | over_pages, name


def test_controls_are_bounded_by_colours_that_are_seen():
    """Lines of tables and around cards are decoration, and may be faint."""
    rules = re.findall(r"^\s*([^{}@/]+) \{([^}]*)\}", served(), re.MULTILINE)
    controls = ("button", "input", ".marks span", ".another a", ".adding")
    for selector, rule in rules:
        if any(control in selector for control in controls):
            for border in re.findall(r"border(?:-color)?: [^;]*var\(--([\w-]+)\)", rule):
                assert border in SHEETS["served"][3], selector


@pytest.mark.parametrize("back", ["#ffffff", "#f6f6f3"])
def test_what_is_said_while_a_photo_is_dragged_is_read_over_any_page(back):
    """White, over a page that a veil of black covers by 0.6."""
    assert "#0009; color: #fff" in served()
    assert contrast(rgb("#fff"), [0.4 * v for v in rgb(back)]) > TEXT


@pytest.mark.parametrize("color", [*COLORS, "#fff"])
def test_an_outline_is_seen_on_any_photo(color):
    """By its line or by the halo around it, which darkens what is behind it."""
    drawing = svg_overlay([Outline([np.eye(3, 2)], color=color)], (8, 8))
    ((dark, line),) = re.findall(r'stroke="#000"[^>]*opacity="([\d.]+)".*stroke="(\S+)"', drawing)
    assert line == color
    for photo in itertools.product(range(0, 256, 51), repeat=3):
        halo = [v * (1 - float(dark)) for v in photo]
        sides = itertools.combinations((photo, halo, rgb(color)), 2)
        assert max(contrast(one, other) for one, other in sides) >= LARGE, photo
