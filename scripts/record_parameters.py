"""The parameters of the volumes -> processed/.parameters/<digest>.json, in place of older ones."""

import argparse
import json
from pathlib import Path

from ctcohort.faults import run
from ctcohort.files import write_json


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    parser.add_argument("parameters", help="JSON")
    options = parser.parse_args()
    for other in options.output.parent.glob("*.json"):
        other.unlink()
    write_json(options.output, json.loads(options.parameters))


if __name__ == "__main__":
    run(main)
