"""Cache of the archive's answers, one file per accession.

``index/answers/<name>.json.gz``, one file per accession, written whole and renamed: a killed index
goes on where it was, and a withdrawn patient is one file to delete. It holds the attributes that
`headers.Header` has and nothing else.
"""

from __future__ import annotations

import gzip
import json
import secrets
import zlib
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ctcohort.archives.protocol import FoundSeries, Query
from ctcohort.base.faults import Fault, InputError
from ctcohort.base.files import delete, write_bytes, write_lines
from ctcohort.base.naming import name_of
from ctcohort.base.seals import assert_unchanged
from ctcohort.base.workdir import Workdir
from ctcohort.dicom.headers import Header, pack, unpack


@dataclass(slots=True)
class Answer:
    """The series found for an accession by a query, and the headers of those looked at."""

    series: list[FoundSeries] = field(default_factory=list)
    headers: dict[str, list[Header]] = field(default_factory=dict)
    query: Query | None = None

    @property
    def final(self) -> bool:
        """Return True if it need not be queried again: what was found is online and has arrived."""
        counts = {series.series_uid: series.instances for series in self.series}
        arriving = any(
            not headers or counts[uid] != len(headers) for uid, headers in self.headers.items()
        )
        return bool(counts) and not arriving and not any(series.offline for series in self.series)


def _path_of(accession: str) -> Path:
    return Workdir().answer(name_of(accession))


def save(accession: str, answer: Answer) -> None:
    """Keep an answer; an equal one is left alone."""
    content = {
        "query": asdict(answer.query) if answer.query else None,
        "series": [asdict(series) for series in answer.series],
        "headers": {uid: pack(headers) for uid, headers in sorted(answer.headers.items())},
    }
    packed = gzip.compress(json.dumps(content).encode(), 1, mtime=0)
    path = _path_of(accession)
    if path.is_dir():
        delete(path)
    if not path.exists() or path.read_bytes() != packed:
        write_bytes(path, packed)


def load(accession: str) -> Answer | None:
    """The kept answer, or None where there is none or it cannot be read."""
    try:
        content = json.loads(gzip.decompress(_path_of(accession).read_bytes()))
        query = content["query"] and Query(
            tuple(content["query"]["accession_numbers"]), content["query"]["study_uid"]
        )
        return Answer(
            [FoundSeries(**series) for series in content["series"]],
            {uid: unpack(packed) for uid, packed in content["headers"].items()},
            query,
        )
    except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, zlib.error):
        return None  # damaged, or kept by a release that knew other facts


def forget(accession: str) -> None:
    """Discard a cached answer that is out of date, so that the next index queries this accession
    again."""
    _path_of(accession).unlink(missing_ok=True)
    write_lines(Workdir().ask_again, [accession])


def headers_of(accession: str, series_uid: str) -> list[Header]:
    """Headers of the chosen series, from the kept answer."""
    answer = load(accession)
    if answer is None or series_uid not in answer.headers:
        raise Fault(
            "archive_refused",
            f"the cached answer {_path_of(accession)} does not contain series {series_uid};"
            " run `snakemake --forcerun index_series` to ask the archive again",
        )
    return answer.headers[series_uid]


def patient_key() -> bytes:
    """Key of `headers.patient_mark`: random, made once, private to this working directory."""
    path = Workdir().patient_key
    try:
        assert_unchanged(path)
    except InputError:
        raise InputError(
            f"{path}: is damaged, and with it the marks of patients; delete {path.parent} and run"
            " snakemake again: the archive is asked anew"
        ) from None
    if not path.exists():
        write_bytes(path, secrets.token_bytes(32), sealed=True)
    return path.read_bytes()
