"""``release/``: the volumes under names that say nothing, and no identifier beside them.

It is made beside its place, guarded there, and renamed as the last act. Volumes that an earlier
release holds already are linked from it; new ones are copied from ``processed/`` and ``chunked/``,
so that no later edit of the one changes the other.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ctcohort.base.faults import InputError
from ctcohort.base.files import copy, read_table, sha256, write_bytes, write_rows, write_table
from ctcohort.base.naming import name_of
from ctcohort.base.privacy import pseudonym
from ctcohort.base.text import some
from ctcohort.base.workdir import Workdir
from ctcohort.cohort.reviews import Review
from ctcohort.config.settings import ReleaseSettings
from ctcohort.dataset import manifest
from ctcohort.dicom.headers import text_of
from ctcohort.dicom.reading import header_in
from ctcohort.release import croissant, key_table
from ctcohort.release.datacard import card
from ctcohort.release.facts import METADATA, WHO, Facts
from ctcohort.release.guard import search, volume_file
from ctcohort.release.guard.chunked_file import is_proven
from ctcohort.release.guard.identities import Identities
from ctcohort.series.received import Received, received_bytes
from ctcohort.volume.chunked import difference
from ctcohort.volume.faces import face_possible
from ctcohort.volume.record import ScanRecord

HERE = Workdir()
FOLDER, LEFT_OUT, LOCK = HERE.release, HERE.left_out, HERE.release_lock

CARD, CHECKSUMS = "README.md", "SHA256SUMS"
_OURS = re.compile(
    rf"{key_table.NAME.pattern}\.(npz|b2nd)"
    rf"|{'|'.join(map(re.escape, (METADATA, CARD, croissant.NAME, CHECKSUMS)))}"
)

LOG = manifest.COLUMNS[
    manifest.COLUMNS.index("full_filename_npz") : manifest.COLUMNS.index("transform") + 1
]

MEASURED = (
    *("manufacturer", "model", "convolution_kernel", "kvp", "slice_thickness"),
    *("row_spacing", "column_spacing", "z_error_mm", "gap_mm"),
    *("missing_slices", "dropped_slices", "extrapolated_slices"),
    *("tilt_degrees", "obliquity_degrees", "fov_mm", "scan_length_mm"),
    *("clipped_low", "clipped_high", "padded", "air_peak_hu"),
    *("implausible_z_mm", "lung_ml", "lungs_cut"),
    *("npz_sha256", "algorithm_version"),
)
"""The manifest's columns that say nothing of the patient or the archive."""

OLDEST = 90
"""Ages from here on are one: there are few of them, and they are known."""

LONGEST_LABEL = 80
"""Characters; a longer value of a carried column is free text."""

SCANNER = ("manufacturer", "model", "convolution_kernel")
SCANNER_PATIENTS = 2
LABEL_PATIENTS = 5
"""A word of a scanner's or kernel's name, or of a label, that stands with so many patients is no
patient's name."""

_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True, slots=True)
class Scan:
    """An included scan: its row of the manifest, and what its record says.

    `burned_in` is None where nobody knows.
    """

    row: Mapping[str, str]
    burned_in: bool | None
    face: bool
    parameters: str

    @property
    def accession(self) -> str:
        """The accession of the scan."""
        return self.row["accession"]

    @property
    def volume(self) -> Path:
        """The volume of the scan."""
        return HERE.volume(name_of(self.accession))

    @property
    def chunked(self) -> Path:
        """The chunked volume of the scan."""
        return HERE.chunked(name_of(self.accession))


