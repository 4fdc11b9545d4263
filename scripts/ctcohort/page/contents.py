"""Gather the contents of the page from a working directory: numbers, accessions, closed
vocabularies.

No MRN, no name, no date of a study and no free text comes in: of `cohort.csv` only the number of
patients leaves, of `series.csv` only reasons and sizes, of the reviews only verdicts.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import math
import platform
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import quantiles
from typing import Any

from ctcohort.archives import access_log
from ctcohort.base import project
from ctcohort.base.faults import InputError
from ctcohort.base.files import read_table
from ctcohort.base.naming import name_of
from ctcohort.base.reasons import FLAGS, SELECTED, SERIES_REASONS
from ctcohort.base.workdir import Workdir
from ctcohort.cohort.report_table import Table
from ctcohort.cohort.reviews import Review, read_reviews, strangers
from ctcohort.cohort.splits import NAMES
from ctcohort.dataset import manifest
from ctcohort.dataset.title import lungs, title
from ctcohort.page.flow import VOLUME, flow, meaning, reached, table_rows
from ctcohort.page.oddness import MEASURES, SAID, WEIGHT, WEIGHT_SAID, Spread, oddness, spread
from ctcohort.volume.record import ScanRecord

WORDS = {
    "status": "Status",
    "status_reason": "Reason",
    "split": "Split",
    "manufacturer": "Manufacturer",
    "model": "Model",
    "convolution_kernel": "Kernel",
    "kvp": "kV",
    "body_part": "Body part",
    "regions": "Regions named",
    "lungs_cut": "Lungs cut at",
    "algorithm_version": "Algorithm version",
    "implausible_z_mm": "Implausible slices at z, mm",
}
"""Columns of the manifest that are shown as words, and what they are called."""

LABEL_VALUES, LABEL_LENGTH = 8, 24
"""A carried column with more different values, or a longer one, is not shown: it is no label."""

AGES_AT_LEAST = 5
"""The ages of fewer volumes are not summed up: they would be those of single scans."""

PACKAGES = ("snakemake", "numpy", "pydicom", "SimpleITK", "imagecodecs")

TABLES = {
    "accessions.txt": "accessions selected",
    "series.csv": "archive asked, series chosen",
    "splits.csv": "patients split",
    "manifest.csv": "manifest written",
}
"""Files whose time stamps say when a step was last done."""


@dataclass(frozen=True, slots=True)
class Contents:
    """The contents of the page, and the pictures that it wants.

    Attributes
    ----------
    data : JSON
    names : of the file, without ending, of each volume, by the accession's index in the cohort
    wanted : indices of the volumes, those to be looked at first in front
    warning : about the reviews table, or empty
    """

    data: dict[str, Any]
    names: dict[int, str]
    wanted: list[int]
    warning: str


def gather(here: Workdir, reviews_path: Path) -> Contents:
    """Read the tables of a working directory, finished or not, or of a merged one.

    Raises
    ------
    InputError
        Nothing has been selected yet, the reviews table is wrong, or the manifest is of another
        release.
    """
    reviews = read_reviews(reviews_path)
    scans = _Scans(reviews)
    for row in _rows(here):
        scans.add(row, here)
    if not scans.accessions:
        raise InputError(
            f"{here.cohort.absolute()}: nothing has been selected yet; run the workflow first"
        )
    spreads, measures = scans.measured()
    volumes = scans.volumes
    odd: list[float | None] = [None] * len(scans.accessions)
    odd_by = [-1] * len(scans.accessions)
    columns = [measure.column for measure in MEASURES]
    for index in volumes:
        values = {column: scans.numbers[column][index] for column in columns}
        odd[index], by = oddness(values, spreads, scans.flags[index].split())
        odd_by[index] = columns.index(by) if by else -1
    names = {index: name_of(scans.accessions[index]) for index in volumes}
    patients = _patients(here)
    listed = "\n".join(scans.accessions).encode()
    data = {
        "id": hashlib.sha256(listed).hexdigest()[:16],
        "title": title(scans.lungs),
        "made": datetime.now(UTC).isoformat(timespec="minutes"),
        "state": _state(here),
        "accessions": scans.accessions,
        "names": {index: name for index, name in names.items() if name != scans.accessions[index]},
        "reached": scans.reached,
        "words": [
            {"key": key, "title": title, **_coded(scans.words[key])} for key, title in WORDS.items()
        ]
        + [
            {"key": f"label {key}", "title": key, **_coded(values)}
            for key, values in scans.labels().items()
        ],
        "flags": _coded(scans.flags),
        "review": _coded(scans.verdicts),
        "numbers": measures,
        "odd": odd,
        "odd_by": odd_by,
        "meanings": {
            reason: meaning(status, reason) for status, reason, _ in scans.lost() if reason
        },
        "flag_meanings": FLAGS,
        "flags_said": sorted(SAID),
        "flag_weights": [WEIGHT, WEIGHT_SAID],
        "table": _table(here),
        "flow": flow(scans.lost()),
        "patients": _count(patients, scans, volumes),
        "splits": _splits(here, scans, patients),
        "hidden_labels": scans.hidden_labels(),
        "bytes": _bytes(here, scans),
        "run": _run(here),
        "reviews_hold_more": _holds_more(reviews_path, reviews, set(scans.accessions)),
    }
    unseen = [index for index in volumes if not scans.verdicts[index]]
    seen = [index for index in volumes if scans.verdicts[index]]
    wanted = [
        *sorted(unseen, key=lambda index: -(odd[index] or 0)),
        *sorted(seen, key=lambda index: -(odd[index] or 0)),
    ]
    return Contents(data, names, wanted, strangers(reviews, scans.accessions, reviews_path))


class _Scans:
    """The manifest, column by column; one index per accession of the cohort, in its order."""

    def __init__(self, reviews: Mapping[str, Review]) -> None:
        self.reviews = reviews
        self.accessions: list[str] = []
        self.words: dict[str, list[str]] = {key: [] for key in WORDS}
        self.carried: dict[str, list[str]] = {}
        self.flags: list[str] = []
        self.verdicts: list[str] = []
        self.reached: list[int] = []
        self.numbers: dict[str, list[float | None]] = {m.column: [] for m in MEASURES}
        self.age: list[float | None] = []
        self.sex: list[str] = []
        self.bytes = {"raw_bytes": 0, "npz_bytes": 0}
        self.lungs: Counter[str] = Counter(lungs(()))

    def add(self, row: Mapping[str, Any], here: Workdir) -> None:
        accession = str(row["accession"])
        status, reason = str(row["status"]), str(row["status_reason"])
        self.accessions.append(accession)
        for key, values in self.words.items():
            values.append(_text(row.get(key)))
        try:
            # only for what is not finished does it matter what has arrived
            arrived = status == "included" or _received(here, accession)
            self.reached.append(reached(status, reason, received=arrived))
        except KeyError:
            raise InputError(
                f"manifest.csv: accession {accession} is {status} for a reason that this release"
                " does not know; run the workflow again to have the manifest written by it"
            ) from None
        self.flags.append(_text(row.get("flags")))
        if self.reached[-1] == VOLUME:
            self.lungs.update(lungs([row]))
        review = self.reviews.get(accession)
        self.verdicts.append(review.verdict if review else "")
        for measure in MEASURES:
            value = _number(row.get(measure.column))
            shown = None if value is None else round(value * measure.factor, measure.digits)
            self.numbers[measure.column].append(shown)
        self.age.append(_number(row.get("age_years")))
        self.sex.append(_text(row.get("sex")))
        for key in self.bytes:
            self.bytes[key] += int(row.get(key) or 0)
        for key in row:
            if key not in manifest.COLUMNS:
                self.carried.setdefault(key, []).append(_text(row[key]))

    @property
    def volumes(self) -> list[int]:
        return [index for index, passed in enumerate(self.reached) if passed == VOLUME]

    def lost(self) -> Iterator[tuple[str, str, int]]:
        """Status, reason and the step that was reached, of each accession."""
        return zip(self.words["status"], self.words["status_reason"], self.reached, strict=True)

    def measured(self) -> tuple[dict[str, Spread | None], list[dict[str, Any]]]:
        """Quartiles of every measure, and the measures with their values as the page has them."""
        spreads = {column: spread(values) for column, values in self.numbers.items()}
        shown = [
            {
                **{key: value for key, value in asdict(measure).items() if key != "factor"},
                "spread": asdict(about) if (about := spreads[measure.column]) else None,
                "values": [_short(value) for value in self.numbers[measure.column]],
            }
            for measure in MEASURES
        ]
        return spreads, shown

    def labels(self) -> dict[str, list[str]]:
        return {key: values for key, values in self.carried.items() if _is_label(values)}

    def hidden_labels(self) -> list[str]:
        return [key for key, values in self.carried.items() if not _is_label(values)]


def _state(here: Workdir) -> str:
    """Return `finished`, `going on` or `earlier`, by the age of the manifest and the series
    table."""
    if not here.manifest.exists():
        return "going on"
    later = here.series.exists() and here.series.stat().st_mtime > here.manifest.stat().st_mtime
    return "earlier" if later else "finished"


def _rows(here: Workdir) -> Iterator[Mapping[str, Any]]:
    """The manifest's, or what there would be in it now."""
    if here.manifest.exists():
        yield from read_table(here.manifest, manifest.COLUMNS)
        return
    yield from manifest.rows(here, manifest.read(here), key=None)


