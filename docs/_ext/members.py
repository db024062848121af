"""Which members of a class its page leaves out: those that others have described already."""


def _leave_out(app, what, name, obj, skip, options):
    of_scikit_learn = str(getattr(obj, "__module__", "")).startswith("sklearn.")
    field_of_a_tuple = str(getattr(obj, "__doc__", "")).startswith("Alias for field number")
    return True if of_scikit_learn or field_of_a_tuple else None


def setup(app):
    app.connect("autodoc-skip-member", _leave_out)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
