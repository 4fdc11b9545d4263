"""Try the archive of the config: connect, ask for one accession, look at headers, fetch a slice."""

import argparse
import json
import os
import re
import tempfile
from pathlib import Path

from ctcohort.archives.opening import open_archive
from ctcohort.archives.protocol import Archive, FoundSeries
from ctcohort.base.faults import InputError, run
from ctcohort.base.files import read_table
from ctcohort.base.workdir import Workdir
from ctcohort.dataset.manifest import COHORT
from ctcohort.dicom.headers import CT_CLASSES, Header
from ctcohort.dicom.integrity import check_whole
from ctcohort.series import cache
from ctcohort.series.index import query_of


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--accession",
        default=os.environ.get("ACCESSION", ""),
        help="one that the archive is known to have; default: the variable ACCESSION",
    )
    parser.add_argument(
        "--archive",
        default=os.environ.get("CT_COHORT_ARCHIVE"),
        help="JSON of the config's archive; default: the variable CT_COHORT_ARCHIVE",
    )
    options = parser.parse_args()
    if not options.accession:
        raise InputError("name an accession that the archive has: make check-archive ACCESSION=...")
    settings = json.loads(options.archive)
    archive = open_archive(settings, store=Workdir().store, key=cache.patient_key())
    archive.prepare(threads=1)
    print(f"1 connection      ok ({settings['kind']})")
    with archive.serving(options.accession):
        series = _find(archive, options.accession, settings["accession_prefixes"])
        headers = _look(archive, series)
        _fetch(archive, headers)
    print("the archive provides everything that the workflow needs")


def _event(accession: str) -> dict[str, str]:
    """Return the row that an accession is found by: the cohort's, once there is one."""
    cohort = Workdir().cohort
    for row in read_table(cohort, COHORT) if cohort.exists() else ():
        if row["accession"] == accession:
            return row
    is_study = re.fullmatch(r"[0-9]+(\.[0-9]+){3,}", accession)
    return {"accession": accession, "study_uid": accession if is_study else ""}


def _find(archive: Archive, accession: str, prefixes: list[str]) -> FoundSeries:
    found = archive.find(query_of(_event(accession), prefixes))
    studies = {series.study_uid for series in found}
    told = "1 study" if len(studies) == 1 else f"{len(studies)} studies"
    print(f"2 accession       {told}, {len(found)} series")
    for series in found:
        known = "maybe multi-frame" if series.slices_at_most is None else "single slices"
        offline = ", offline" if series.offline else ""
        instances = "1 instance" if series.instances == 1 else f"{series.instances} instances"
        print(f"    {series.modality or '??'} {instances}, {known}{offline}")
    images = [series for series in found if series.modality in ("", "CT") and not series.offline]
    if not images:
        raise InputError(
            "no CT series that is online was found for this accession; check its spelling (with"
            " columns.study_uid, give the StudyInstanceUID), archive.accession_prefixes, and what"
            " this account may see"
        )
    return max(images, key=lambda series: series.instances)


def _look(archive: Archive, series: FoundSeries) -> list[Header]:
    headers = archive.headers(series)
    images = [header for header in headers if header.sop_class_uid in CT_CLASSES]
    print(f"3 headers         {len(headers)} of {series.instances}, {len(images)} CT images")
    if not images:
        raise InputError("the series with most instances has no CT image; try another accession")
    frame = images[0].frames[0]
    told = {
        "ImageType": frame.image_type,
        "ImagePositionPatient": frame.position,
        "ImageOrientationPatient": frame.orientation,
        "PixelSpacing": frame.pixel_spacing,
        "RescaleSlope": frame.slope,
        "RescaleIntercept": frame.intercept,
        "Rows": images[0].rows,
        "Columns": images[0].columns,
        "SliceThickness": images[0].slice_thickness,
        "ConvolutionKernel": images[0].kernel,
    }
    missing = [keyword for keyword, value in told.items() if value in (None, "", ())]
    found = f"missing: {', '.join(missing)}" if missing else "all required attributes are present"
    print(f"    {found}")
    return images


def _fetch(archive: Archive, headers: list[Header]) -> None:
    one = min(headers, key=lambda header: header.sop_instance_uid)
    with tempfile.TemporaryDirectory() as folder:
        # a file beside it: one instance is asked for, not the whole series
        (Path(folder) / "beside.dcm").touch()
        archive.fetch([one], Path(folder))
        path = Path(folder) / f"{one.sop_instance_uid}.dcm"
        syntax = check_whole(path).file_meta.TransferSyntaxUID
        print(f"4 one instance    {path.stat().st_size} bytes, {syntax.name}")


if __name__ == "__main__":
    run(main)
