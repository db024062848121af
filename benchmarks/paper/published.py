"""Numbers that others published, each with the place where it can be read.

Only what was found in print is here: the paper's own tables as they stand there, and what others
published. `published` answers "not found" for everything else.
"""

from __future__ import annotations

from typing import NamedTuple

UNKNOWN = "not found"


class Source(NamedTuple):
    """Where a number stands, and what one must know to compare with it."""

    where: str
    remark: str


SOURCES = {
    "a": Source(
        "Chen, Kuang, Zhang, Wong 2017, https://doi.org/10.1145/3126686.3126696",
        "VGG16",
    ),
    "b": Source(
        "README of github.com/filipradenovic/cnnimageretrieval-pytorch, rows of MatConvNet",
        "fine-tuned, three scales, learned whitening",
    ),
    "c": Source(
        "README of github.com/naver/deep-image-retrieval",
        "fine-tuned, one scale, whitening fitted on other landmarks",
    ),
    "d": Source(
        "README of github.com/insikk/CBIR_LeaderBoard, which quotes Gordo et al., IJCV 2017 (DIR), "
        "and Radenović et al., TPAMI 2019 (GeM)",
        "fine-tuned; what the crop was is not said there",
    ),
    "e": Source(
        "README of github.com/fmaglia/keras_rmac_plus",
        "R-MAC written anew by others, not the numbers of its authors",
    ),
}


class Method(NamedTuple):
    """A row of a table of the paper.

    `system` is a key of `SYSTEMS` or "dir-rpn"; `values` are mAP in percent, by the table's
    columns; `rival` is the row that the paper compares this one with, in the table or beside it.
    `remark` says what had to be decided where the row's label leaves it open.
    """

    label: str
    system: str
    crop: str
    steps: str
    values: tuple[float, ...]
    rival: str = ""
    remark: str = ""


class PaperTable(NamedTuple):
    """A table of the paper; `network` is a key of `NETWORKS`, `max_size` in pixels."""

    title: str
    network: str
    max_size: int
    columns: tuple[str, ...]
    methods: tuple[Method, ...]
    claim: str = ""


# The paper's names of benchmarks, and the names here.
COLUMNS = {
    "Oxf5k": "Oxford5k",
    "Par6k": "Paris6k",
    "Oxf105k": "Oxford105k",
    "Par106k": "Paris106k",
}
_ALL, _SMALL = tuple(COLUMNS), ("Oxf5k", "Par6k")
_NO_WHITENING_NAMED = "the row names no whitening; measured with that of the row for crop X"
_NO_CROP_NAMED = "the row names no crop; measured with crop I, as the row of clusters is"

# Tables of source "a". R is localisation, QE is query expansion.
PAPER_TABLES = {
    "Table 1": PaperTable(
        "VGG16 (ImageNet), 512 dimensions, against R-MAC",
        "vgg16",
        1024,
        _ALL,
        (
            Method("R-MAC, crop I", "rmac", "I", "plain", (66.9, 83.0, 61.6, 75.7)),
            Method(
                "clusters, crop I", "paper", "I", "plain", (70.3, 83.6, 65.0, 76.2),
                rival="R-MAC, crop I",
            ),
            Method(
                "R-MAC, crop X (the authors' own implementation)", "rmac", "X", "plain",
                (70.3, 84.3, 65.1, 77.6),
            ),
            Method(
                "clusters, crop X", "paper", "X", "plain", (73.8, 83.9, 69.7, 76.4),
                rival="R-MAC, crop X (the authors' own implementation)",
            ),
            Method("R-MAC, crop I + R + QE", "rmac", "I", "R + QE", (77.3, 86.5, 73.2, 79.8)),
            Method(
                "clusters, crop I + R + QE", "paper", "I", "R + QE", (81.4, 87.5, 79.0, 81.2),
                rival="R-MAC, crop I + R + QE",
            ),
            Method(
                "R-MAC, crop X + R + QE (own implementation)", "rmac", "X", "R + QE",
                (79.5, 86.7, 75.7, 81.1),
            ),
            Method(
                "clusters, crop X + R + QE", "paper", "X", "R + QE", (82.5, 86.8, 80.0, 80.5),
                rival="R-MAC, crop X + R + QE (own implementation)",
            ),
        ),
        "Clusters of activations retrieve better than R-MAC's squares on the same network.",
    ),
    "Table 2": PaperTable(
        "VGG16 fine-tuned by siaMAC, 512 dimensions",
        "siamac",
        1024,
        _ALL,
        (
            Method(
                "siaMAC, crop I", "siamac", "I", "plain", (76.3, 84.5, 68.5, 77.1),
                remark=_NO_WHITENING_NAMED,
            ),
            Method(
                "clusters, crop I", "paper", "I", "plain", (80.9, 86.7, 76.4, 80.0),
                rival="siaMAC, crop I", remark=_NO_WHITENING_NAMED,
            ),
            Method(
                "siaMAC, crop X + L_w", "siamac", "X", "plain", (80.1, 85.0, 74.1, 77.9)
            ),
            Method(
                "clusters, crop X + PCA_w", "paper", "X", "plain", (81.4, 87.6, 78.2, 81.4),
                rival="siaMAC, crop X + L_w",
            ),
            Method(
                "siaMAC, crop X + L_w + R + QE", "siamac", "X", "R + QE",
                (84.5, 86.4, 80.4, 79.7),
            ),
            Method(
                "clusters, crop I + PCA_w + R + QE", "paper", "I", "R + QE",
                (85.5, 88.9, 84.2, 83.6),
            ),
            Method(
                "clusters, crop X + PCA_w + R + QE", "paper", "X", "R + QE",
                (85.5, 88.9, 83.9, 84.3), rival="siaMAC, crop X + L_w + R + QE",
            ),
        ),
        "Clusters retrieve better than the whole map on a network that was trained for the whole "
        "map.",
    ),
    "Table 3": PaperTable(
        "ResNet101 fine-tuned by DIR, 2048 dimensions",
        "dir",
        800,
        _SMALL,
        (
            Method(
                "clusters, crop I + PCA_w (layer res5c after ReLU of DIR's network)", "paper", "I",
                "plain", (82.7, 93.8),
                rival="DIR-grid (its own shift and fully connected layer)",
            ),
            Method(
                "DIR-grid (its own shift and fully connected layer)", "dir", "I", "plain",
                (84.1, 93.6), remark=_NO_CROP_NAMED,
            ),
            Method("DIR-RPN", "dir-rpn", "I", "plain", (85.2, 94.0), remark=_NO_CROP_NAMED),
        ),
        "Clusters, which need no training, come near to DIR's trained layer.",
    ),
    "Table 3, in the text": PaperTable(
        "DIR's network, PCA whitening in place of its trained layer",
        "dir",
        800,
        _SMALL,
        (
            Method(
                "DIR-grid with PCA whitening", "dir-pca", "I", "plain", (81.7, 92.7),
                rival="clusters, crop I + PCA_w (layer res5c after ReLU of DIR's network)",
                remark=_NO_CROP_NAMED,
            ),
        ),
        "Without its trained layer DIR-grid is below clusters.",
    ),
}  # fmt: skip

