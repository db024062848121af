"""Everything of the paper that the photos at hand allow, and one page that shows it.

python benchmarks/paper --out paper/
"""

from __future__ import annotations

from page import main

if __name__ == "__main__":
    main()
