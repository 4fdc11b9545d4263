"""Make the private key that names patients in splits.csv and manifest.csv; never replace one."""

import argparse
import os
import secrets
from pathlib import Path

from ctcohort.base.faults import InputError, run


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("key_file", type=Path)
    options = parser.parse_args()
    options.key_file.parent.mkdir(parents=True, exist_ok=True)
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        with open(os.open(options.key_file, flags, 0o600), "w") as stream:
            stream.write(secrets.token_hex(32) + "\n")
    except FileExistsError:
        raise InputError(
            f"{options.key_file} exists and is never replaced: another key would give every"
            " patient another name"
        ) from None
    print(f"{options.key_file} made; set privacy.key_file to it, and keep a copy in a safe place")


if __name__ == "__main__":
    run(main)
