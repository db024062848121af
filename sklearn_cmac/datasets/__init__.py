"""Collections of photos to search, tune and measure on."""

from sklearn_cmac.datasets._folder import find_photos, load_photo_folder

