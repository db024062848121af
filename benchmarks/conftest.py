"""Scripts import each other from their own folder, so only their test is collected."""

from pathlib import Path

collect_ignore = [
    str(path) for path in Path(__file__).parent.rglob("*.py") if not path.name.startswith("test_")
]
