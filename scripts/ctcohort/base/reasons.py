"""The closed vocabularies: why a series or accession is not used, what a scan is flagged for.

The series table, the records, the manifest and the documentation take every such word from here.
"""

SELECTED = "selected"

SERIES_REASONS = {
    SELECTED: "the one series of its accession that becomes the volume",
    "fewer_slices": "another usable series of the accession has more distinct slice positions",
    "tie_lost": "as many slices as the selected series; prefer_kernels and tie_break decided",
    "derived": "ImageType value 1 is not in series.kinds, or a value says it is a reformat",
    "derived_lossy": "lossy pixels, whatever ImageType says; series.allow_lossy admits it",
    "secondary": "a secondary capture, or SECONDARY in ImageType",
    "localizer": "a scout: LOCALIZER in ImageType",
    "not_ct": "not a CT image storage class (dose report, segmentation, other modality)",
    "spectral": "a multi-energy product; series.allow_multienergy admits standard images in HU",
    "too_few_bits": "stores too few bits for HU, as label masks do; see series.allow_few_bits",
    "contrast": "the headers name a contrast agent and series.contrast is none",
    "body_part_excluded": "BodyPartExamined is one of series.body_part_exclude",
    "description_excluded": "SeriesDescription matches series.exclude_description_regex",
    "fov_too_small": "the field of view is smaller than series.min_fov_mm",
    "no_geometry": "position, orientation, pixel spacing, rows or columns are missing",
    "too_large": "matrix, slices, extent or voxels beyond what any scanner makes",
    "too_few_slices": "fewer distinct slice positions than series.min_slices",
    "not_axial": "an array axis is more than 10 degrees off its patient axis",
    "mixed_geometry": "orientation, matrix, pixel spacing or in-plane position change inside it",
    "conflicting_instances": "one SOPInstanceUID stands for different contents",
    "duplicate_positions": "several full passes over the same positions that nothing tells apart",
    "overlapping_acquisitions": "acquisitions lie partly over each other and none is the whole",
    "no_rescale": "RescaleSlope or RescaleIntercept is missing, so there are no Hounsfield units",
    "not_hounsfield": "RescaleType names another unit than Hounsfield, or a Modality LUT is there",
    "too_irregular": "volume.irregular_spacing would displace slices by more than is allowed",
    "tilted": "the gantry was tilted and volume.gantry_tilt is exclude",
    "still_arriving": "the archive reports more instances than it lists; asked again by the next"
    " index",
    "no_pixel_data": "headers without pixels",
    "private_compression": "the pixels are compressed in a way that only their vendor can read",
    "unreadable_header": "ImageType is missing; series.kinds: [ORIGINAL, MISSING] admits it",
}

ACCESSION_REASONS = {
    "not_found": "the archive has no study for it; asked again by the next index",
    "no_ct_series": "a study, but no series with CT images",
    "ambiguous_study": "several studies; columns.study_uid can tell them apart",
    "patient_mismatch": "several patients, or PatientID differs from the table's MRN",
    "conflicting_rows": "its rows in the report table disagree (MRN, protocol, study or label)",
    "no_mrn": "no MRN in the report table, so it cannot be put in a split",
    "invalid_accession": "control characters, DICOM wildcards, a backslash, or too long",
    "offline": "the archive keeps it on media that are not online",
    "excluded_by_user": "listed in the exclusions table",
    "no_answer": "the archive did not answer for it; asked again by the next run",
}

REFUSED = "archive_refused"

JOB_REASONS = {
    "archive_unreachable": "no connection, or the connection broke too often",
    REFUSED: "the archive answered no: credentials, permission, AE title, missing file; of an"
    " accession: asked again by the next index",
    "transfer_incomplete": "fewer instances arrived than were listed",
    "undecodable_pixels": "no decoder for the transfer syntax, or the decoder failed",
    "truncated_file": "a file ends before its pixel data does",
    "checksum_mismatch": "a file is not the one that was received",
    "unequal_duplicates": "different pixels at one slice position",
    "no_space": "the disk is full",
    "out_of_time": "the scheduler ended its job at the time limit",
    "out_of_memory": "its job was killed because it used more memory than it had asked for",
    "node_lost": "the node that its job ran on went away",
    "killed": "its job was ended from outside, or before it could say why",
    "wrong_input": "a setting or a file is not what it must be; the message says which",
    "internal_error": "a defect of this workflow; please report it",
}

MEANINGS = {**SERIES_REASONS, **ACCESSION_REASONS, **JOB_REASONS}
"""What each word in `status_reason` means; a job may also fail with the reason of a series."""

FLAGS = {
    "small_fov": "field of view below 250 mm: an organ or cardiac cut-out",
    "odd_scan_length": "scan length outside 150 to 1000 mm",
    "partial_coverage": "covers less than 75 % of the longest usable series of the accession",
    "no_air_peak": "no histogram peak between -1100 and -850 HU",
    "hu_implausible": "no soft tissue around 0 HU, or values as if rescaled twice",
    "padding_unapplied": "a padding value above -900 HU occurs inside the body and was left there",
    "slice_implausible": "a slice differs from what its neighbours predict: it may be damaged",
    "orientation_suspect": "bone does not lie posterior to the body's centre",
    "derived_is_larger": "a derived series of the accession has more slices than the chosen one",
    "no_lung": "less than 20 mL of lung: no chest",
    "lungs_cut": "the first or the last slice cuts through lung: part of it is outside the scan",
    "tilt_corrected": "resampled out of a tilted gantry's sheared slices",
    "end_slices_lost": "slices were dropped or unreadable, and no gap shows where: at an end",
    "lossy_pixels": "lossily compressed pixels, admitted by series.allow_lossy",
    "spacing_irregular": "slices are not evenly spaced; see z_error_mm",
}

RELEASE_REASONS = {
    "reviewed_bad": "a person found it bad",
    "burned_in_unknown": "its record is older than the check for burned-in text, and its DICOM"
    " files are gone",
    "burned_in_annotation": "BurnedInAnnotation is YES in one of its headers: text in the pixels",
    "face_possible": "a face may be in the field of view, and release.faces is exclude",
    "age_unknown": "no age in its headers, and release.min_age is set",
    "under_min_age": "younger than release.min_age",
    "not_reviewed": "nobody has looked at it, and release.reviewed_only is true",
}
"""Why an included scan is not in the release; the first that holds counts."""
