"""Weights in files: which file it is, its digest, its tensors by name, and whose they are."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sklearn_cmac._files import open_regular
from sklearn_cmac.networks._plain_contents import WeightsError, read_plain_contents

if TYPE_CHECKING:
    import torch

# What stands for a digest where a network has no weights.
SEEDED = "seeded random numbers"

FileState = tuple[int, int, int, int]


def file_state(path: str) -> FileState | None:
    """Size, times and inode of a file; None if there is none.

    Whoever exchanges a file can set back its time of modification, but not that of its change.
    """
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


@dataclass(frozen=True)
class WeightsFile:
    """A file of weights, as it was when its digest was taken.

    Parameters
    ----------
    path : str
    sha256 : str
    state : tuple of ints
        Size, times and inode.

    Examples
    --------
    >>> from sklearn_cmac.networks import WeightsFile
    >>> file = WeightsFile.of("tiny.pth")  # doctest: +SKIP
    >>> network.load_state_dict(file.tensors())  # doctest: +SKIP
    """

    path: str
    sha256: str
    state: FileState = field(repr=False)

    @classmethod
    def of(cls, path: str) -> WeightsFile:
        """Take the digest of a file.

        Raises
        ------
        WeightsError
            If there is no such file.
        """
        state = file_state(path)
        if state is None:
            raise WeightsError(f"there is no weights file {path!r}.")
        digest = hashlib.sha256()
        with open_regular(path) as content:
            while block := content.read(1 << 20):
                digest.update(block)
        return cls(path, digest.hexdigest(), state)

    def tensors(self) -> dict[str, torch.Tensor]:
        """The tensors of the file, by name. Runs no code that the file may hold.

        Returns
        -------
        dict from str to torch.Tensor

        Raises
        ------
        WeightsError
            If the file is damaged, holds anything but data, holds no tensors by name, or is no
            longer the file whose digest was taken.
        """
        import torch

        contents = read_plain_contents(self.path)
        if file_state(self.path) != self.state:
            raise WeightsError(f"{self.path}: was exchanged while it was read; run again.")
        for wrapper in ("state_dict", "model"):
            if isinstance(contents, Mapping) and isinstance(contents.get(wrapper), Mapping):
                contents = contents[wrapper]
        if not isinstance(contents, Mapping) or not all(
            isinstance(value, torch.Tensor) for value in contents.values()
        ):
            raise WeightsError(f"{self.path}: holds no mapping from names to tensors.")
        if not all(map(_has_its_numbers, contents.values())):
            raise WeightsError(f"{self.path}: has a tensor that is larger than its numbers.")
        return {str(key).removeprefix("module."): value for key, value in contents.items()}


# Numbers of a tensor of which some stand for several; the largest layer of VGG16 has 103 million.
_MOST_SHARED = 1 << 28


def _has_its_numbers(tensor: torch.Tensor) -> bool:
    """Whether a tensor's numbers are there, and not one of them for any number of others."""
    import torch

    if tensor.layout != torch.strided or tensor.device.type != "cpu":
        return False
    all_there = tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()
    return all_there or tensor.numel() <= _MOST_SHARED


def sha256_of_tensors(tensors: Mapping[str, torch.Tensor]) -> str:
    """Digest of names, shapes and numbers."""
    digest = hashlib.sha256()
    for name, tensor in tensors.items():
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.cpu().numpy().tobytes())
    return digest.hexdigest()


def load_by_name(
    network: torch.nn.Module, tensors: Mapping[str, torch.Tensor], file: str, name: str
) -> None:
    """Load what the network has; a classifier may be missing or be one too many.

    Parameters
    ----------
    network : torch.nn.Module
    tensors : mapping from str to torch.Tensor
    file, name : str
        Where they come from and the network's name, for the error.

    Raises
    ------
    WeightsError
        If they belong to another network.
    """
    heads = ("classifier.", "fc.", "head.")
    own = network.state_dict()
    # Counts of training batches mean nothing here, and older files have none.
    counts = "num_batches_tracked"
    body = {k: v for k, v in own.items() if not k.startswith(heads) and not k.endswith(counts)}
    wrong = [k for k, v in body.items() if k not in tensors or tensors[k].shape != v.shape]
    wrong += [k for k in tensors if k not in own and not k.startswith(heads)]
    if wrong:
        raise WeightsError(
            f"{file}: does not hold the weights of {name}: {len(wrong)} of its tensors are "
            f"missing, unknown or of another shape, the first is {wrong[0]!r}."
        )
    network.load_state_dict({k: tensors[k] for k in body}, strict=False)
