"""Run in the repository's folder, by the command that each module names; ``ctcohort`` is found in
scripts/."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))
