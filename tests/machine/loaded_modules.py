"""Import command lines with all that they import inside functions; print the modules loaded.

Run by test_environments.py in an environment of its own: the folder of the scripts, their names,
and the modules that only the Snakefile needs.
"""

import ast
import importlib
import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

SCRIPTS, NAMES, NOT_NEEDED = sys.argv[1], sys.argv[2].split(), sys.argv[3].split()


def imported(module: ModuleType) -> Iterator[str]:
    """Full names of what a module's source imports, wherever it does."""
    package = module.__name__ if hasattr(module, "__path__") else module.__package__
    for node in ast.walk(ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            relative = "." * node.level + (node.module or "")
            name = importlib.util.resolve_name(relative, package)
            yield name
            if name.partition(".")[0] in NOT_NEEDED:
                continue
            importlib.import_module(name)
            for alias in node.names:
                inner = f"{name}.{alias.name}"
                if hasattr(sys.modules[name], "__path__") and importlib.util.find_spec(inner):
                    yield inner


def main() -> None:
    sys.path.insert(0, SCRIPTS)
    for name in NAMES:
        importlib.import_module(name)
    done: set[str] = set()
    while True:
        ours = [
            module
            for name, module in list(sys.modules.items())
            if name not in done and str(getattr(module, "__file__", "")).startswith(SCRIPTS)
        ]
        if not ours:
            break
        for module in ours:
            done.add(module.__name__)
            for name in imported(module):
                if name.partition(".")[0] not in NOT_NEEDED:
                    importlib.import_module(name)
    if "ctcohort.dicom.pixels" in sys.modules:
        from ctcohort.dicom.pixels import CODECS, check_decoder

        for syntax in CODECS:
            check_decoder(syntax)
    print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))


if __name__ == "__main__":
    main()
