"""`python -m hostile 10000`: the door on so many photos, and what went wrong."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from pathlib import Path

from hostile.harness import WORDS, Limits, run
from hostile.suite import built, photos


def main() -> int:
    """Print each photo with faults, and the sums; 1 if there are any."""
    parser = argparse.ArgumentParser(prog="python -m hostile", description=__doc__)
    parser.add_argument("count", type=int, nargs="?", default=len(built()), help="photos")
    parser.add_argument("--only", default="", help="kinds that have this in their name")
    parser.add_argument("--keep", type=Path, help="folder for the photos with faults")
    parser.add_argument("--workers", type=int, help="processes at a time")
    parser.add_argument("--dead", type=float, default=60, help="seconds until one is ended")
    given = parser.parse_args()
    cases = [case for case in photos(given.count) if given.only in case.kind]
    began, answers, faults = time.monotonic(), Counter[str](), Counter[str]()
    refused = []
    worst = {"wall": 0.0, "processor": 0.0, "memory": 0.0}
    limits = Limits(dead=given.dead)
    for outcome in run(cases, limits=limits, workers=given.workers, keep=given.keep):
        answers[outcome.told["answer"]] += 1
        faults.update({fault.split(":")[0] for fault in outcome.faults})
        worst = {k: max(worst[k], outcome.told.get(k) or 0) for k in worst}
        if outcome.faults:
            print(outcome, flush=True)
        if outcome.case.shows == "picture" and outcome.told["answer"] == "refused":
            refused.append(outcome)
    print(f"\n{len(cases)} photos in {time.monotonic() - began:.0f} s: {dict(answers)}")
    print("faults:", {word: faults[word] for word in WORDS})
    print("most of one photo:", {k: round(v, 2) for k, v in worst.items()})
    print(f"{len(refused)} valid pictures were refused:")
    for outcome in refused:
        reason = outcome.told["message"].replace(outcome.path, "").lstrip(": ")
        print(f"  {outcome.case.kind}: {reason}")
    return int(any(faults.values()))


if __name__ == "__main__":
    sys.exit(main())
