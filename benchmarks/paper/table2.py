"""Table 2: the same systems with re-ranking (R), query expansion (QE), and both.

    python benchmarks/paper/table2.py --data ../shared/data --store .cache/maps --out .cache/paper

As Table 1, with a row for each of plain, R, QE and R + QE. R is the localisation of the R-MAC
paper and reads activation maps: with `--store` the network does not run again for it.
`--steps plain QE` leaves it out.
"""

from __future__ import annotations

from systems import STEPS
from table1 import main

if __name__ == "__main__":
    main(tuple(STEPS))