def _received(here: Workdir, accession: str) -> bool:
    return here.received(name_of(accession)).exists()


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _short(value: float | None) -> float | int | None:
    return int(value) if value is not None and value.is_integer() else value


def _is_label(values: Sequence[str]) -> bool:
    different = set(values)
    return len(different) <= LABEL_VALUES and max(map(len, different)) <= LABEL_LENGTH


def _coded(values: Sequence[str]) -> dict[str, Any]:
    """Every different text once, commonest first, and each value's index among them."""
    known = [text for text, _ in Counter(values).most_common()]
    indices = {text: index for index, text in enumerate(known)}
    return {"known": known, "codes": [indices[value] for value in values]}


def _parameters(here: Workdir, stage: str) -> list[Any]:
    """Read the first line of ``.parameters/<stage>.json``: JSON objects, possibly a partition."""
    try:
        text = here.parameters(stage).read_text(encoding="utf-8").partition("\n")[0]
    except OSError:
        return []
    found, index = [], 0
    while text[index:].startswith("{"):
        value, index = json.JSONDecoder().raw_decode(text, index)
        found.append(value)
    if text[index:]:  # a partition: K/N
        found.append(text[index:])
    return found


def _table(here: Workdir) -> dict[str, Any] | None:
    path = here.protocols
    if not path.exists():
        return None
    select = _selection(here)
    return {
        **table_rows(
            read_table(path, ("protocol", "rows", "selected")), select.get("protocols", ())
        ),
        "sample": select.get("sample"),
        "partition": select.get("partition"),
    }


