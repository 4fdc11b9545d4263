"""A stub of conda: it writes down what it is asked for, and makes environments that hand on to this
test's own."""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

import yaml

CONDA = """\
#!/bin/sh
echo "$@" >> {record}
case "$1" in
  --version) echo "conda 26.7.1" ;;
  info) echo '{{"conda_prefix": "{base}", "platform": "linux-64"}}' ;;
  config) echo '{{"get": {{"channel_priority": "strict"}}}}' ;;
  env)
    while [ "$1" != --prefix ]; do shift; done
    mkdir -p "$2/bin"
    for name in python python3 snakemake; do
      printf '#!/bin/sh\\nexec {bin}/%s "$@"\\n' $name > "$2/bin/$name"
      chmod +x "$2/bin/$name"
    done ;;
esac
"""
ACTIVATE = 'export CONDA_PREFIX="$1" PATH="$1/bin:$PATH"\n'


@dataclass(frozen=True)
class Conda:
    base: Path
    prefix: Path

    @property
    def path(self) -> str:
        return f"{self.base / 'bin'}{os.pathsep}{os.environ['PATH']}"

    def created(self) -> list[str]:
        """Names in the files of which environments were asked for."""
        record = self.base / "record"
        asked = map(shlex.split, record.read_text().splitlines() if record.exists() else [])
        files = [words[words.index("--file") + 1] for words in asked if words[0] == "env"]
        return sorted(yaml.safe_load(Path(file).read_text())["name"] for file in files)


def install(base: Path, prefix: Path) -> Conda:
    """Put the command into `base`; `prefix` is where environments are to be made."""
    (base / "bin").mkdir(parents=True)
    text = CONDA.format(record=base / "record", base=base, bin=Path(sys.executable).parent)
    (base / "bin" / "conda").write_text(text)
    (base / "bin" / "conda").chmod(0o755)
    (base / "bin" / "activate").write_text(ACTIVATE)
    return Conda(base, prefix)
