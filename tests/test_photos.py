"""Whatever the container, upright RGB pixels come out, or an error that names the photo."""

import io

import numpy as np
import pytest
from PIL import Image

from sklearn_cmac import Photo, PhotoError, Query
from sklearn_cmac.photos import check_box_inside, digest_source, read_source
from sklearn_cmac.pixels import decode


def encode(image: Image.Image, form: str, **options) -> bytes:
    content = io.BytesIO()
    image.save(content, form, **options)
    return content.getvalue()


def test_path_bytes_image_and_array_give_the_same_pixels(pixels, tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(pixels).save(path)
    for source in (path, str(path), path.read_bytes(), Image.open(path), pixels, pixels / 255):
        rgb, size = decode(read_source(Photo(source)), "a")
        np.testing.assert_array_equal(rgb, pixels)
        assert size == (128, 96)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation, pixels):
    stored = {
        1: lambda a: a, 2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud,
        5: lambda a: np.rot90(np.flipud(a), 3), 6: lambda a: np.rot90(a, 1),
        7: lambda a: np.rot90(np.flipud(a), 1), 8: lambda a: np.rot90(a, 3),
    }[orientation](pixels)  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encode(Image.fromarray(np.ascontiguousarray(stored)), "PNG", exif=exif)
    rgb, size = decode(content, "a")
    np.testing.assert_array_equal(rgb, pixels)
    assert size == (128, 96)


@pytest.mark.parametrize("mode", ["L", "1", "LA", "P", "RGBA", "CMYK", "YCbCr", "HSV", "I;16", "I"])
def test_every_mode_becomes_rgb_of_the_same_picture(mode, pixels):
    image = Image.fromarray(pixels)
    grey = np.asarray(image.convert("L"))
    if mode in ("I;16", "I"):
        image = Image.fromarray(grey.astype(np.uint16) * 257)
        image = image if mode == "I;16" else Image.fromarray(grey.astype(np.int32) * 257)
    else:
        image = image.convert(mode)
    form = {"CMYK": "TIFF", "YCbCr": "TIFF", "I": "TIFF", "HSV": None}.get(mode, "PNG")
    rgb, _ = decode(image if form is None else encode(image, form), "a")
    assert rgb.shape == (96, 128, 3)
    assert rgb.dtype == np.uint8
    if mode in ("L", "LA", "I;16", "I"):
        np.testing.assert_array_equal(rgb[:, :, 1], grey)
    elif mode not in ("1", "P"):
        assert np.abs(rgb.astype(int) - pixels).mean() < 8


def test_transparency_becomes_white(pixels):
    clear = np.dstack([pixels, np.zeros(pixels.shape[:2], np.uint8)])
    assert (decode(encode(Image.fromarray(clear), "PNG"), "a")[0] == 255).all()


def test_animation_gives_its_first_frame(pixels):
    frames = [Image.fromarray(p) for p in (np.zeros_like(pixels), pixels)]
    content = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert decode(content, "a")[0].max() == 0


def test_max_size_scales_the_long_side_and_never_enlarges(pixels):
    assert decode(pixels, "a", max_size=64)[0].shape == (48, 64, 3)
    assert decode(pixels, "a", max_size=999)[0].shape == (96, 128, 3)
    assert decode(pixels, "a", max_size=256, enlarge=True)[0].shape == (192, 256, 3)
    assert decode(pixels, "a", max_size=100, multiple=14)[0].shape == (70, 98, 3)


def test_a_crop_keeps_the_scale_of_the_whole_photo(pixels):
    whole = decode(pixels, "a", max_size=64)[0]
    part, size = decode(pixels, "a", max_size=64, box=(32, 16, 96, 80))
    assert size == (128, 96)
    assert part.shape == (32, 32, 3)
    assert np.abs(part[2:-2, 2:-2].astype(int) - whole[8:40, 16:48][2:-2, 2:-2]).max() <= 2


