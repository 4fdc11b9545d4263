"""The columns of ``manifest.csv``, in their order: the type of each, and what it means.

``docs/manifest.md`` explains them in these words; a release describes its table with them.
"""

from __future__ import annotations

from typing import NamedTuple

UNITS = "Lengths are mm, HU are Hounsfield units, shares are of all source voxels."


class Column(NamedTuple):
    """A column of a table: the type of its values, any of which may be missing, and its meaning.

    Lists are text, in JSON.
    """

    type: type[str] | type[int] | type[float] | type[bool]
    meaning: str


MANIFEST = {
    "accession": Column(str, "as in the report table"),
    "patient": Column(str, "the patient's pseudonym under privacy.key_file; empty without a key"),
    "split": Column(str, "train, val or test, by patient"),
    "status": Column(str, "included or excluded (status.csv also has pending and failed)"),
    "status_reason": Column(str, "why it is excluded: a word"),
    "flags": Column(str, "words for what to look at, separated by blanks; a flag never excludes"),
    "full_filename_npz": Column(str, "file in processed/"),
    "orig_square": Column(int, "source rows and columns, where they are equal"),
    "orig_numslices": Column(int, "source slices at distinct positions"),
    "orig_slope": Column(str, "RescaleSlope; a list where it varies"),
    "orig_inter": Column(str, "RescaleIntercept; a list where it varies"),
    "orig_yxspacing": Column(float, "source pixel spacing, where it is equal both ways"),
    "orig_zpositions_all": Column(str, "slice positions from the head, along the line of slices"),
    "orig_zdiff_all": Column(str, "the distances between them"),
    "orig_zdiff_set": Column(str, "the different distances"),
    "orig_zdiff": Column(float, "the slice spacing that was used"),
    "zdiffs_all_equal": Column(bool, "whether all distances are equal to 0.0001"),
    "orig_orientation": Column(str, "ImageOrientationPatient, the series' median"),
    "orig_gantry_tilt": Column(float, "GantryDetectorTilt as the header has it; not used"),
    "final_square": Column(int, "rows and columns of the volume, where they are equal"),
    "final_numslices": Column(int, "slices of the volume"),
    "final_spacing": Column(str, "voxel size of the volume; a list z, y, x where it differs"),
    "transform": Column(str, "4 x 4 matrix: voxel index (z, y, x, 1) to patient LPS (x, y, z, 1)"),
    "series_uid_hash": Column(str, "the series under privacy.key_file; empty without a key"),
    "manufacturer": Column(str, "maker of the scanner"),
    "model": Column(str, "model of the scanner"),
    "convolution_kernel": Column(str, "kernel of the reconstruction"),
    "kvp": Column(float, "tube voltage, kV"),
    "age_years": Column(float, "age at the study"),
    "sex": Column(str, "the patient's, as the header has it"),
    "slice_thickness": Column(float, "as the header has it; not the spacing"),
    "row_spacing": Column(float, "distance between source rows"),
    "column_spacing": Column(float, "distance between source columns"),
    "z_error_mm": Column(
        float,
        "largest distance between where a slice is and where the volume puts it",
    ),
    "gap_mm": Column(float, "largest distance between neighbouring slices"),
    "missing_slices": Column(int, "slices that the gaps have room for"),
    "dropped_slices": Column(
        int,
        "duplicates, identical files, other passes and odd ones that were left out",
    ),
    "extrapolated_slices": Column(
        int,
        "volume slices beyond the last source slice; they repeat it",
    ),
    "tilt_degrees": Column(float, "gantry tilt from the slices' positions"),
    "obliquity_degrees": Column(float, "largest angle between an array axis and its patient axis"),
    "fov_mm": Column(float, "smaller side of the source image"),
    "scan_length_mm": Column(float, "from the first to the last slice, and one step"),
    "clipped_low": Column(float, "share below volume.clip_hu"),
    "clipped_high": Column(float, "share above volume.clip_hu"),
    "padded": Column(float, "share that was declared to be no measurement"),
    "air_peak_hu": Column(float, "the commonest HU of air; empty if there is no peak"),
    "implausible_z_mm": Column(
        str,
        "positions, mm towards the head and separated by blanks, of slices that their neighbours"
        " contradict (flag slice_implausible)",
    ),
    "body_part": Column(str, "BodyPartExamined"),
    "regions": Column(
        str,
        "parts of the body that words of BodyPartExamined and SeriesDescription name",
    ),
    "lung_ml": Column(float, "volume of aerated lung, its vessels included"),
    "lungs_cut": Column(
        str, "the ends of the scan at which lung is cut: head, feet or both, separated by a blank"
    ),
    "raw_bytes": Column(int, "size of the DICOM files"),
    "npz_bytes": Column(int, "size of the volume's file"),
    "npz_sha256": Column(str, "SHA-256 of the volume's file"),
    "full_filename_b2nd": Column(
        str,
        "the same volume in chunked/, where the target chunked has made it; else empty",
    ),
    "algorithm_version": Column(str, "the algorithm that made the volume; see the changelog"),
    "review": Column(
        str,
        "what a person found who looked at it, good or bad; empty if nobody did, and in status.csv",
    ),
}
"""Down to `transform`, the columns of the RAD-ChestCT log keep their names; `columns.carry`
follows."""
