"""This workflow as a module of another: where its data set lies, and what its commands are told."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from pathlib import Path

from ctcohort.base.faults import InputError
from ctcohort.base.project import ROOT
from ctcohort.base.workdir import FAILURE, RAW, RECORD, WORKDIR, Workdir
from ctcohort.config.settings import digest


def refuse_another_copy(folder: Path) -> None:
    """Raise `InputError` if the package was not imported from `folder`, where the Snakefile lies.

    Python imports a package once: the rules of a second copy would plan with the first one's code.
    """
    if folder.resolve() != ROOT.resolve():
        raise InputError(
            f"{folder}: another copy of ct-cohort, {ROOT}, is in use in this run already; use one"
            " copy for all modules"
        )


def root_of(replace_prefix: Callable[[str], str]) -> Path:
    """Return the working directory of the data set as seen from the current directory.

    Parameters
    ----------
    replace_prefix : callable
        What Snakemake makes of a path in the rules: with ``prefix: "ct"``, of ``a`` ``ct/a``.

    Raises
    ------
    InputError
        Paths are not all put below one folder, as with ``replace_prefix:``.
    """
    here = Workdir(Path())
    root = Path(replace_prefix(str(here.accessions))).parent
    for path in (here.accessions, *(Path(each.format("A")) for each in (RAW, RECORD, FAILURE))):
        if Path(replace_prefix(str(path))) != root / path:
            raise InputError(
                "replace_prefix: of this module would part files that find each other by their"
                ' places; put them all below one folder, with prefix: "FOLDER"'
            )
    if set("{}") & set(str(root)):
        raise InputError(f"prefix: {root} holds a brace, which Snakemake takes for a wildcard's")
    return root


def told(root: Path, variables: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """Return what every command begins with, and the environment of all of them.

    A process has one environment, but a workflow may use this one several times, each with a config
    and a folder of its own. So below a prefix each variable has a name of its own, and each
    command's shell gives it the usual one.

    Parameters
    ----------
    root : Path
        As `root_of` returns it.
    variables : mapping
        What the commands of this data set are told, by the usual names.
    """
    if root == Path():
        return "", dict(variables)
    own = {name: f"{name}_{digest(str(root))}" for name in variables}
    given = " ".join(f'{name}="${own[name]}"' for name in variables)
    begin = f"export {WORKDIR}={shlex.quote(str(root))} {given}; "
    return begin, {own[name]: value for name, value in variables.items()}
