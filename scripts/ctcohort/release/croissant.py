"""``croissant.json``: a release for programs, in Croissant 1.1 (docs.mlcommons.org/croissant).

Volumes are a set of files: one by one, those of a large cohort would be megabytes of JSON. Their
checksums stand in the table. What nobody has told (creator, address, date) is left out.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

from ctcohort.dataset.columns import UNITS, Column
from ctcohort.release.facts import METADATA, Facts

NAME = "croissant.json"
VERSION = "http://mlcommons.org/croissant/1.1"

SPLITS = {"train": "cr:TrainingSplit", "val": "cr:ValidationSplit", "test": "cr:TestSplit"}

TYPES = {str: "sc:Text", int: "sc:Integer", float: "sc:Float", bool: "sc:Boolean"}

_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "dct": "http://purl.org/dc/terms/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "sc": "https://schema.org/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "description": {"@container": "@language"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "name": {"@container": "@language"},
} | {
    term: f"cr:{term}"
    for term in (
        *("annotation", "arrayShape", "citeAs", "column", "containedIn", "equivalentProperty"),
        *("extract", "field", "fileObject", "fileProperty", "fileSet", "format", "includes"),
        *("isArray", "isLiveDataset", "jsonPath", "key", "md5", "parentField", "path"),
        *("recordSet", "references", "regex", "repeated", "replace", "samplingRate"),
        *("separator", "source", "subField", "transform"),
    )
}
"""The terms that every Croissant file declares, those that it does not use, too."""


def croissant(facts: Facts, table: bytes) -> bytes:
    """JSON-LD. It holds no date.

    Parameters
    ----------
    table : the bytes of ``metadata.csv``
    """
    content = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": VERSION,
        "name": facts.title,
        "description": " ".join(facts.summary),
        **_licence(facts),
        "keywords": facts.keywords,
        "distribution": [_table(table), *_volumes(facts)],
        "recordSet": [_splits(), _scans(facts)],
    }
    return f"{json.dumps(content, indent=1, ensure_ascii=False)}\n".encode()


def _licence(facts: Facts) -> dict[str, Any]:
    licence = facts.settings.licence
    if not licence:
        return {}
    if facts.spdx:
        return {"license": f"https://spdx.org/licenses/{facts.spdx}"}
    return {"license": {"@type": "sc:CreativeWork", "name": licence}}


def _table(table: bytes) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": METADATA,
        "name": METADATA,
        "description": "One row per volume.",
        "contentUrl": METADATA,
        "contentSize": str(len(table)),
        "encodingFormat": "text/csv",
        "sha256": hashlib.sha256(table).hexdigest(),
    }


def _volumes(facts: Facts) -> list[dict[str, Any]]:
    """Formats without a media type: for such, Croissant has the address of an explanation."""
    numpy = {
        "@type": "cr:FileSet",
        "@id": "npz",
        "name": "npz",
        "description": "The volumes: NumPy arrays ct (int16, z y x, Hounsfield units), spacing,"
        " origin and direction.",
        "encodingFormat": "https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html",
        "includes": "*.npz",
    }
    blosc2 = {
        "@type": "cr:FileSet",
        "@id": "b2nd",
        "name": "b2nd",
        "description": "Each volume again as Blosc2, to read patches.",
        "encodingFormat": "https://www.blosc.org/python-blosc2/",
        "includes": "*.b2nd",
    }
    return [numpy, blosc2] if facts.settings.chunked else [numpy]


def _splits() -> dict[str, Any]:
    fields = {"name": "sc:Text", "url": ["sc:URL", "cr:Split"]}
    return {
        "@type": "cr:RecordSet",
        "@id": "splits",
        "name": "splits",
        "description": "The sets. A patient is in one set only.",
        "dataType": "cr:Split",
        "key": {"@id": "splits/name"},
        "field": [
            {"@type": "cr:Field", "@id": f"splits/{name}", "name": name, "dataType": type_}
            for name, type_ in fields.items()
        ],
        "data": [{"splits/name": name, "splits/url": url} for name, url in SPLITS.items()],
    }


def _scans(facts: Facts) -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": "scans",
        "name": "scans",
        "description": f"One record per volume. {UNITS} Lists are JSON.",
        "key": {"@id": "scans/NoteAcc_DEID"},
        "field": [
            _field(name, column, number, is_label=name in facts.labels)
            for number, (name, column) in enumerate(facts.described().items(), 1)
        ],
    }


def _field(name: str, column: Column, number: int, *, is_label: bool) -> dict[str, Any]:
    """A column; where its name cannot be part of an identifier, its number tells it from others."""
    plain = re.sub(r"[^\w-]+", "_", name)
    type_ = TYPES[column.type]
    field = {
        "@type": "cr:Field",
        "@id": f"scans/{name if plain == name else f'{plain}.{number}'}",
        "name": name,
        "description": column.meaning,
        "dataType": [type_, "cr:Label"] if is_label else type_,
        "source": {"fileObject": {"@id": METADATA}, "extract": {"column": name}},
    }
    if name == "split":
        field["references"] = {"field": {"@id": "splits/name"}}
    return field
