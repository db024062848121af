"""Regions from boxes in the photo: the user's, or a detector's proposals."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from sklearn_cmac.maps import ActivationMap, Regions
from sklearn_cmac.photos import (
    Photo,
    PhotoError,
    PhotoSource,
    Query,
    as_photo,
    check_box,
    read_source,
)
from sklearn_cmac.pixels import decode
from sklearn_cmac.regions._step import RegionStep

if TYPE_CHECKING:
    import torch

Boxes: TypeAlias = Iterable[Sequence[float]]


class BoxRegions(RegionStep):
    """Regions that are boxes of the photo: the cells whose centre lies inside.

    Of a box that holds no centre, the nearest cell is the region. Of a photo that was cropped
    to a query's box, boxes outside the crop are left out.

    Parameters
    ----------
    proposer : mapping or callable, optional
        Boxes (x0, y0, x1, y1) in pixels of the upright original, of shape (n, 4): by the
        photo's name, or as a function of its `ActivationMap`. `propose_boxes` makes such a
        mapping from a detector of torchvision. Default: the box with which each photo is
        annotated.

    Notes
    -----
    A photo without boxes has one region, the whole map.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmac import ActivationMap, BoxRegions
    >>> record = ActivationMap.from_arrays(
    ...     np.ones((3, 4, 8)), name="arch.jpg", photo_size=(400, 300)
    ... )
    >>> step = BoxRegions({"arch.jpg": [(0, 0, 200, 100), (350, 250, 400, 300)]})
    >>> [region.tolist() for region in step.fit_transform([record])[0].regions]
    [[0, 1], [11]]
    """

    reads_annotations = True
    _parameter_constraints: dict = {"proposer": [Mapping, callable, None]}

    def __init__(
        self, proposer: Mapping[str, Boxes] | Callable[[ActivationMap], Boxes] | None = None
    ):
        self.proposer = proposer

    def _propose(self, record: ActivationMap) -> Regions:
        x0, y0, x1, y1 = record.window
        windows = []
        for box in self._boxes(record):
            left, top, right, bottom = check_box(box, record.name)
            if left < x1 and right > x0 and top < y1 and bottom > y0:
                rows, cols, _ = record.cells_inside((left, top, right, bottom))
                windows.append((rows.start, cols.start, rows.stop, cols.stop))
        height, width = record.shape
        return Regions.from_windows(windows or [(0, 0, height, width)], (height, width))

    def _boxes(self, record: ActivationMap) -> Boxes:
        if self.proposer is None:
            return [] if record.box is None else [record.box]
        if callable(self.proposer):
            return self.proposer(record)
        if record.name not in self.proposer:
            raise PhotoError(
                f"{record.name}: BoxRegions has no boxes for it; add its name to the mapping, with "
                "an empty list if it has none"
            )
        return self.proposer[record.name]


def propose_boxes(
    photos: Sequence[PhotoSource | Photo | Query],
    detector: torch.nn.Module,
    *,
    n_boxes: int = 100,
    max_size: int | None = 1024,
    device: str = "cpu",
) -> dict[str, np.ndarray]:
    """Boxes that a detector of torchvision proposes for each photo.

    Parameters
    ----------
    photos : sequence of photos
        Whatever `Photo` takes, `Photo` or `Query`: the whole photo is looked at.
    detector : torch.nn.Module
        As `torchvision.models.detection` builds them, in `eval` mode. Of a detector with a
        region proposal network these are its proposals, of others what they detect.
    n_boxes : int, default=100
        The best of them, at most.
    max_size : int, optional
        Pixels of the long side to which larger photos are scaled down before.
    device : str, default="cpu"
        Where the detector is.

    Returns
    -------
    dict from str to ndarray of shape (n, 4)
        By the photo's name, (x0, y0, x1, y1) in pixels of the upright original, best first.
        Boxes narrower than a pixel are left out.

    References
    ----------
    A. Gordo, J. Almazán, J. Revaud, D. Larlus, "Deep image retrieval: learning global
    representations for image search", ECCV 2016: proposals in place of R-MAC's grid.

    Examples
    --------
    >>> import numpy as np
    >>> from torchvision.models.detection import fasterrcnn_mobilenet_v3_large_320_fpn as build
    >>> from sklearn_cmac import Photo
    >>> from sklearn_cmac.regions import propose_boxes
    >>> detector = build(weights=None, weights_backbone=None).eval()
    >>> photo = Photo(np.zeros((96, 128, 3), np.uint8), name="night")
    >>> propose_boxes([photo], detector, n_boxes=5)["night"].shape
    (5, 4)
    """
    import torch

    boxes = {}
    for item in photos:
        photo = as_photo(item)
        photo = photo.photo if isinstance(photo, Query) else photo
        rgb, photo_size = decode(read_source(photo), photo.name, max_size=max_size)
        pixels = torch.from_numpy(np.array(rgb)).permute(2, 0, 1).to(device) / 255.0
        with torch.inference_mode():
            found = _proposals(detector, pixels).cpu().numpy().astype(np.float64)
        scale = np.divide(photo_size, (rgb.shape[1], rgb.shape[0]))
        found = np.clip(found * np.tile(scale, 2), 0, np.tile(photo_size, 2))
        wide = (found[:, 2:] - found[:, :2] >= 1).all(axis=1)
        boxes[photo.name] = found[wide][:n_boxes]
    return boxes


def _proposals(detector: Any, pixels: torch.Tensor) -> torch.Tensor:
    """Boxes (n, 4) in `pixels` (3, h, w), as a tensor, best first."""
    if not hasattr(detector, "rpn"):
        return detector([pixels])[0]["boxes"]
    images, _ = detector.transform([pixels])
    proposals, _ = detector.rpn(images, detector.backbone(images.tensors))
    height, width = images.image_sizes[0]
    ratio = proposals[0].new_tensor([pixels.shape[2] / width, pixels.shape[1] / height])
    return proposals[0] * ratio.repeat(2)
