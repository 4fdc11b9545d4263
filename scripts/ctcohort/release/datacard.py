"""The data card: the release's own README, for a reader who has nothing else.

Its front matter is what Hugging Face reads of a dataset (huggingface.co/docs/hub/datasets-cards).
"""

from __future__ import annotations

import json
import re
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
from ctcohort.dataset.columns import UNITS
from ctcohort.release.facts import METADATA, Facts, counted, patients

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
    facts: Facts,
    *,
    reasons: Mapping[str, int],
    parameters: Mapping[str, Any],
    about: str = "",
) -> str:
    """Markdown. It holds no date, and no number of five digits in one piece that could be taken
    for an identifier.

    Parameters
    ----------
    reasons : how many scans were left out for each word of the vocabularies
    parameters : the config's `volume`, as the records keep it
    about : Markdown of whoever releases, the text of `release.about`
    """
    meanings = SERIES_REASONS | ACCESSION_REASONS | RELEASE_REASONS
    metadata, labels, settings = facts.rows, facts.labels, facts.settings
    sections = {
        facts.title: [
            *facts.summary,
            f"Licence: {settings.licence or 'not stated; ask whoever gave you this before use'}.",
        ],
        **({"About": [about]} if about else {}),
        "Sets": [_sets(metadata), "A patient is in one set only."],
        "Files": [
            "- `trn*.npz`, `val*.npz`, `tst*.npz`: the volumes. A name is never given twice; gaps"
            " in the numbers are scans that were withdrawn or left out.\n"
            + ("- `*.b2nd`: each again as Blosc2, to read patches.\n" * settings.chunked)
            + "- `metadata.csv`: one row per volume.\n"
            "- `croissant.json`: this folder for programs that read Croissant.\n"
            "- `SHA256SUMS`: check with `sha256sum -c SHA256SUMS`.",
            LOADING.rstrip(),
            "Index 0 along z is the topmost slice, y runs to the patient's back, x to the patient's"
            " left. `origin` (mm, patient LPS) and `direction` (columns: the z, y and x axes) place"
            " every voxel: `origin + direction @ (spacing * (z, y, x))`.",
        ],
        "Columns of metadata.csv": [
            f"{UNITS} Lists are JSON. `full_filename_npz` to `transform` are the columns of the"
            " RAD-ChestCT log; those after them were measured on the source series.",
            "| column | meaning |\n|---|---|\n"
            + "\n".join(
                f"| `{name}` | {column.meaning} |"
                for name, column in facts.described().items()
                if name not in labels
            ),
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
    return _front_matter(facts) + "\n".join(
        f"{'##' if number else '#'} {title}\n\n" + "\n\n".join(filter(None, paragraphs)) + "\n"
        for number, (title, paragraphs) in enumerate(sections.items())
    )


def _front_matter(facts: Facts) -> str:
    """YAML, each value as JSON, which YAML includes."""
    files = [{"split": "scans", "path": METADATA}]
    content = {
        **_licence(facts),
        "pretty_name": facts.title,
        "size_categories": [facts.size],
        "tags": facts.keywords,
        "configs": [{"config_name": "default", "data_files": files}],
    }
    lines = [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in content.items()]
    return "\n".join(["---", *lines, "---", "", ""])


def _licence(facts: Facts) -> dict[str, str]:
    """Hugging Face knows the licences of Creative Commons; of another it asks for a name."""
    licence = facts.settings.licence
    if not licence:
        return {}
    if facts.spdx:
        return {"license": facts.spdx.lower()}
    name = re.sub(r"[^a-z0-9.]+", "-", licence.lower()).strip("-")
    return {"license": "other", "license_name": name}


def _sets(metadata: Sequence[Mapping[str, Any]]) -> str:
    lines = ["| set | scans | patients | female | male | median age |", "|---|---|---|---|---|---|"]
    for name in NAMES:
        rows = [row for row in metadata if row["split"] == name]
        sexes = Counter(row["PatientSex"] for row in rows)
        ages = sorted(int(row["PatientAge"][:3]) for row in rows if row["PatientAge"])
        median = str(ages[len(ages) // 2]) if ages else ""
        counts = (len(rows), patients(rows), sexes["F"], sexes["M"])
        lines.append(f"| {name} | {' | '.join(map(counted, counts))} | {median} |")
    return "\n".join(lines)


def _labels(metadata: Sequence[Mapping[str, Any]], labels: Sequence[str]) -> str:
    lines = []
    for label in labels:
        values = Counter(row[label] for row in metadata)
        if len(values) > 10:
            lines.append(f"- `{label}`: {counted(len(values))} values")
        else:
            told = ", ".join(
                f"{value or 'empty'}: {counted(n)}" for value, n in sorted(values.items())
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
        f"| {counted(count)} | `{word}` | {meanings.get(word, '')} |" for word, count in ordered
    )


def _parameters(parameters: Mapping[str, Any]) -> str:
    return "| parameter | value |\n|---|---|\n" + "\n".join(
        f"| `{name}` | {value} |" for name, value in sorted(parameters.items())
    )


def _or_none(value: float | None) -> str:
    return "none" if value is None else f"{value:g} years"
