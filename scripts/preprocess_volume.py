"""raw/<name>/ -> processed/<name>.npz and .json: Hounsfield units on an isotropic grid."""

import argparse
import gc
import json
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

if __name__ == "__main__":
    # pydicom imports every decoder that it finds, and what fetches its test files
    unwanted = ("gdcm", "pylibjpeg", "openjpeg", "PIL", "requests", "ssl")
    sys.modules.update(dict.fromkeys(unwanted))
    gc.disable()  # one scan, then the process ends: nothing is worth collecting

from ctcohort.base.files import head, sha256


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", help="the accession as a file name")
    parser.add_argument("--raw", type=Path, required=True)
    parser.add_argument("--received", type=Path, required=True)
    parser.add_argument("--parameters", required=True, help="JSON: algorithm and canonical volume")
    parser.add_argument("--keep-raw", choices=("keep", "delete"), default="keep")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--volume", type=Path, required=True)
    parser.add_argument("--record", type=Path, required=True)
    options = parser.parse_args()
    for variable in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"):
        os.environ[variable] = "1"  # slices are shared out to threads, not the products in them
    if "avx512bw" in head(Path("/proc/cpuinfo"), 4096):  # OpenBLAS does not know every processor
        os.environ.setdefault("OPENBLAS_CORETYPE", "SkylakeX")  # faster, and the same bytes

    from ctcohort.base.faults import recorded
    from ctcohort.base.workdir import Workdir
    from ctcohort.config.settings import VolumeSettings, digest, parse
    from ctcohort.series.received import Received
    from ctcohort.volume import npz
    from ctcohort.volume.build import make_volume

    with recorded(Workdir().failures, options.name, "preprocess_volume"):
        rules = parse(json.loads(options.parameters)["volume"], VolumeSettings)
        volume, record = make_volume(options.raw, options.received, rules, threads=options.threads)
        received = Received.read(options.received)
        npz.write(options.volume, volume.arrays())
        replace(
            record,
            parameters_digest=digest(options.parameters),
            parameters=json.loads(json.loads(options.parameters)["volume"]),
            duplicate_files=received.duplicate_files,
            raw_bytes=received.bytes,
            npz_bytes=options.volume.stat().st_size,
            npz_sha256=sha256(options.volume),
        ).write(options.record)
        if options.keep_raw == "delete":
            shutil.rmtree(options.raw)
    print(f"{options.volume}: {'x'.join(map(str, record.shape))}", file=sys.stderr)
    gc.freeze()  # nor at the end


if __name__ == "__main__":
    from ctcohort.base.faults import run

    run(main)
