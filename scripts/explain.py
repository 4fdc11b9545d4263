"""The whole story of one accession, and the commands that would redo it."""

import argparse
from pathlib import Path

from ctcohort.explanation import story
from ctcohort.faults import run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("accession")
    parser.add_argument("--directory", type=Path, default=Path(), help="the working directory")
    options = parser.parse_args()
    print("\n".join(story(options.directory, options.accession)))


if __name__ == "__main__":
    run(main)
