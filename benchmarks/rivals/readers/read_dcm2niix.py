"""dcm2niix with its defaults; every file that it writes counts."""

import subprocess
import sys
from pathlib import Path

import dcm2niix


def read(source: Path, target: Path) -> None:
    command = [dcm2niix.bin, "-b", "n", "-z", "n", "-f", "%s", "-o", str(target), str(source)]
    subprocess.run(command, check=True)
    if not list(target.glob("*.nii")):
        raise ValueError("it wrote nothing")


if __name__ == "__main__":
    read(Path(sys.argv[1]), Path(sys.argv[2]))
