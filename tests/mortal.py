"""A step of somebody else's, cheap, that can kill the process in which it works."""

import os
import signal

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin

from sklearn_cmac import Query
from sklearn_cmac.photos import as_photo, read_source
from sklearn_cmac.pixels import decode


class Colors(TransformerMixin, BaseEstimator):
    """Mean colours of a photo's quarters, as a descriptor of unit length.

    A photo whose name has `fatal` in it ends the process, as the system does where memory runs
    out: until there is the file `died`, or each time if there is to be none. With `error`, it
    raises instead. It must not come to the process `home`. Names are noted in the file `log`.
    None of these changes a colour.
    """

    def __init__(self, home=0, fatal=None, died=None, error=False, log=None):
        self.home = home
        self.fatal = fatal
        self.died = died
        self.error = error
        self.log = log

    def __fingerprint__(self):
        return ()

    def fit(self, X, y=None):
        self.n_features_ = 12
        return self

    def get_feature_names_out(self, input_features=None):
        return np.array([f"colors{i}" for i in range(self.n_features_)])

    def transform(self, X):
        return np.stack([self._describe(photo) for photo in X])

    def _describe(self, item):
        assert os.getpid() != self.home, "described at home"
        asked = as_photo(item)
        if self.fatal is not None and self.fatal in asked.name:
            self._end()
        if self.log is not None:
            with open(self.log, "a") as log:
                log.write(f"{asked.name}\n")
        photo, box = (asked.photo, asked.box) if isinstance(asked, Query) else (asked, None)
        pixels = decode(read_source(photo), photo.name, box=box)[0]
        height, width = pixels.shape[0] // 2, pixels.shape[1] // 2
        quarters = [pixels[y:, x:][:height, :width] for y in (0, height) for x in (0, width)]
        means = np.concatenate([quarter.mean(axis=(0, 1)) for quarter in quarters])
        return (means / np.linalg.norm(means)).astype(np.float32)

    def _end(self):
        if self.error:
            raise KeyError("no such colour")
        if self.died is not None:
            try:
                os.close(os.open(self.died, os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                return
        os.kill(os.getpid(), signal.SIGKILL)


class NamelessColors(Colors):
    """The same, and nothing says how long its descriptors are before there is one."""

    get_feature_names_out = None
