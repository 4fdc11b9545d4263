"""``processed/<name>.json``: the scan record, all that was measured and done to one scan.

Snakemake reads the beginning of these files while it plans, so this module needs the standard
library only.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from ctcohort.base.faults import InputError
from ctcohort.base.files import head, read_sealed_json, write_sealed_json
from ctcohort.series.measures import Measures

_DIGEST = re.compile(r'"parameters_digest":\s*"([^"]*)"')


@dataclass(frozen=True, slots=True)
class DroppedSlice:
    """A slice that was not used.

    Attributes
    ----------
    why : str
        `duplicate`, `other_pass`, `minority`, or a word of `reasons.SERIES_REASONS`.
    z : float or None
        Its position along the stack, mm; None where it has none.
    """

    sop_instance_uid: str
    frame: int
    why: str
    z: float | None


@dataclass(frozen=True, slots=True)
class CertificateMeasures:
    """Measurements of `certificate.Certificate` on the whole scan before clipping.

    `clipped_low`, `clipped_high`, `padded` and `tissue_share` are shares of the voxels;
    `air_peak_hu` is the middle of the fullest bin of air, None where there is no air.
    `implausible_slices` are the indices, from the head, of slices that their neighbours contradict;
    records of earlier releases lack them.
    """

    voxels: int
    clipped_low: float
    clipped_high: float
    padded: float
    air_peak_hu: float | None
    tissue_share: float
    bone_behind_body: bool | None
    implausible_slices: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanRecord:
    """The record of one scan; its fields are the keys of the file, in this order.

    Fields with a default are filled in when the volume has been written. Records of earlier
    releases may lack `burned_in_annotation` and `face_possible`, and what is known of the body:
    `body_part`, `regions`, `lung_ml` and `lungs_cut`.

    Attributes
    ----------
    parameters_digest : str
        `settings.digest` of all that decided the volume besides its slices.
    body_part : BodyPartExamined
    regions : of the body, as `regions.regions` finds them named in the headers
    lung_ml, lungs_cut : as `lungs.Lungs` measures them; None where nobody has
    orientation : six direction cosines, of the rows and of the columns
    z_positions : mm towards the head, of the slices used
    matrix : rows, columns of the slices
    shape : voxels along (z, y, x)
    spacing : mm along (z, y, x)
    transform : 4 x 4, voxel index (z, y, x, 1) to patient LPS (x, y, z, 1) in mm
    """

    parameters_digest: str = ""
    parameters: dict[str, Any] = field(default_factory=dict)
    algorithm_version: str
    series_uid: str
    body_part: str = ""
    regions: list[str] = field(default_factory=list)
    manufacturer: str
    model: str
    convolution_kernel: str
    kvp: float | None
    slice_thickness: float | None
    gantry_tilt_tag: float | None
    age_years: float | None
    sex: str
    burned_in_annotation: bool | None = None
    face_possible: bool | None = None
    transfer_syntaxes: list[str]
    source: Measures
    slopes: list[float]
    intercepts: list[float]
    orientation: list[float]
    z_positions: list[float]
    matrix: list[int]
    dropped: list[DroppedSlice]
    extrapolated_slices: int
    certificate: CertificateMeasures
    lung_ml: float | None = None
    lungs_cut: list[str] = field(default_factory=list)
    flags: list[str]
    shape: list[int]
    spacing: list[float]
    transform: list[list[float]]
    duplicate_files: int = 0
    raw_bytes: int = 0
    npz_bytes: int = 0
    npz_sha256: str = ""

    @property
    def implausible_z(self) -> list[float]:
        """Positions of the implausible slices, mm towards the head."""
        return [self.z_positions[index] for index in self.certificate.implausible_slices]

    def write(self, path: Path) -> None:
        """Write it; the parameters' digest comes first (see `made_with`)."""
        write_sealed_json(path, asdict(self))

    @classmethod
    def read(cls, path: Path) -> ScanRecord:
        """Read what `write` wrote; keys that this release does not know are passed over.

        Raises
        ------
        InputError
            The file is damaged.
        FileNotFoundError
        """
        try:
            content = read_sealed_json(path)
            content["source"] = _known(Measures, content["source"])
            content["certificate"] = _known(CertificateMeasures, content["certificate"])
            content["dropped"] = [_known(DroppedSlice, drop) for drop in content["dropped"]]
            record: ScanRecord = _known(cls, content)
        except FileNotFoundError:
            raise
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            raise InputError(
                f"{path}: cannot be read as a scan record; delete {path} and run snakemake again:"
                " the volume is made anew"
            ) from None
        return record


def _known(kind: type[Any], content: dict[str, Any]) -> Any:
    names = {one.name for one in fields(kind)}
    return kind(**{key: value for key, value in content.items() if key in names})


def made_with(path: Path | str) -> str:
    """Return the digest of the parameters that made a scan; empty where there is no record.

    Only the beginning of the file is read: planning asks this of every scan.
    """
    found = _DIGEST.search(head(path))
    return found[1] if found else ""
