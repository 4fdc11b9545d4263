"""The least that any implementation must do: read the files, prove their checksums, and deflate the
finished volume."""

import hashlib
import sys
from pathlib import Path

import numpy as np
from imagecodecs import deflate_encode


def main(raw: Path, made: Path, target: Path, level: int) -> None:
    for path in raw.glob("*.dcm"):
        hashlib.sha256(path.read_bytes())
    voxels = np.memmap(made, np.uint8, "r")
    room = np.empty(voxels.size, np.uint8)
    target.write_bytes(deflate_encode(voxels, level=level, raw=True, out=room))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
