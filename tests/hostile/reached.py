"""`python -m hostile.reached 2000`: which lines of the door hostile photos reach.

All of them run in this process, so it is for looking, not for testing: one that crashes ends it.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import warnings

from hostile.suite import sample

ROOMS = ("pixels", "photos", "_opening", "_containers", "formats")


def main() -> None:
    """Print for each room of the door how many lines are reached, and which are not."""
    parser = argparse.ArgumentParser(prog="python -m hostile.reached", description=__doc__)
    parser.add_argument("count", type=int, nargs="?", default=2000, help="photos")
    count = parser.parse_args().count
    import coverage

    measured = coverage.Coverage(
        data_file=None, branch=True, include=[f"*/sklearn_cmac/{room}.py" for room in ROOMS]
    )
    cases = [(case.kind, case.make) for case in sample(count)]
    measured.start()
    rooms = [importlib.import_module(f"sklearn_cmac.{room}") for room in ROOMS]
    from sklearn_cmac.photos import Photo, PhotoError
    from sklearn_cmac.pixels import decode, photo_size

    for kind, make in cases:
        photo = Photo(make(), name=kind)
        for look in (photo_size, lambda photo: decode(photo.source, photo.name, max_size=512)):
            with warnings.catch_warnings(), contextlib.suppress(PhotoError):
                warnings.simplefilter("ignore")
                look(photo)
    measured.stop()
    print(f"{count} photos\n\n| room | lines | reached | not reached |\n|---|---|---|---|")
    for room, module in zip(ROOMS, rooms):
        _, lines, _, missed, where = measured.analysis2(module)
        share = 100 * (1 - len(missed) / len(lines))
        print(f"| `{room}.py` | {len(lines)} | {share:.0f} % | {where or 'none'} |")


if __name__ == "__main__":
    main()
