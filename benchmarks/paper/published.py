"""Numbers that others published, each with the place where it can be read.

Only what was found in print is here. `published` answers "not found" for everything else.
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

# (system, network, steps, crop, benchmark) -> (mAP in percent, source); crop "" where not said.
# Systems are keys of `SYSTEMS`, or rows of networks that were fine-tuned.
_FOUND = {
    ("rmac", "VGG16", "plain", "X", "Oxford5k"): (70.3, "a"),
    ("paper", "VGG16", "plain", "X", "Oxford5k"): (73.8, "a"),
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
