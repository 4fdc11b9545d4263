"""The least that any implementation must do: read the files, and deflate the finished volume."""

import sys
from pathlib import Path

import numpy as np
from imagecodecs import deflate_encode

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

from ctcohort import npz


def main(raw: Path, made: Path, target: Path) -> None:
    for path in raw.glob("*.dcm"):
        path.read_bytes()
    voxels = np.memmap(made, np.uint8, "r")
    room = np.empty(voxels.size, np.uint8)
    target.write_bytes(deflate_encode(voxels, level=npz.LEVEL, raw=True, out=room))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]))
