"""What is used of scikit-learn besides its public interface, imported in one place.

`_fit_context` and `_parameter_constraints` are what scikit-learn's template for projects like this
one checks parameters with, and constraints such as `Interval` have no public name. A table's
container is wrapped as scikit-learn wraps it, and steps with names have paths as a pipeline's have.
"""

from __future__ import annotations

import sklearn

# With the first and the last of these, the tests of all estimators pass.
TESTED = "1.7", "1.9"

try:
    from sklearn.base import _fit_context
    from sklearn.utils._param_validation import (
        HasMethods,
        Interval,
        InvalidParameterError,
        StrOptions,
    )
    from sklearn.utils._set_output import _wrap_data_with_container
    from sklearn.utils.metaestimators import _BaseComposition
except ImportError as error:
    raise ImportError(
        f"sklearn_cmac does not work with scikit-learn {sklearn.__version__} ({error}); it was "
        f"tested with {TESTED[0]} to {TESTED[1]}. Install one of these: "
        f"pip install 'scikit-learn=={TESTED[1]}.*', or a newer sklearn-cmac"
    ) from error

__all__ = [
    "HasMethods",
    "Interval",
    "InvalidParameterError",
    "StrOptions",
    "_BaseComposition",
    "_fit_context",
    "_wrap_data_with_container",
]
