"""The data card: the release's own README, for a reader who has nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ctcohort import ALGORITHM_VERSION
from ctcohort.base import project
from ctcohort.base.reasons import (
    ACCESSION_REASONS,
    FLAGS,
    RELEASE_REASONS,
    SELECTED,
    SERIES_REASONS,
)
from ctcohort.cohort.splits import NAMES
from ctcohort.config.settings import ReleaseSettings
from ctcohort.dataset.title import lungs, title

CITATION = (
    "R. L. Draelos, D. Dov, M. A. Mazurowski, J. Y. Lo, R. Henao, G. D. Rubin, L. Carin:\n"
    "*Machine-learning-based multiple abnormality prediction with large-scale chest computed\n"
    "tomography volumes*, Medical Image Analysis, volume 67"
)

LOADING = """\
```python
import csv
import numpy as np

with open("metadata.csv", newline="") as table:
    scans = [row for row in csv.DictReader(table) if row["split"] == "train"]
with np.load(scans[0]["VolumeAcc_DEID"]) as scan:
    ct = scan["ct"]  # int16 (z, y, x), Hounsfield units
    mm = scan["spacing"]  # (z, y, x)
```
"""


def card(
    metadata: Sequence[Mapping[str, Any]],
    *,
    reasons: Mapping[str, int],
    parameters: Mapping[str, Any],
    settings: ReleaseSettings,
    labels: Sequence[str],
    about: str = "",
) -> str:
    """Markdown. It holds no date, and no number of five digits in one piece that could be taken
    for an identifier.

    Parameters
    ----------
    metadata : rows of ``metadata.csv``
    reasons : how many scans were left out for each word of the vocabularies
    parameters : the config's `volume`, as the records keep it
    labels : the carried columns
    about : Markdown of whoever releases, the text of `release.about`
    """
    meanings = SERIES_REASONS | ACCESSION_REASONS | RELEASE_REASONS
    lung = lungs(metadata)
    sections = {
        title(lung): [
            f"{_count(len(metadata))} scans of {_count(_patients(metadata))} patients, as"
            " three-dimensional arrays in Hounsfield units, without identifiers.",
            _lungs(lung),
            f"Licence: {settings.licence or 'not stated; ask whoever gave you this before use'}.",
        ],
        **({"About": [about]} if about else {}),
        "Sets": [_sets(metadata), "A patient is in one set only."],
        "Files": [
            "- `trn*.npz`, `val*.npz`, `tst*.npz`: the volumes. A name is never given twice; gaps"
            " in the numbers are scans that were withdrawn or left out.\n"
            + ("- `*.b2nd`: each again as Blosc2, to read patches.\n" * settings.chunked)
            + "- `metadata.csv`: one row per volume.\n"
            "- `SHA256SUMS`: check with `sha256sum -c SHA256SUMS`.",
            LOADING.rstrip(),
            "Index 0 along z is the topmost slice, y runs to the patient's back, x to the patient's"
            " left. `origin` (mm, patient LPS) and `direction` (columns: the z, y and x axes) place"
            " every voxel: `origin + direction @ (spacing * (z, y, x))`.",
        ],
        "Columns of metadata.csv": [
            "`NoteAcc_DEID` and `VolumeAcc_DEID` name the scan, `MRN_DEID` the patient."
            " `PatientAge` is in whole years as DICOM writes it; `090Y` stands for every age from"
            " 90 on. `full_filename_npz` to `transform` are the columns of the RAD-ChestCT log;"
            " `transform` maps (z, y, x, 1) to patient LPS in mm. The columns after it were"
            " measured on the source series.",
            _labels(metadata, labels),
            "Flags, none of which excludes a scan:",
            _flags(metadata),
        ],
        "Method": [
            f"Made by ct-cohort {project.version()}, algorithm version {ALGORITHM_VERSION}: of each"
            " examination the original axial series with the most slice positions, in Hounsfield"
            " units, clipped, then resampled, with the parameters below. The method goes back to",
            CITATION + ".",
            _parameters(parameters),
        ],
        "What was left out": [
            _reasons(reasons, meanings),
            f"Youngest admitted age: {_or_none(settings.min_age)}. Scans in which a face may be"
            f" visible: {'included' if settings.faces == 'include' else 'left out'}. Scans that"
            f" nobody has looked at: {'left out' if settings.reviewed_only else 'included'}.",
        ],
        "Limits": [
            "- Identifiers were taken away; that is not anonymity. Whoever has other images or"
            " reports of a patient may recognise the patient. Do not try to.\n"
            "- Whether a face may be visible was judged by a simple measure, whether text is burned"
            " into the pixels by what the header says.\n"
            "- A scan is one examination of a patient who needed one: the shares of findings here"
            " are not those of the population.\n"
            "- Hounsfield units beyond the clip are lost. Resampling makes no detail: along z a"
            " scan is as coarse as its slices were (`orig_zdiff`, `slice_thickness`).",
        ],
    }
    return "\n".join(
        f"{'##' if number else '#'} {title}\n\n" + "\n\n".join(filter(None, paragraphs)) + "\n"
        for number, (title, paragraphs) in enumerate(sections.items())
    )


def _lungs(counts: Mapping[str, int]) -> str:
    told = {
        "whole": "whole lungs in {}",
        "cut": "lungs that the first or the last slice cuts in {}",
        "none": "no lung in {}",
        "unknown": "not measured in {}",
    }
    parts = [told[key].format(_count(number)) for key, number in counts.items() if number]
    return f"Measured on the scans: {', '.join(parts)}."


def _count(number: int) -> str:
    return f"{number:,}"


def _patients(rows: Sequence[Mapping[str, Any]]) -> int:
    return len({row["MRN_DEID"] for row in rows})


def _sets(metadata: Sequence[Mapping[str, Any]]) -> str:
    lines = ["| set | scans | patients | female | male | median age |", "|---|---|---|---|---|---|"]
    for name in NAMES:
        rows = [row for row in metadata if row["split"] == name]
        sexes = Counter(row["PatientSex"] for row in rows)
        ages = sorted(int(row["PatientAge"][:3]) for row in rows if row["PatientAge"])
        median = str(ages[len(ages) // 2]) if ages else ""
        counts = (len(rows), _patients(rows), sexes["F"], sexes["M"])
        lines.append(f"| {name} | {' | '.join(map(_count, counts))} | {median} |")
    return "\n".join(lines)


def _labels(metadata: Sequence[Mapping[str, Any]], labels: Sequence[str]) -> str:
    lines = []
    for label in labels:
        values = Counter(row[label] for row in metadata)
        if len(values) > 10:
            lines.append(f"- `{label}`: {_count(len(values))} values")
        else:
            told = ", ".join(
                f"{value or 'empty'}: {_count(n)}" for value, n in sorted(values.items())
            )
            lines.append(f"- `{label}`: {told}")
    return "Labels, as the reports' table had them:\n\n" + "\n".join(lines) if lines else ""


def _flags(metadata: Sequence[Mapping[str, Any]]) -> str:
    counts = Counter(flag for row in metadata for flag in str(row["flags"]).split())
    return _tabled(counts, FLAGS) if counts else "none was raised."


def _reasons(reasons: Mapping[str, int], meanings: Mapping[str, str]) -> str:
    counts = {reason: count for reason, count in reasons.items() if reason != SELECTED}
    return _tabled(counts, meanings) if counts else "Nothing."


def _tabled(counts: Mapping[str, int], meanings: Mapping[str, str]) -> str:
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return "| scans | word | meaning |\n|---|---|---|\n" + "\n".join(
        f"| {_count(count)} | `{word}` | {meanings.get(word, '')} |" for word, count in ordered
    )


def _parameters(parameters: Mapping[str, Any]) -> str:
    return "| parameter | value |\n|---|---|\n" + "\n".join(
        f"| `{name}` | {value} |" for name, value in sorted(parameters.items())
    )


def _or_none(value: float | None) -> str:
    return "none" if value is None else f"{value:g} years"
