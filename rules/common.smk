"""What the rules share. Only the standard library and Snakemake's own dependencies are needed."""

import functools
import json
import os
import sys

import snakemake
import yaml
from snakemake.exceptions import WorkflowError

sys.path.insert(0, str(Path(workflow.basedir) / "scripts"))

from ctcohort import ledger
from ctcohort.faults import InputError
from ctcohort.files import head, write_lines
from ctcohort.memory import peak_mb
from ctcohort.naming import NAME_PATTERN, accession_of, name_of
from ctcohort.settings import (
    canonical,
    canonical_verdict,
    check,
    connections_of,
    digest,
    typed,
    volume_parameters,
)

SCHEMA = yaml.safe_load(Path(workflow.source_path("config.schema.yaml")).read_text())
config.update(typed(config, SCHEMA))
try:
    check(config, SCHEMA)
except InputError as error:
    raise WorkflowError(str(error)) from None


wildcard_constraints:
    acc=NAME_PATTERN,


# Parameters are canonical strings, so that equal meanings are equal texts.
SERIES = canonical(config["series"])
VERDICT = canonical_verdict(config["volume"])
COLUMNS = canonical(config["columns"])
SELECT = canonical(config["select"])
PARTITION = config["partition"] or ""
SPLITS = canonical(config["splits"])
PARAMETERS = volume_parameters(config["volume"])

# What is not science is not a parameter: it reaches the commands by the environment and reruns
# nothing. The interpreter is Snakemake's own, unless --sdm conda puts another before it.
os.environ.update(
    PATH=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
    CT_COHORT=str(Path(workflow.basedir) / "scripts"),
    CT_COHORT_ARCHIVE=json.dumps(config["archive"]),
    CT_COHORT_RAW=config["raw"],
    CT_COHORT_CONNECTIONS=str(connections_of(config)),
)

COMPANIONS = ("received", "processed")  # folders that keep a record of each volume
ARCHIVE_SHARES = 1_000_000  # of the archive, as declared in the profiles; see archive_share


def archive_share(_wildcards):
    """One connection's share of the archive, so that no more run at once than may."""
    return ARCHIVE_SHARES // connections_of(config)


def report_table(_wildcards):
    """The report table; if it is missing, say where it is expected before Snakemake stops."""
    path = Path(config["reports"])
    if not path.exists():
        print(
            f"error: reports: {path.absolute()} does not exist; expected the report table. Put it"
            " there, name another in config.yaml, or give the working directory with --directory",
            file=sys.stderr,
        )
    return str(path)


def existing(path):
    """`path` as an input if it exists."""
    return [path] if Path(path).exists() else []


def selected_names():
    """File names of the accessions that have a selected series, once the ledger is up to date."""
    checkpoints.index_series.get()
    return map(name_of, ledger.selected())


def selected_volumes(_wildcards):
    return [f"processed/{name}.npz" for name in selected_names()]


def missing_companions(_wildcards):
    """Records of what was received and made that are not there: a volume alone would hide it."""
    files = (f"{folder}/{name}.json" for name in selected_names() for folder in COMPANIONS)
    return [path for path in files if not Path(path).exists()]


def selected_pictures(_wildcards):
    return [f"qc/{name}.png" for name in selected_names()]


def selected_scrolls(_wildcards):
    return [f"qc/scrolls/{name}.webp" for name in selected_names()]


def selected_niftis(_wildcards):
    return [f"nifti/{name}.nii.gz" for name in selected_names()]


def chosen(wildcards):
    """The ledger's row of the selected series; empty where there is none (yet)."""
    if not ledger.PATH.exists():
        return {}
    return ledger.selected().get(accession_of(wildcards.acc), {})


def chosen_series(wildcards):
    """What a download depends on: the chosen series, and how many instances it has."""
    row = chosen(wildcards)
    return f"{row['series_uid']} {row['instances']}" if row else ""


def series_uid(wildcards):
    return chosen(wildcards).get("series_uid", "")


def ledger_of(wildcards):
    """The ledger as a download's input: only newer than what was received if the choice changed.

    The record of what was received says which series it is, so that a changed choice is noticed
    even where `.snakemake` was lost.
    """
    checkpoints.index_series.get()
    uid = series_uid(wildcards)
    if not uid:
        raise WorkflowError(
            f"accession {accession_of(wildcards.acc)} has no selected series; series.csv says why"
        )
    known = head(Path(f"received/{wildcards.acc}.json"))
    return "series.csv" if known and f'"{uid}"' not in known else ancient("series.csv")


@functools.cache
def noted(stage, parameters):
    """A file that holds a stage's `parameters`, and whose time stamp says since when.

    Snakemake's own memory of parameters goes with `.snakemake`. This file stays, and is written
    while the DAG is built: a file that a job makes reruns everything that depends on it.
    """
    path = Path(".parameters") / f"{stage}.json"
    if head(path, len(parameters) + 2) != f"{parameters}\n":
        write_lines(path, [parameters])
    return str(path)


def parameters_of(wildcards):
    """The parameters as a volume's input: only newer than the volume if it was made with others.

    The scan record says which parameters made it, so that a change is noticed even where
    `.snakemake` was lost.
    """
    path = noted("volume", PARAMETERS)
    known = head(Path(f"processed/{wildcards.acc}.json"))
    stale = known and f'"{digest(PARAMETERS)}"' not in known
    return path if stale else ancient(path)


def volume_memory(wildcards, attempt):
    """Memory of preprocessing in MB, from the ledger's size of the series; doubled on a retry."""
    row = chosen(wildcards)
    return attempt * (peak_mb(row, config["volume"]["spacing_mm"]) if row else 1000)


onstart:
    if config["raw"] == "delete":
        print("raw: delete is set: a volume that must be made again is downloaded again.")


onerror:
    if any(Path("failures").glob("*.json")):
        print("Some jobs failed. `make status` groups them by cause and says what to do next.")
