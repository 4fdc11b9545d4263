"""manifest.csv -> release/: the included volumes without identity, guarded before they appear."""

import argparse
import json
from pathlib import Path

from ctcohort.base.faults import InputError, run
from ctcohort.base.privacy import private_key
from ctcohort.base.workdir import Workdir
from ctcohort.cohort.reviews import read_reviews
from ctcohort.config.settings import ReleaseSettings, parse
from ctcohort.release import release
from ctcohort.release.guard import gather
from ctcohort.release.guard.identities import Identities


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rules", required=True, help="canonical JSON of the config's release")
    parser.add_argument("--key-file", default="", help="the config's privacy.key_file")
    parser.add_argument("--reports", type=Path, required=True)
    parser.add_argument("--columns", required=True, help="canonical JSON of the config's columns")
    parser.add_argument("--reviews", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    key = private_key(options.key_file, Workdir().key_fingerprint)
    if key is None:
        raise InputError(
            "privacy.key_file: is not set; the names of a release are keyed: run `make key` once"
        )
    columns = json.loads(options.columns)

    def identities(common: set[str]) -> Identities:
        known = gather.known_here(options.reports, columns)
        return gather.identities_of(known, common, accessions=True)

    told = release.make(
        parse(options.rules, ReleaseSettings),
        key=key,
        reviews=read_reviews(options.reviews),
        identities=identities,
        threads=options.threads,
    )
    print("\n".join(told))


if __name__ == "__main__":
    run(main)