@contextmanager
def _alone() -> Iterator[None]:
    """One release at a time: another would tidy away what this one has half made."""
    HERE.store.mkdir(exist_ok=True)
    with open(LOCK, "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError("another release is under way here; wait until it has ended") from None
        yield


@_alone()
def make(
    settings: ReleaseSettings,
    *,
    key: bytes,
    reviews: Mapping[str, Review],
    identities: Callable[[set[str]], Identities],
    threads: int,
) -> list[str]:
    """Make ``release/`` in the working directory out of what ``manifest.csv`` includes.

    Parameters
    ----------
    identities : callable
        Gathers what may not be found, given words that may.

    Returns
    -------
    list of str
        Lines that say what was done.

    Raises
    ------
    InputError
        Something is not as it must be, or the guard found something; the earlier release, if there
        is one, is as it was.
    """
    final = FOLDER.resolve()
    keys = key_table.location(settings.key_table, final)
    _recover(final)
    rows = _manifest()
    carried = [column for column in rows[0] if column not in manifest.COLUMNS] if rows else []
    columns = _columns(carried, settings)
    scans, left_out = releasable(rows, settings, reviews)
    write_table(LEFT_OUT, ("accession", "reason"), _left_out(left_out))
    if not scans:
        counted = _counted(left_out.values()) or "manifest.csv includes none"
        raise InputError(f"no scan can be released: {counted}; {LEFT_OUT} names them")
    names = {accession: name for name, accession in _names(keys, final, scans, key).items()}
    named = sorted((names[scan.accession], scan) for scan in scans)
    metadata = [_row(name, scan, key, settings) for name, scan in named]
    _assert_labels(metadata, carried)
    reasons = [row["status_reason"] for row in rows if row["status"] != "included"]
    facts = Facts(metadata, columns, carried, settings)
    table = _table(columns, metadata)
    texts = {
        METADATA: table,
        CARD: card(
            facts,
            reasons=Counter([*reasons, *left_out.values()]),
            parameters=_parameters(scans),
            about=_about(settings.about),
        ).encode(),
        croissant.NAME: croissant.croissant(facts, table),
    }
    sums = _sums(named, settings, threads)
    texts[CHECKSUMS] = _checksums(sums, texts)
    told = [f"left out: {_counted(left_out.values())}; {LEFT_OUT} names them"] if left_out else []
    has = f"release/ has {len(named)} scan{'s' if len(named) > 1 else ''}"
    if _is_there(final, sums, texts, threads):
        return [f"{has}, as before: nothing to do", *told]
    part = final.with_name(f".{final.name}.part")
    try:
        proven = _build(part, final, named, sums, texts, threads)
        sought = identities(_common_words(metadata, carried))
        _guard(part, proven, sought)
        _replace(part, final)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return [has, *told, *(f"warning: {line}" for line in sought.limits())]


def releasable(
    rows: Iterable[Mapping[str, str]], settings: ReleaseSettings, reviews: Mapping[str, Review]
) -> tuple[list[Scan], dict[str, str]]:
    """The scans to release, and the others of the manifest's included ones with their reason."""
    scans, left_out = [], {}
    for row in rows:
        if row["status"] != "included":
            continue
        scan, reason = _judge(row, settings, reviews.get(row["accession"]))
        if reason:
            left_out[row["accession"]] = reason
        else:
            scans.append(scan)
    return scans, left_out


def _judge(
    row: Mapping[str, str], settings: ReleaseSettings, review: Review | None
) -> tuple[Scan, str]:
    scan = _scan(row)
    age = row["age_years"]
    reasons = {
        "reviewed_bad": review is not None and review.verdict == "bad",
        "burned_in_unknown": scan.burned_in is None,
        "burned_in_annotation": scan.burned_in,
        "face_possible": scan.face and settings.faces != "include",
        "age_unknown": settings.min_age is not None and not age,
        "under_min_age": settings.min_age is not None and age and float(age) < settings.min_age,
        "not_reviewed": settings.reviewed_only and review is None,
    }
    return scan, next((reason for reason, holds in reasons.items() if holds), "")


def _scan(row: Mapping[str, str]) -> Scan:
    """The scan with what its record says of it.

    Records of earlier versions of the workflow do not say all; then the files are looked at.
    """
    name = name_of(row["accession"])
    try:
        record = ScanRecord.read(HERE.record(name))
    except FileNotFoundError:
        raise InputError(f"{HERE.record(name)} is missing; run snakemake again") from None
    parameters = json.dumps([record.algorithm_version, record.parameters], sort_keys=True)
    if record.face_possible is not None:
        return Scan(row, record.burned_in_annotation, record.face_possible, parameters)
    with np.load(HERE.volume(name)) as arrays:
        face = face_possible(arrays["ct"], arrays["spacing"])
    return Scan(row, _burned_in(name), face, parameters)


def _burned_in(name: str) -> bool | None:
    """Whether a header of a scan's files says so, if they are all there as they were received."""
    raw, received = HERE.raw(name), HERE.received(name)
    if not raw.is_dir() or not received.exists():
        return None
    files = Received.read(received)
    files.assert_all_in(raw)
    word = "BurnedInAnnotation"
    return "YES" in [
        text_of(header_in(received_bytes(raw / f"{uid}.dcm", checksum), [word]), word).upper()
        for uid, checksum in files.checksums().items()
    ]


def _columns(carried: Sequence[str], settings: ReleaseSettings) -> tuple[str, ...]:
    face = ("face_possible",) if settings.faces == "include" else ()
    own = (*WHO, "split", "flags", *LOG, *MEASURED, *face)
    clash = sorted(set(carried) & set(own))
    if clash:
        raise InputError(
            f"columns.carry: {', '.join(clash)} is a column of the release's own; rename it in the"
            " report table"
        )
    return (*own, *carried)


def _names(table: Path, final: Path, scans: Sequence[Scan], key: bytes) -> dict[str, str]:
    """The key table with a name for every scan; written before anything bears such a name."""
    names = key_table.read(table, key)
    released = {path.stem for path in final.glob("*.npz")} if final.is_dir() else set()
    lost = sorted(released - names.keys())
    if lost:
        raise InputError(
            f"release.key_table: {table} does not know {some(lost)} of release/; put back the"
            " table that they were named by, or remove release/ to give every scan a new name"
        )
    extended = key_table.extended(names, [(s.accession, s.row["split"]) for s in scans], key)
    if extended != names or not table.exists():
        key_table.write(table, extended, key)
    return extended


def _left_out(reasons: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"accession": accession, "reason": reason} for accession, reason in reasons.items()]


