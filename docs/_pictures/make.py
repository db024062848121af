"""The pictures of the start page, of the README and of the quickstart, from made scenes.

    python docs/_pictures/make.py

They are searched as `cmac search --fast` searches a folder of as many photos.
"""

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps
from sklearn.frozen import FrozenEstimator

from sklearn_cmac import make_cmac_pipeline
from sklearn_cmac.datasets import make_object_scenes
from sklearn_cmac.inspection import draw_box
from sklearn_cmac.pipelines import fit_to_search
from sklearn_cmac.search import RetrievalIndex, Retriever, chain_of_effort

IMAGES = Path(__file__).parents[1] / "images"
RIGHT, WRONG, INK = "#2a8c4a", "#b3372f", "#222222"


def searched(scenes):
    """An index of the scenes."""
    pipeline = fit_to_search(make_cmac_pipeline("mixed", features__n_jobs=-1), scenes.photos)
    retriever = Retriever(FrozenEstimator(pipeline), *chain_of_effort("fast"))
    index = RetrievalIndex(retriever.fit(scenes.photos))
    index.add(scenes.photos)
    return index


def ranking(scenes, index, asked, n_results):
    """The best photos but the query's own: picture, score, and whether each is right."""
    by_name = dict(zip((photo.name for photo in scenes.photos), zip(scenes.photos, scenes.target)))
    _, target = by_name[asked.name]
    for result in index.search(asked.as_query(), n_results + 1)[1:]:
        photo, label = by_name[result.name]
        yield Image.fromarray(photo.source), result.score, label == target


def panel(query, results, columns, width=236):
    """The query on the left, as tall as all rows of the ranking, which is on the right."""
    results, gap, text = list(results), 12, 26
    height = width * 3 // 4
    rows = -(-len(results) // columns)
    tall = rows * (height + text) + (rows - 1) * gap
    wide = (tall - text) * 4 // 3
    sheet = Image.new("RGB", (wide + columns * (width + gap) + gap, tall), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(18)
    sheet.paste(query.resize((wide, tall - text), Image.Resampling.LANCZOS))
    draw.text((0, tall - text + 3), "query", INK, font)
    for i, (image, score, right) in enumerate(results):
        left = wide + 2 * gap + i % columns * (width + gap)
        top = i // columns * (height + text + gap)
        color = RIGHT if right else WRONG
        inside = image.resize((width - 8, height - 8), Image.Resampling.LANCZOS)
        sheet.paste(ImageOps.expand(inside, 4, color), (left, top))
        draw.text((left, top + height + 3), f"{i + 1}    {score:.3f}", INK, font)
    return sheet


def save(scenes, name, n_results, columns):
    """What is found with the first scene. A palette takes a third of the bytes."""
    asked = scenes.photos[0]
    query = draw_box(asked.as_query(), max_size=640)
    sheet = panel(query, ranking(scenes, searched(scenes), asked, n_results), columns)
    file = IMAGES / name
    sheet.quantize(160, dither=Image.Dither.NONE).save(file, optimize=True)
    print(f"{file}: {sheet.size}, {file.stat().st_size} bytes")


def main():
    """The pictures, of which the second shows the scenes of docs/quickstart.md."""
    scenes = make_object_scenes(10, 5, 30, object_scale=(0.8, 1.5), random_state=2)
    save(scenes, "start-page.png", n_results=6, columns=3)
    scenes = make_object_scenes(4, 3, 4, size=(480, 360), object_scale=(0.8, 1.3))
    save(scenes, "quickstart.png", n_results=3, columns=3)


if __name__ == "__main__":
    main()
