"""Run at the top level as `python -m benchmarks.NAME.run`; the package is in scripts/."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))
