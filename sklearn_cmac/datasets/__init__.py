"""Collections of photos to search, tune and measure on."""

from sklearn_cmac.datasets._folder import find_photos, load_photo_folder
from sklearn_cmac.datasets._scenes import make_object_scenes

__all__ = ["find_photos", "load_photo_folder", "make_object_scenes"]