def _selection(here: Workdir) -> dict[str, Any]:
    found = _parameters(here, "select")  # none in a merged data set
    select, partition = (*found[1:], {}, {})[:2]
    return {**select, "partition": partition or None}


def _patients(here: Workdir) -> dict[str, str]:
    """The patient of each accession, of whom only the number leaves this module."""
    path = here.cohort
    if not path.exists():
        return {}
    return {event["accession"]: event["patient_mrn"] for event in read_table(path)}


def _splits(here: Workdir, scans: _Scans, patients: Mapping[str, str]) -> list[dict[str, Any]]:
    """Each set's share, patients, sex, age and labels, over the volumes."""
    indices: dict[str, list[int]] = {name: [] for name in NAMES}
    for index in scans.volumes:
        indices.setdefault(scans.words["split"][index], []).append(index)
    columns: dict[str, Any] = next(iter(_parameters(here, "select")), {})
    shares: dict[str, float] = next(iter(_parameters(here, "splits")), {})
    wanted = {} if columns.get("split") else shares
    return [
        {
            "split": split,
            "volumes": len(inside),
            "wanted": wanted.get(split),
            "patients": _count(patients, scans, inside),
            "sex": dict(Counter(scans.sex[index] or "not said" for index in inside).most_common()),
            "age": _quartiles([scans.age[index] for index in inside]),
            "labels": {
                key: dict(Counter(values[index] for index in inside))
                for key, values in scans.labels().items()
            },
        }
        for split, inside in indices.items()
    ]


