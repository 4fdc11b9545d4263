"""From the report table to volumes, step by step: how many pass each step, and why others do not.

Every accession of the cohort is lost at exactly one step, named by its status and its reason in the
manifest, or it is a volume. So the numbers of a step are sums over the manifest's rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ctcohort.base.reasons import MEANINGS, REFUSED


@dataclass(frozen=True, slots=True)
class Step:
    """A step that accessions pass or are lost at.

    Attributes
    ----------
    passed : what is true of an accession that has passed
    reasons : words of the vocabulary that stop an accession here
    """

    name: str
    title: str
    passed: str
    reasons: frozenset[str]


STEPS = (
    Step(
        "accession",
        "can be asked for",
        "Its rows in the report table agree, it has an MRN, an archive can be asked for it, and"
        " nobody has excluded it.",
        frozenset({"conflicting_rows", "no_mrn", "invalid_accession", "excluded_by_user"}),
    ),
    Step(
        "found",
        "found in the archive",
        "The archive answered, has exactly one study of one patient for it, on line and complete.",
        frozenset(
            {
                *("not_found", "no_answer", "offline", "ambiguous_study", "patient_mismatch"),
                *("still_arriving",),
            }
        ),
    ),
    Step(
        "original",
        "with an original CT series",
        "At least one of its series is CT and of a wanted kind: no scout, secondary capture,"
        " reformat or spectral product, and nothing that series.contrast or"
        " series.exclude_description_regex or series.body_part_exclude leaves out.",
        frozenset(
            {
                *("no_ct_series", "not_ct", "localizer", "secondary", "derived", "derived_lossy"),
                *("spectral", "contrast", "description_excluded", "body_part_excluded"),
            }
        ),
    ),
    Step(
        "geometry",
        "with a usable stack of slices",
        "One such series is axial, of one geometry, in Hounsfield units, with enough slices at"
        " distinct positions and even enough steps: it is selected.",
        frozenset(
            {
                *("no_geometry", "too_few_slices", "not_axial", "mixed_geometry", "tilted"),
                *("conflicting_instances", "duplicate_positions", "no_rescale", "not_hounsfield"),
                *("too_irregular", "fov_too_small", "unreadable_header", "no_pixel_data"),
                *("too_large", "too_few_bits", "overlapping_acquisitions", "private_compression"),
                # candidates that only lose to another one never leave an accession without any
                *("fewer_slices", "tie_lost"),
            }
        ),
    ),
    Step(
        "downloaded",
        "downloaded",
        "Every file of the selected series has arrived and was checked.",
        frozenset({"archive_unreachable", "archive_refused", "transfer_incomplete"}),
    ),
    Step(
        "volume",
        "became a volume",
        "The volume and its record are there: `included` in the manifest.",
        frozenset(
            {
                *("undecodable_pixels", "truncated_file", "checksum_mismatch", "no_space"),
                *("unequal_duplicates", "wrong_input", "internal_error"),
                *("out_of_time", "out_of_memory", "node_lost", "killed"),
            }
        ),
    ),
)

VOLUME = len(STEPS)
"""What `reached` gives for an accession that has passed every step."""

PENDING = {
    "not indexed": "the archive has not been asked for it yet",
    "another series is chosen now": "its volume is of a series that is not the selected one now",
    "": "not made yet",
}

_STEP_OF = {word: index for index, step in enumerate(STEPS) for word in step.reasons}
_FOUND = 1
_DOWNLOADED = 4


def reached(status: str, reason: str, *, received: bool = True) -> int:
    """Return how many steps an accession has passed: the index in `STEPS` of the one it is lost at.

    Parameters
    ----------
    status, reason : str
        `status` and `status_reason` of the manifest or of ``status.csv``.
    received : bool
        Whether its files have arrived, where that decides.
    """
    if status == "included":
        return VOLUME
    if status == "excluded":  # a refused accession was never found, a refused download was
        return _FOUND if reason == REFUSED else _STEP_OF[reason]
    if reason == "not indexed":
        return _FOUND
    if reason in STEPS[_DOWNLOADED].reasons:
        return _DOWNLOADED
    return _DOWNLOADED + received


def meaning(status: str, reason: str) -> str:
    """Return the meaning of `status_reason` in the vocabulary's words."""
    return PENDING.get(reason, reason) if status == "pending" else MEANINGS.get(reason, reason)


def flow(lost: Iterable[tuple[str, str, int]]) -> list[dict[str, Any]]:
    """The steps with their numbers.

    Parameters
    ----------
    lost : iterable of (status, reason, reached)
        One per accession of the cohort.

    Returns
    -------
    list of dict
        ``name, title, passed`` as in `Step`, ``count`` of the accessions that have passed it, and
        ``lost``: status, reason, meaning and count, commonest first.
    """
    groups = Counter(lost)
    left = groups.total()
    steps = []
    for index, step in enumerate(STEPS):
        here = [
            {"status": status, "reason": reason, "meaning": meaning(status, reason), "count": count}
            for (status, reason, at), count in groups.most_common()
            if at == index
        ]
        left -= sum(count for (*_, at), count in groups.items() if at == index)
        steps.append(
            {
                "name": step.name,
                "title": step.title,
                "passed": step.passed,
                "count": left,
                "lost": here,
            }
        )
    return steps


def table_rows(protocols: Iterable[Mapping[str, str]], named: Iterable[str]) -> dict[str, Any]:
    """Summarise the report table's rows from `protocols.csv`.

    Parameters
    ----------
    named : iterable of str
        The protocols that the config names. Only those are shown: another's description may hold
        anything.
    """
    named = set(named)
    total = selected = others = 0
    shown = []
    by_pattern = [0, 0]
    for row in protocols:
        count = int(row["rows"])
        total += count
        if row["selected"] != "true":
            others += 1
            continue
        selected += count
        if row["protocol"] in named:
            shown.append({"protocol": row["protocol"], "rows": count})
        else:
            by_pattern[0] += 1
            by_pattern[1] += count
    return {
        "rows": total,
        "selected_rows": selected,
        "protocols": shown,
        "by_pattern": {"protocols": by_pattern[0], "rows": by_pattern[1]},
        "other_protocols": others,
    }