def _parameters(scans: Sequence[Scan]) -> dict[str, Any]:
    """The config's `volume` that made every volume."""
    made = {scan.parameters for scan in scans}
    if len(made) > 1:
        raise InputError(
            "the volumes were made with different parameters or algorithm versions; run snakemake"
            " again before the release"
        )
    parameters: dict[str, Any] = json.loads(made.pop())[1]
    return parameters


def _row(name: str, scan: Scan, key: bytes, settings: ReleaseSettings) -> dict[str, object]:
    row = scan.row
    own: dict[str, object] = {
        **row,
        **{column: _generalised(row[column], settings.scanner_terms) for column in SCANNER},
        "NoteAcc_DEID": name,
        "VolumeAcc_DEID": f"{name}.npz",
        "MRN_DEID": f"mrn{pseudonym('release ' + row['patient'], key)[:12]}",
        "PatientAge": _age(row["age_years"]),
        "PatientSex": row["sex"] if row["sex"] in ("F", "M", "O") else "",
        "full_filename_npz": f"{name}.npz",
    }
    if settings.faces == "include":
        own["face_possible"] = str(scan.face).lower()
    return own


def _generalised(value: object, terms: Sequence[str] | None) -> object:
    """A scanner's or kernel's name with every word that is not among the terms made `other`."""
    if terms is None:
        return value
    known = {word for term in terms for word in _WORD.findall(term.casefold())}

    def kept(found: re.Match[str]) -> str:
        return found[0] if found[0].casefold() in known else "other"

    return re.sub(r"\bother( other)+\b", "other", _WORD.sub(kept, str(value)))


def _age(years: str) -> str:
    """Format an age as PatientAge (PS3.5 6.2, AS), in whole years."""
    return f"{min(int(float(years)), OLDEST):03d}Y" if years else ""


def _assert_labels(metadata: Sequence[Mapping[str, object]], carried: Sequence[str]) -> None:
    for column in carried:
        if any(len(str(row[column])) > LONGEST_LABEL for row in metadata):
            raise InputError(
                f"columns.carry: {column} has values of more than {LONGEST_LABEL} characters, which"
                " read like free text; take the column out of columns.carry"
            )


def _table(columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> bytes:
    text = io.StringIO(newline="")
    write_rows(text, columns, rows)
    return text.getvalue().encode()


def _sums(
    named: Sequence[tuple[str, Scan]], settings: ReleaseSettings, threads: int
) -> dict[str, str]:
    """SHA-256 of every volume's files, by their names in the release."""
    sums = {f"{name}.npz": scan.row["npz_sha256"] for name, scan in named}
    if not settings.chunked:
        return sums
    lacking = [scan.accession for _, scan in named if not scan.row["full_filename_b2nd"]]
    if lacking:
        raise InputError(
            f"release.chunked: manifest.csv names no chunked volume of {some(lacking)}; run"
            " snakemake chunked first"
        )
    with ThreadPoolExecutor(threads) as pool:
        there = pool.map(sha256, (scan.chunked for _, scan in named))
        return sums | {f"{name}.b2nd": sum_ for (name, _), sum_ in zip(named, there, strict=True)}


def _checksums(sums: Mapping[str, str], texts: Mapping[str, bytes]) -> bytes:
    """Format checksums as ``sha256sum`` writes and checks them."""
    sums = {**sums, **{name: hashlib.sha256(text).hexdigest() for name, text in texts.items()}}
    return "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items())).encode()


def _about(path: str | None) -> str:
    """Read the text that the maintainers of the data wrote about it."""
    if path is None:
        return ""
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise InputError(
            f"release.about: {path} cannot be read; expected a Markdown file in UTF-8"
        ) from None


def _is_there(
    final: Path, sums: Mapping[str, str], texts: Mapping[str, bytes], threads: int
) -> bool:
    """Return True if the release is what would be made, by its texts and its volumes' checksums."""
    if not final.is_dir():
        return False
    there = {path.name: path for path in final.iterdir()}
    if there.keys() != texts.keys() | sums.keys():
        return False
    if any(there[name].read_bytes() != text for name, text in texts.items()):
        return False
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(sha256, (there[name] for name in sums))) == list(sums.values())


