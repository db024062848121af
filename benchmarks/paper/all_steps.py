"""All systems with re-ranking (R), query expansion (QE), and both.

    python benchmarks/paper/all_steps.py --data ../shared/data --store maps/ --out paper/

As `all_systems.py`, with a row for each of plain, R, QE and R + QE. R is the localisation of
the R-MAC paper and reads activation maps: with `--store` the network does not run again for it.
`--steps plain QE` leaves it out.
"""

from __future__ import annotations

from all_systems import main
from systems import STEPS

if __name__ == "__main__":
    main(tuple(STEPS))
