"""Records as downloads and preprocessing write them, for tests that need them alone."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

from ctcohort.base.workdir import Workdir
from ctcohort.series.measures import Measures
from ctcohort.series.received import Received, ReceivedFile
from ctcohort.volume.record import CertificateMeasures, ScanRecord

_RECORD = ScanRecord(
    parameters_digest="0123456789abcdef",
    parameters={"clip_hu": [-1000, 1000], "spacing_mm": [0.8, 0.8, 0.8]},
    algorithm_version="1",
    series_uid="1.2.3",
    manufacturer="Phantom",
    model="P1",
    convolution_kernel="B30f",
    kvp=120.0,
    slice_thickness=5.0,
    gantry_tilt_tag=None,
    age_years=64.0,
    sex="F",
    burned_in_annotation=False,
    face_possible=False,
    transfer_syntaxes=["1.2.840.10008.1.2.1"],
    source=Measures(
        slices=40,
        rows=512,
        columns=512,
        row_spacing=0.7,
        column_spacing=0.7,
        slice_spacing=5.0,
        spacing_regular=True,
        z_error_mm=0.0,
        gap_mm=5.0,
        missing_slices=0,
        duplicate_positions=0,
        tilt_degrees=0.0,
        obliquity_degrees=0.0,
        fov_mm=358.4,
        scan_length_mm=200.0,
    ),
    slopes=[1.0],
    intercepts=[-1024.0],
    orientation=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0],
    z_positions=[float(-5 * n) for n in range(40)],
    matrix=[512, 512],
    dropped=[],
    extrapolated_slices=0,
    certificate=CertificateMeasures(
        voxels=1000,
        clipped_low=0.0,
        clipped_high=0.0,
        padded=0.0,
        air_peak_hu=-1000.0,
        tissue_share=0.5,
        bone_behind_body=True,
    ),
    flags=[],
    shape=[250, 448, 448],
    spacing=[0.8, 0.8, 0.8],
    transform=[
        [0.0, 0.0, 0.8, 0.0],
        [0.0, 0.8, 0.0, 0.0],
        [-0.8, 0.0, 0.0, 0.0],
        [0.0, 0.0, 0.0, 1.0],
    ],
    duplicate_files=0,
    raw_bytes=1,
    npz_bytes=1,
    npz_sha256="",
)


def scan_record(**changes: Any) -> ScanRecord:
    """Return the record of a made-up scan with some fields changed."""
    return replace(_RECORD, **changes)


def receive(raw: Path) -> None:
    """Record the files of ``raw/<name>/`` as a download does."""
    files = [
        ReceivedFile(path.stem, len(content), hashlib.sha256(content).hexdigest(), "")
        for path in sorted(raw.glob("*.dcm"))
        for content in [path.read_bytes()]
    ]
    received = Workdir(raw.parents[1]).received(raw.name)
    Received.of("1.2.3", files, duplicate_files=0).write(received)
