"""An index as web pages: photos, a box drawn on one, what is found, and groups of one object."""

from sklearn_cmac.serve._app import make_app
from sklearn_cmac.serve._safety import LOOPBACK, is_loopback

__all__ = ["LOOPBACK", "is_loopback", "make_app"]
