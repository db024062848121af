"""llms.txt, a list of all pages with their first sentences, for programs that read documentation.

Its form is that of https://llmstxt.org: a title, a summary, and links under the headings of the
sections, here as the sidebar has them.
"""

from docutils import nodes


def _summary(app, page):
    """The first paragraph of a page in one line."""
    for paragraph in app.env.get_doctree(page).findall(nodes.paragraph):
        if isinstance(paragraph.parent, nodes.section):
            return " ".join(paragraph.astext().split())
    return ""


def _below(app, page):
    """The page and all that its tables of contents lead to, in their order."""
    yield page
    for child in app.env.toctree_includes.get(page, []):
        yield from _below(app, child)


def _write(app, exception):
    if exception or app.builder.format != "html":
        return
    root = app.config.root_doc
    lines = [f"# {app.config.project}", "", f"> {_summary(app, root)}"]
    for section in app.env.toctree_includes[root]:
        lines += ["", f"## {app.env.titles[section].astext()}", ""]
        for page in _below(app, section):
            title, uri = app.env.titles[page].astext(), app.builder.get_target_uri(page)
            lines.append(f"- [{title}]({app.config.html_baseurl}{uri}): {_summary(app, page)}")
    (app.outdir / "llms.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def setup(app):
    app.connect("build-finished", _write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
