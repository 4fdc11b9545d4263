"""processed/<name>.npz and .json -> qc/<name>.png and its thumbnail, or a scroll of all slices."""

import argparse
from pathlib import Path

from ctcohort.base.faults import run
from ctcohort.base.naming import accession_of
from ctcohort.page.pictures import draw, draw_scroll, draw_thumbnail, read_volume
from ctcohort.volume.record import ScanRecord


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", help="the accession as a file name")
    parser.add_argument("--volume", type=Path, required=True)
    parser.add_argument("--record", type=Path, help="needed for the picture")
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--thumbnail", type=Path)
    parser.add_argument("--scroll", type=Path)
    options = parser.parse_args()
    ct, spacing = read_volume(options.volume)
    if options.picture:
        record = ScanRecord.read(options.record)
        draw(ct, spacing, record, accession_of(options.name), options.picture)
    if options.thumbnail:
        draw_thumbnail(ct, spacing, options.thumbnail)
    if options.scroll:
        draw_scroll(ct, spacing, options.scroll)


if __name__ == "__main__":
    run(main)