def test_draft_decoding_of_large_jpegs_changes_nothing_visible(pixels):
    large = Image.fromarray(pixels).resize((2048, 1536), Image.Resampling.BICUBIC)
    content = encode(large, "JPEG", quality=95)
    drafted = decode(content, "a", max_size=256)[0].astype(int)
    whole = np.asarray(Image.open(io.BytesIO(content)).resize((256, 192), Image.Resampling.BICUBIC))
    assert np.abs(drafted - whole).max() <= 4
    assert decode(content, "a", max_size=256)[1] == (2048, 1536)


def test_an_image_of_the_callers_is_left_alone(jpeg):
    image = Image.open(jpeg)
    decode(image, "a", max_size=16)
    assert image.size == (128, 96)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"once upon a time", "not an image"),
        (np.zeros((3, 48, 64), np.uint8), "moveaxis"),
        (np.full((4, 4), np.nan), "finite"),
        (np.full((4, 4), 300), "0..255"),
        (np.zeros((0, 4, 3), np.uint8), "no pixels"),
    ],
)
def test_what_is_no_photo_is_refused_by_name(content, reason):
    with pytest.raises(PhotoError, match=f"^holiday: .*{reason}"):
        decode(read_source(Photo(content, name="holiday")), "holiday")


def test_files_that_cannot_be_read_are_refused_by_name(tmp_path, jpeg):
    with pytest.raises(PhotoError, match=r"missing\.jpg: cannot be read \(No such file"):
        read_source(Photo(tmp_path / "missing.jpg"))
    with pytest.raises(PhotoError, match=r"cannot be read \(is a folder"):
        read_source(Photo(tmp_path))
    with pytest.raises(PhotoError, match="a: the image is damaged or cut off"):
        decode(jpeg.read_bytes()[:900], "a")
    with pytest.raises(PhotoError, match="a photo is a path, bytes"):
        Photo(3)


def test_too_small_photos_are_refused(pixels):
    with pytest.raises(PhotoError, match="a: 1024x1 pixels are left of a photo of 20000x3"):
        decode(np.zeros((3, 20000), np.uint8), "a", max_size=1024, min_side=32)
    with pytest.raises(PhotoError, match="a: 1x1 pixels are left"):
        decode(np.zeros((1, 1), np.uint8), "a", min_side=32)


@pytest.mark.parametrize(
    "box", [(5, 5, 5, 9), (9, 9, 5, 12), (1, 2, 3), "abc", (0, 0, np.nan, 5), (10, 10, 8, 8)]
)
def test_a_box_that_is_empty_or_no_box_is_refused(box):
    with pytest.raises(PhotoError, match=r"^a\.jpg: .*box"):
        Photo("a.jpg", box=box)
    with pytest.raises(PhotoError, match=r"^a\.jpg: .*box"):
        Query("a.jpg", box)


def test_a_box_outside_the_photo_is_refused_and_one_on_its_edge_clipped():
    assert check_box_inside((-0.5, 0, 100.5, 50), (100, 80), "a") == (0, 0, 100, 50)
    for box in [(120, 10, 140, 30), (10, 10, 130, 40), (-20, 0, 50, 50)]:
        with pytest.raises(PhotoError, match=r"^a: the box .* 100x80 pixels"):
            check_box_inside(box, (100, 80), "a")


def test_as_query_needs_a_box():
    assert Photo("a.jpg", box=(1, 2, 3, 4)).as_query().box == (1, 2, 3, 4)
    with pytest.raises(PhotoError, match=r"a\.jpg: has no box"):
        Photo("a.jpg").as_query()


def test_digest_knows_content_not_names(pixels, jpeg, tmp_path):
    copy = tmp_path / "copy.jpg"
    copy.write_bytes(jpeg.read_bytes())
    assert digest_source(read_source(Photo(jpeg))) == digest_source(read_source(Photo(copy)))
    assert digest_source(pixels) != digest_source(pixels[::-1])
    assert digest_source(Image.fromarray(pixels)) != digest_source(Image.fromarray(pixels[::-1]))
