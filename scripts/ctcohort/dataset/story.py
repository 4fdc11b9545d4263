"""The full history of one accession, from query to volume, and the commands to redo each step."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from ctcohort.archives import access_log
from ctcohort.archives.folder import passed_over
from ctcohort.base.faults import InputError
from ctcohort.base.naming import name_of
from ctcohort.base.project import snakemake_on
from ctcohort.base.reasons import FLAGS, MEANINGS, SELECTED
from ctcohort.base.workdir import RAW, VOLUME, Workdir
from ctcohort.dataset import manifest
from ctcohort.series.received import Received
from ctcohort.volume.record import ScanRecord


def story(here: Workdir, accession: str, reviews: Path) -> Iterator[str]:
    """Lines for a person. No MRN, no free text of the report table.

    Parameters
    ----------
    here : Workdir
        A working directory, finished or not.
    reviews : Path
        The reviews table that the config names; it need not exist.

    Raises
    ------
    InputError
        The accession is not in the cohort.
    """
    dataset = manifest.read(here, reviews)
    event = next((row for row in dataset.cohort if row["accession"] == accession), None)
    if event is None:
        raise InputError(
            f"{here.cohort}: accession {accession} is not in the cohort; protocols.csv"
            " says which protocols of the report table were selected"
        )
    name = name_of(accession)
    alone = manifest.Dataset([event], dataset.series, dataset.splits, dataset.reviews)
    (row,) = manifest.rows(here, alone, key=None)
    because = f": {row['status_reason']}" if row["status_reason"] else ""
    yield f"{accession}: {row['status']}{because}{_meaning(row['status_reason'])}"
    yield from _section("report table", _table(event, row))
    yield from _section("query", _query(here, accession))
    candidates = dataset.series.get(accession, [])
    yield from _section("candidate series", _candidates(candidates))
    yield from _section("files passed over", _passed_over(here, candidates))
    yield from _section("download", _download(here, name))
    yield from _section("volume", _volume(here, name, row))
    yield from _section("last failure", _failure(here, name))
    yield from _section("files", _files(here, name))
    chosen = any(series["reason"] == SELECTED for series in candidates)
    yield from _section("redo", _redo(here, name, chosen=chosen))


def _section(title: str, lines: Iterator[str]) -> Iterator[str]:
    for number, line in enumerate(lines):
        if number == 0:
            yield f"\n{title}"
        yield f"  {line}"


def _meaning(reason: str) -> str:
    return f" ({MEANINGS[reason]})" if reason in MEANINGS else ""


def _table(event: Mapping[str, str], row: Mapping[str, Any]) -> Iterator[str]:
    yield f"found by {'study ' + event['study_uid'] if event['study_uid'] else 'accession'}"
    if event["problem"]:
        yield f"problem: {event['problem']}{_meaning(event['problem'])}"
    for column in manifest.carried_columns([event]):
        yield f"{column}: {event[column]}"
    if row["review"]:
        yield f"review: {row['review']}"
    yield f"split: {row['split'] or 'none yet'}; patient: {row['patient'] or 'no private key'}"


def _query(here: Workdir, accession: str) -> Iterator[str]:
    path = here.answer(name_of(accession))
    if path.exists():
        yield f"answered {_when(path)}, cached in {path.relative_to(here.root)}"
    asked: Counter[tuple[str, str]] = Counter()
    size = 0
    for request in access_log.read(here.archive_log):
        if request.accession == accession:
            asked[request.what, request.answer] += 1
            size += request.size
    for (what, answer), count in asked.items():
        yield f"{count} x {what}: {answer}"
    if asked:
        yield f"{size:,} bytes from the archive in all"


def _candidates(candidates: Sequence[Mapping[str, str]]) -> Iterator[str]:
    for series in sorted(candidates, key=lambda row: row["reason"] != SELECTED):
        if not series["series_uid"]:
            yield f"none: {series['reason']}{_meaning(series['reason'])}"
            continue
        facts = [
            f"{series['slices'] or '?'} slices of {series['instances']} instances",
            series["image_type"],
            f"kernel {series['convolution_kernel']}" if series["convolution_kernel"] else "",
            f"{series['slice_spacing']} mm apart" if series["slice_spacing"] else "",
            f"{series['missing_slices']} missing" if _is_positive(series["missing_slices"]) else "",
            f"tilt {series['tilt_degrees']} deg" if _is_positive(series["tilt_degrees"]) else "",
            f"z error {series['z_error_mm']} mm" if _is_positive(series["z_error_mm"]) else "",
            f"{lost} lost at its ends" if (lost := manifest.lost_at_ends(series)) else "",
            f"different among its slices: {varying}" if (varying := series.get("varying")) else "",
        ]
        yield f"{series['reason']}{_meaning(series['reason'])}"
        yield f"  series {series['series_number']}: {', '.join(filter(None, facts))}"
        yield f"  {series['series_uid']}"


def _passed_over(here: Workdir, candidates: Sequence[Mapping[str, str]]) -> Iterator[str]:
    found = [(row["series_uid"], row["study_uid"]) for row in candidates if row["series_uid"]]
    key = here.patient_key.read_bytes() if here.patient_key.exists() else b""
    yield from passed_over(here.folder_index, key, found)


def _is_positive(number: str) -> bool:
    return bool(number) and float(number) > 0


def _download(here: Workdir, name: str) -> Iterator[str]:
    path = here.received(name)
    if path.exists():
        content = Received.read(path)
        yield (
            f"{content.instance_count} instances, {content.bytes:,} bytes, complete {_when(path)}"
        )
        yield f"transfer syntax {', '.join(content.transfer_syntaxes)}"
        if content.duplicate_files:
            yield f"{content.duplicate_files} identical files passed over"
    partial = here.partial(name)
    if partial.exists():
        yield f"begun: {len(list(partial.glob('*.dcm')))} instances in {partial}"


def _volume(here: Workdir, name: str, row: Mapping[str, Any]) -> Iterator[str]:
    path = here.record(name)
    if not path.exists():
        return
    record = ScanRecord.read(path)
    source, certificate = record.source, record.certificate
    yield f"made {_when(path)}, algorithm {record.algorithm_version}"
    yield f"with {json.dumps(record.parameters)}"
    yield (
        f"from {source.slices} slices of {record.matrix[0]} x {record.matrix[1]},"
        f" {source.slice_spacing:.5g} x {source.row_spacing:.5g} x"
        f" {source.column_spacing:.5g} mm, scan length {source.scan_length_mm:.5g} mm"
    )
    yield (
        f"to {' x '.join(map(str, record.shape))} voxels of"
        f" {' x '.join(f'{step:g}' for step in record.spacing)} mm, index z, y, x"
    )
    yield (
        f"z error {source.z_error_mm:.3g} mm, largest interval {source.gap_mm:.4g} mm,"
        f" {source.missing_slices} missing, {record.extrapolated_slices} extrapolated,"
        f" tilt {source.tilt_degrees:.3g} deg, obliquity {source.obliquity_degrees:.3g} deg"
    )
    for why, count in Counter(drop.why for drop in record.dropped).items():
        yield f"{count} slices dropped: {why}{_meaning(why)}"
    yield (
        f"slope {record.slopes}, intercept {record.intercepts}; air at"
        f" {certificate.air_peak_hu} HU; clipped {certificate.clipped_low:.2%} below,"
        f" {certificate.clipped_high:.2%} above; padding {certificate.padded:.2%}"
    )
    if record.lung_ml is not None:
        yield (
            f"lung {record.lung_ml:.0f} mL, cut at {' and '.join(record.lungs_cut) or 'no end'};"
            f" the headers name {', '.join(record.regions) or 'no region of the body'}"
        )
    for flag in str(row.get("flags") or "").split():
        yield f"flag {flag}: {FLAGS[flag]}"
    if record.implausible_z:
        yield f"implausible slices at z {' '.join(f'{z:g}' for z in record.implausible_z)} mm"
    yield f"sha256 {record.npz_sha256}"


def _failure(here: Workdir, name: str) -> Iterator[str]:
    failure = manifest.failure_of(here, name)
    if failure:
        kind = (
            "transient: a rerun may succeed"
            if failure["transient"]
            else "permanent: fix the cause first"
        )
        yield f"{failure['stage']}: {failure['reason']}, {kind}"
        yield failure["message"]


def _files(here: Workdir, name: str) -> Iterator[str]:
    for path in (
        here.raw(name),
        here.received(name),
        here.volume(name),
        here.record(name),
        here.picture(name),
        here.log("download_series", name),
        here.log("preprocess_volume", name),
    ):
        relative = path.relative_to(here.root)
        if path.is_dir():
            yield f"{relative}/, {len(list(path.glob('*.dcm')))} files, {_when(path)}"
        elif path.exists():
            yield f"{relative}, {path.stat().st_size:,} bytes, {_when(path)}"


def _redo(here: Workdir, name: str, *, chosen: bool) -> Iterator[str]:
    command = f"{snakemake_on(here.root)} --cores 1"
    if chosen:
        volume, series = shlex.quote(VOLUME.format(name)), shlex.quote(RAW.format(name))
        yield f"the volume: {command} --force -- {volume}"
        yield f"download and volume: {command} --force -- {series} {volume}"
    yield f"ask the archive again, for all: {command} --forcerun index_series"


def _when(path: Path) -> str:
    return datetime.fromtimestamp(path.stat().st_mtime).strftime("%Y-%m-%d %H:%M:%S")