def _count(patients: Mapping[str, str], scans: _Scans, indices: Sequence[int]) -> int | None:
    """Count the patients of the scans at `indices`; None where there is no cohort.csv."""
    found = {patients.get(scans.accessions[index]) for index in indices}
    return len(found - {None}) if patients else None


def _quartiles(values: Sequence[float | None]) -> list[float] | None:
    known = [value for value in values if value is not None]
    if len(known) < AGES_AT_LEAST:
        return None
    return [round(value, 1) for value in quantiles(known, n=4, method="inclusive")]


def _bytes(here: Workdir, scans: _Scans) -> dict[str, Any]:
    """Sum the bytes that were fetched and made, and those that choosing on headers left in the
    archive."""
    series: dict[str, list[float]] = defaultdict(lambda: [0.0] * 4)
    path = here.series
    for row in read_table(path) if path.exists() else ():
        if not row["series_uid"]:
            continue
        size = _number(row["estimated_bytes"])
        mine = series[row["reason"]]
        mine[0] += 1
        mine[1] += _number(row["instances"]) or 0
        mine[2] += size or 0
        mine[3] += 0 if size else _number(row["instances"]) or 0
    chosen = series.get(SELECTED, [0.0] * 4)
    mean = chosen[2] / max(1.0, chosen[1] - chosen[3])
    reasons: list[dict[str, Any]] = [
        {
            "reason": reason,
            "meaning": SERIES_REASONS.get(reason, reason),
            "series": int(count),
            "instances": int(instances),
            "bytes": round(size + unknown * mean),
        }
        for reason, (count, instances, size, unknown) in series.items()
    ]
    reasons.sort(key=lambda entry: -entry["bytes"])
    return {
        **scans.bytes,
        "series": reasons,
        "spared": sum(entry["bytes"] for entry in reasons if entry["reason"] != SELECTED),
        "log": asdict(access_log.totals(here.archive_log)) if here.archive_log.exists() else None,
    }


def _run(here: Workdir) -> dict[str, Any]:
    """Return release, packages, parameters as the stages noted them, and dates."""
    select = _parameters(here, "select")
    indexing = _parameters(here, "index")
    noted = _parameters(here, "volume")
    volume = json.loads(noted[0]["volume"]) if noted else _recorded(here)
    splits = _parameters(here, "splits")
    parameters = {
        "columns": select[:1],
        "select": select[1:2],
        "partition": select[2:3],
        "series": indexing[:1],
        "volume": [volume] if volume else [],
        "splits": splits[:1],
    }
    return {
        "release": project.version(),
        "python": platform.python_version(),
        "packages": dict(_versions()),
        "parameters": {key: found[0] for key, found in parameters.items() if found},
        "dates": [
            {"file": name, "what": what, "at": _date((here.root / name).stat().st_mtime)}
            for name, what in TABLES.items()
            if (here.root / name).exists()
        ],
    }


def _recorded(here: Workdir) -> dict[str, Any]:
    """The parameters of a volume that is there, where the stages noted theirs elsewhere: `merge`
    has proven that all volumes were made with the same."""
    record = next(here.volumes.glob("*.json"), None)
    return ScanRecord.read(record).parameters if record else {}


def _versions() -> Iterator[tuple[str, str]]:
    for package in PACKAGES:
        try:
            yield package, importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="minutes")


def _holds_more(path: Path, reviews: Mapping[str, Review], accessions: set[str]) -> bool:
    """Return True if the reviews table holds what the page does not: notes, other rows or columns.

    Then it can only be saved together with the file itself.
    """
    if not path.exists():
        return False
    return (
        bool(set(Table(path).header) - {"accession", "verdict", "note"})
        or bool(reviews.keys() - accessions)
        or any(review.note for review in reviews.values())
    )
