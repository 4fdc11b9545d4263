"""The least that any implementation must do: read the files, and deflate the finished volume."""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

from ctcohort import npz


def main(raw: Path, made: Path, target: Path) -> None:
    for path in raw.glob("*.dcm"):
        path.read_bytes()
    npz.write(target, {"ct": np.load(made)})


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]))
