"""processed/<name>.npz and .json -> qc/<name>.png."""

import argparse
import json
from pathlib import Path

from ctcohort.faults import run
from ctcohort.naming import accession_of
from ctcohort.pictures import draw


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", help="the accession as a file name")
    parser.add_argument("--volume", type=Path, required=True)
    parser.add_argument("--record", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    record = json.loads(options.record.read_text())
    draw(options.volume, record, accession_of(options.name), options.output)


if __name__ == "__main__":
    run(main)
