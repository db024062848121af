"""How far colours of style sheets and pages stand apart, as WCAG 2.2 defines it."""

import re

TEXT, LARGE = 4.5, 3.0  # success criteria 1.4.3, and 1.4.11 for controls and outlines


def rgb(color):
    """Red, green and blue of #rgb or #rrggbb, 0 to 255."""
    digits = color.removeprefix("#")
    digits = "".join(2 * digit for digit in digits) if len(digits) == 3 else digits
    return tuple(int(digits[i : i + 2], 16) for i in (0, 2, 4))


def luminance(color):
    """Relative luminance of (red, green, blue)."""
    linear = [
        v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4
        for v in (each / 255 for each in color)
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    """The ratio of two colours (red, green, blue), from 1 to 21."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def schemes(style):
    """The colours of a style sheet by name, in the light and in the dark."""
    blocks = re.findall(r":root \{([^}]*--text:[^}]*)\}", style)
    light, dark = (dict(re.findall(r"--([\w-]+): (#\w+);", block)) for block in blocks)
    return {"light": light, "dark": {**light, **dark}}


def declared(style, name):
    """All values that a style sheet gives to a property."""
    return set(re.findall(rf"(?<![\w-]){name}: ([^;}}]+)", style))


# Texts of a page that are seen, and controls, with their colours and those behind them.
SEEN = """() => {
  const numbers = (color) => color.match(/[\\d.]+/g).map(Number);
  const over = ([r, g, b, a = 1], under) => [r, g, b].map((v, i) => v * a + under[i] * (1 - a));
  const behind = (element) => {
    const layers = [];
    for (let e = element; e; e = e.parentElement) layers.push(getComputedStyle(e).backgroundColor);
    return layers.reverse().map(numbers).reduce((back, top) => over(top, back), [255, 255, 255]);
  };
  const seen = (e) => e.checkVisibility({ opacityProperty: true, visibilityProperty: true });
  const found = [];
  const note = (kind, what, color, ground) =>
    found.push([kind, what.trim().slice(0, 60), over(numbers(color), ground), ground]);
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const [text, element] = [walker.currentNode.textContent, walker.currentNode.parentElement];
    if (!text.trim() || !seen(element) || element.closest("svg, script, .skip")) continue;
    note("text", text, getComputedStyle(element).color, behind(element));
  }
  const controls = "button, .button, .marks span, input[type=search], input[type=number]";
  for (const control of document.querySelectorAll(controls)) {
    if (!seen(control)) continue;
    const { color, borderTopColor: border } = getComputedStyle(control);
    const own = border === "rgba(0, 0, 0, 0)" ? color : border; // without one, its text is all
    note("control", control.textContent || control.name, own, behind(control.parentElement));
  }
  return found;
}"""


def faint(page):
    """Texts and controls of a page that stand apart too little from what is behind them."""
    return [
        (kind, what, round(contrast(color, ground), 2))
        for kind, what, color, ground in page.evaluate(SEEN)
        if contrast(color, ground) < (TEXT if kind == "text" else LARGE)
    ]
