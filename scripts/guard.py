"""Search a working directory for MRNs, names and birth dates where none may be."""

import argparse
import json
import sys
from pathlib import Path

from ctcohort.base.faults import run
from ctcohort.base.workdir import Workdir
from ctcohort.release.guard import gather, search

HERE = Workdir()

SHOWN = 50


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reports", type=Path, required=True)
    parser.add_argument("--columns", required=True, help="canonical JSON of the config's columns")
    parser.add_argument("--leave", required=True, help="JSON: what else may hold identifiers")
    parser.add_argument("--words", type=Path, nargs="*", default=[], help="folders of programs")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    columns = json.loads(options.columns)
    leave = [Path(path) for path in json.loads(options.leave) if path]
    leave += [options.reports, HERE.cohort, HERE.raws, HERE.release]
    known = gather.known_here(options.reports, columns)
    identities = gather.identities_of(known, programs=options.words, accessions=False)
    findings = search.search(HERE.root, identities, leave=leave, threads=options.threads)
    if not HERE.snakemake.is_relative_to(HERE.root):  # another workflow's, which ran this
        leave += map(Path, search.INSTALLED)
        beside = search.search(HERE.snakemake, identities, leave=leave, threads=options.threads)
        findings += [finding.below(HERE.snakemake) for finding in beside]
    if HERE.release.is_dir():
        strict = gather.identities_of(known, programs=options.words, accessions=True)
        strict.any_date = strict.any_uid = True
        released = search.search(HERE.release, strict, threads=options.threads)
        findings += [finding.below(HERE.release) for finding in released]
    for line in identities.limits():
        print(f"warning: {line}")
    paths = [finding for finding in findings if finding.is_archive_path]
    if paths:
        print(
            f"warning: the folder archive's own paths name patients, in {len(paths)} places of"
            " index/, which needs them to find its files: let nobody else read index/"
        )
    found = [finding for finding in findings if not finding.is_archive_path]
    lines = search.summary(found)
    print("".join(f"{line}\n" for line in lines[:SHOWN]), end="")
    if len(lines) > SHOWN:
        print(f"... and {len(lines) - SHOWN} more files")
    if found:
        places = "1 place" if len(found) == 1 else f"{len(found)} places"
        sys.exit(f"error: identifiers were found in {places}, listed above")
    print("nothing else was found" if paths else "nothing was found")


if __name__ == "__main__":
    run(main)
