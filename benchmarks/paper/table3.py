"""Table 3: clusters beside DIR, on the ResNet101 that DIR trained.

    python benchmarks/paper/table3.py --oxford oxbuild_images/ --oxford-annotations gt_files/ \\
        --paris paris/ --paris-annotations paris_gt/ --boxes proposals.csv \\
        --weights dir=Resnet101-TL-MAC.pt
    python benchmarks/paper/table3.py --data ../shared/data --networks efficientnet_lite0

The paper's rows and columns: published / measured mAP in percent, with a 95% interval over queries.
Whitening is fitted on the other city. What could not be measured has a footnote that says what it
needs. The second command runs the same rows on the network that comes with the package.
"""

from __future__ import annotations

from paper_tables import main

if __name__ == "__main__":
    main(__doc__, "Table 3", "Table 3, in the text")