def _build(
    part: Path,
    final: Path,
    named: Sequence[tuple[str, Scan]],
    sums: Mapping[str, str],
    texts: Mapping[str, bytes],
    threads: int,
) -> list[Path]:
    """Write the new release to `part`; the volumes that are proven to hold no text."""
    if final.is_dir():
        strange = [path for path in final.iterdir() if not _OURS.fullmatch(path.name)]
        if strange:
            raise InputError(
                f"release/ holds {len(strange)} files that this command did not write and would"
                " remove; move them elsewhere"
            )
    part.mkdir()
    for name, text in texts.items():
        write_bytes(part / name, text)

    def take(each: tuple[str, Scan]) -> list[Path]:
        name, scan = each
        target, earlier = part / f"{name}.npz", final / f"{name}.npz"
        if earlier.exists():
            os.link(earlier, target)
            proof = volume_file.check_volume(target)
            if not proof.faults and proof.sha256 == scan.row["npz_sha256"]:
                return [] if proof.wide else [target]
            target.unlink()
        copy(scan.volume, target)
        proof = volume_file.check_volume(target)
        if proof.sha256 != scan.row["npz_sha256"]:
            raise InputError(
                f"{scan.volume} is not the file that manifest.csv describes; run `make verify`, or"
                " remove it and run snakemake again"
            )
        if proof.faults:
            raise InputError(f"{scan.volume}: {proof.faults[0]}; it is not released")
        return [] if proof.wide else [target]

    def take_all(each: tuple[str, Scan]) -> list[Path]:
        name, scan = each
        proven, chunked = take(each), f"{name}.b2nd"
        if chunked not in sums:
            return proven
        _chunked(scan, final / chunked, part / chunked, sums[chunked])
        return [*proven, part / chunked]

    with ThreadPoolExecutor(threads) as pool:
        return [path for proven in pool.map(take_all, named) for path in proven]


def _chunked(scan: Scan, earlier: Path, target: Path, checksum: str) -> None:
    """Put a chunked volume beside its npz, of which it must hold every voxel."""
    if earlier.exists():
        os.link(earlier, target)
        if sha256(target) != checksum:
            target.unlink()
    if not target.exists():
        copy(scan.chunked, target)
    found = difference(target, target.with_suffix(".npz"))
    if found or not is_proven(target):
        what = found.removeprefix(f"{target}: ") or "was made by another version of Blosc2"
        raise InputError(f"{scan.chunked}: {what}; delete it and run snakemake chunked")


def _guard(part: Path, proven: Sequence[Path], identities: Identities) -> None:
    """Nothing is there that may not be: volumes that are `proven` to hold no text hold none."""
    identities.any_date = identities.any_uid = True
    findings = search.search(part, identities, leave=proven)
    if findings:
        shown = "".join(f"\n  {line}" for line in search.summary(findings))
        raise InputError(
            f"the guard found what a release may not hold; nothing was released:{shown}\n"
            "A column that columns.carry names can be taken out of it; a name in a scanner's or"
            " kernel's own words goes with release.scanner_terms; a scan can be reviewed as bad."
        )


def _common_words(metadata: Sequence[Mapping[str, object]], carried: Sequence[str]) -> set[str]:
    """Words that stand with several patients in the columns whose text is a header's or a label."""
    common = set()
    for columns, enough in ((SCANNER, SCANNER_PATIENTS), (carried, LABEL_PATIENTS)):
        patients: dict[str, set[object]] = {}
        for row in metadata:
            for column in columns:
                for word in re.findall(r"[^\W\d_]+", str(row[column]).upper()):
                    patients.setdefault(word, set()).add(row["MRN_DEID"])
        common |= {word for word, who in patients.items() if len(who) >= enough}
    return common


def _replace(part: Path, final: Path) -> None:
    """Put the new release in the place of the earlier one; whoever is killed here leaves one whole
    (see `_recover`)."""
    if final.exists():
        final.rename(_old(final))
    part.rename(final)
    shutil.rmtree(_old(final), ignore_errors=True)


def _recover(final: Path) -> None:
    """Tidy up after a run that was killed: the earlier release comes back, half-made ones go."""
    old = _old(final)
    if old.exists() and not final.exists():
        old.rename(final)
    shutil.rmtree(old, ignore_errors=True)
    shutil.rmtree(final.with_name(f".{final.name}.part"), ignore_errors=True)


def _old(final: Path) -> Path:
    return final.with_name(f".{final.name}.old")


def _manifest() -> list[dict[str, str]]:
    path = HERE.manifest
    if not path.exists():
        raise InputError("manifest.csv is missing; run snakemake first")
    rows = list(read_table(path))
    if any(row["status"] == "included" and not row["patient"] for row in rows):
        raise InputError(
            "manifest.csv was written without privacy.key_file, so it names no patient; run"
            " snakemake again"
        )
    return rows


def _counted(reasons: Iterable[str]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in Counter(reasons).most_common())