# What the paper says of each figure or shows there, in our words.
CLAIMS = {
    "Figure 1": "MAC has the whole map, R-MAC squares of several sizes, clusters have any shape.",
    "Figure 2": "Features, PCA, Normalized Cut, the maximum of each cluster, whitening, and a sum.",
    "Figure 3": "More dimensions to compare cells in do not help, and then hurt.",
    "Figure 4": "Regions that are clusters are much more precise than squares.",
    "Figure 5": "The first dimensions separate object from background, later ones are noise.",
    "Figure 6": "A spatial term cuts up large backgrounds, keeps repeated patterns apart, and "
    "lowers mAP.",
    "Figure 7": "Norms of activations and 10 clusters of each photo, as pictures.",
    "Headline": "About 0.15 s a photo for all clustering, in Matlab on 4 cores at 3.6 GHz.",
}

# (system, network, steps, crop, benchmark) -> (mAP in percent, source); crop "" where not said.
# Systems are keys of `SYSTEMS`, or rows of networks that were fine-tuned.
_FOUND = {
    **{
        (method.system, "VGG16", method.steps, method.crop, COLUMNS[column]): (value, "a")
        for method in PAPER_TABLES["Table 1"].methods
        for column, value in zip(_ALL, method.values)
    },
    ("GeM, fine-tuned", "VGG16", "plain", "", "Oxford5k"): (87.9, "b"),
    ("GeM, fine-tuned", "VGG16", "plain", "", "Paris6k"): (87.7, "b"),
    ("GeM, fine-tuned", "VGG16", "plain", "", "Oxford105k"): (83.3, "d"),
    ("GeM, fine-tuned", "VGG16", "plain", "", "Paris106k"): (81.3, "d"),
    ("GeM, fine-tuned", "ResNet101", "plain", "", "Oxford5k"): (87.8, "b"),
    ("GeM, fine-tuned", "ResNet101", "plain", "", "Paris6k"): (92.7, "b"),
    ("GeM, fine-tuned", "ResNet101", "plain", "", "Oxford105k"): (84.6, "d"),
    ("GeM, fine-tuned", "ResNet101", "plain", "", "Paris106k"): (86.9, "d"),
    ("DIR, fine-tuned", "ResNet101", "plain", "", "Oxford5k"): (86.1, "d"),
    ("DIR, fine-tuned", "ResNet101", "plain", "", "Paris6k"): (94.5, "d"),
    ("DIR, fine-tuned", "ResNet101", "plain", "", "Oxford105k"): (82.8, "d"),
    ("DIR, fine-tuned", "ResNet101", "plain", "", "Paris106k"): (90.6, "d"),
    ("DIR with MAC, fine-tuned", "ResNet101", "plain", "", "Oxford5k"): (85.6, "c"),
    ("DIR with MAC, fine-tuned", "ResNet101", "plain", "", "Paris6k"): (90.1, "c"),
    ("DIR with GeM, fine-tuned", "ResNet101", "plain", "", "Oxford5k"): (85.7, "c"),
    ("DIR with GeM, fine-tuned", "ResNet101", "plain", "", "Paris6k"): (93.4, "c"),
    ("AP-GeM, fine-tuned", "ResNet101", "plain", "", "Oxford5k"): (89.1, "c"),
    ("AP-GeM, fine-tuned", "ResNet101", "plain", "", "Paris6k"): (93.0, "c"),
    ("rmac", "VGG16", "plain", "", "Oxford5k"): (65.6, "e"),
    ("rmac", "VGG16", "plain", "", "Paris6k"): (82.8, "e"),
}


def published(
    system: str, network: str, steps: str, crop: str, benchmark: str, used: set[str] | None = None
) -> str:
    """A published mAP with the letter of its source, or "not found".

    `used` collects the letters, for `sources`.
    """
    found = _FOUND.get((system, network, steps, crop, benchmark))
    if found is None:
        return UNKNOWN
    if used is not None:
        used.add(found[1])
    return f"{found[0]:.1f} ({found[1]})"


def sources(used: set[str]) -> str:
    """The sources below a table."""
    return "\n".join(f"({key}) {'; '.join(SOURCES[key])}." for key in sorted(used))
