"""The chosen series of one accession -> raw/<name>/ and received/<name>.json, complete or not."""

import argparse
import json
import sys
from pathlib import Path

if __name__ == "__main__":
    # pydicom imports every decoder that it finds, and requests: most of the memory and of the
    # start-up of a process that decodes nothing
    sys.modules.update(dict.fromkeys(("numpy", "gdcm", "pylibjpeg", "PIL", "requests")))

from ctcohort.archives.opening import open_archive
from ctcohort.archives.protocol import Changed
from ctcohort.base.faults import recorded, run
from ctcohort.base.naming import accession_of
from ctcohort.base.workdir import Workdir
from ctcohort.series import cache
from ctcohort.series.download import fetch_series


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", help="the accession as a file name")
    parser.add_argument("series", help="SeriesInstanceUID, and how many instances it has")
    parser.add_argument("--archive", required=True, help="JSON of the config's archive")
    parser.add_argument("--raw", type=Path, required=True)
    parser.add_argument("--received", type=Path, required=True)
    options = parser.parse_args()
    with recorded(Workdir().failures, options.name, "download_series"):
        accession = accession_of(options.name)
        archive = open_archive(
            json.loads(options.archive), store=Workdir().store, key=cache.patient_key()
        )
        headers = cache.headers_of(accession, options.series.split()[0])
        try:
            with archive.serving(accession):
                fetch_series(archive, headers, target=options.raw, received=options.received)
        except Changed:
            cache.forget(accession)
            raise


if __name__ == "__main__":
    del sys.modules["requests"]  # the archive may be asked by it
    run(main)
