"""cohort.csv -> splits.csv: train, validation and test by patient."""

import argparse
import json
from pathlib import Path

from ctcohort.base.faults import run
from ctcohort.base.files import read_table, write_table
from ctcohort.base.privacy import private_key
from ctcohort.base.workdir import Workdir
from ctcohort.cohort.splits import assign
from ctcohort.dataset.manifest import COHORT


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cohort", type=Path)
    parser.add_argument("--splits", required=True, help="canonical JSON of the config's splits")
    parser.add_argument("--given", action="store_true", help="use the table's own assignment")
    parser.add_argument("--key-file", default="")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    shares = json.loads(options.splits)
    rows = assign(
        read_table(options.cohort, COHORT),
        {name: shares.get(name, 0) for name in ("train", "val", "test")},
        seed=shares.get("seed", 0),
        key=private_key(options.key_file, Workdir().key_fingerprint),
        given=options.given,
        stratify=shares.get("stratify", ""),
    )
    write_table(options.output, ("accession", "patient", "split"), rows, sealed=True)


if __name__ == "__main__":
    run(main)
