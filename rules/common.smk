"""What the rules share. Only the standard library and Snakemake's own dependencies are needed."""

import functools
import gc
import json
import os
import sys

import snakemake
import yaml
from snakemake.exceptions import WorkflowError
from snakemake.logging import logger
from snakemake.settings.enums import Quietness
from snakemake.settings.types import ExecMode, RerunTrigger

from ctcohort.series import series_table
from ctcohort.base.faults import InputError
from ctcohort.base import seals
from ctcohort.base.files import head, write_lines
from ctcohort.dataset import screen
from ctcohort.dataset.lost_jobs import record_lost_jobs
from ctcohort.dataset.story import snakemake_on
from ctcohort.dataset.summary import summary, told_forecast
from ctcohort.volume.memory import CLUSTER_MB, THREAD_MB, peak_mb
from ctcohort.base.workdir import Workdir
from ctcohort.base.naming import NAME_PATTERN, accession_of, name_of
from ctcohort.dataset.finished import (
    clear_damaged,
    is_another_series,
    is_made_otherwise,
    is_finished,
    missing_files,
)
from ctcohort.config import paths
from ctcohort.config.checking import check, typed
from ctcohort.config.loading import check_file
from ctcohort.config.replaced import mark
from ctcohort.config.settings import (
    canonical,
    canonical_verdict,
    connections_of,
    digest,
    volume_parameters,
)

# The jobs of a DAG are millions of objects that stay. To look among them for garbage again and again
# would be a third of the time that planning takes.
gc.freeze()
gc.set_threshold(50_000, 20, 100)

HERE = Workdir()
SCHEMA = yaml.safe_load(Path(workflow.source_path("config.schema.yaml")).read_text())
DEFAULTS = yaml.safe_load(Path(workflow.source_path("../config.yaml")).read_text())
NEED_NO_DATA = {"environments", "--lint", "--list-rules", "--list-target-rules", "--unlock"}
"""Words of a command line that asks for nothing of a working directory."""

config.update(typed(config, SCHEMA))
try:
    for path in workflow.config_settings.configfiles:
        check_file(Path(path))
    paths.expand(config)
    # one of a run's jobs may be where not every path is
    is_for_data = workflow.is_main_process and not NEED_NO_DATA & set(sys.argv)
    check(config, SCHEMA, DEFAULTS, files=is_for_data)
except InputError as error:
    raise WorkflowError(str(error)) from None


# Accessions are names of files and folders here, and parts of the logs: nobody else may list them.
# Snakemake has made its own folder before it reads this.
os.umask(0o077)
if Path(".snakemake").is_dir() and os.access(".snakemake", os.W_OK):
    Path(".snakemake").chmod(0o700)

# A table that was damaged under its old time stamp would be used, or be "Nothing to be done".
IS_MAIN = workflow.exec_mode == ExecMode.DEFAULT
if IS_MAIN:
    changed = [line for line in seals.complaints(Path()) if not line.endswith(seals.MISSING)]
    if changed:
        raise WorkflowError("\n".join(f"error: {line}" for line in changed))


wildcard_constraints:
    acc=NAME_PATTERN,


# Parameters are canonical strings, so that equal meanings are equal texts.
SERIES = canonical(config["series"])
VERDICT = canonical_verdict(config["volume"])
COLUMNS = canonical({**config["columns"], "sheet": config["reports_sheet"]})
SELECT = canonical(config["select"])
PARTITION = config["partition"] or ""
SPLITS = canonical(config["splits"])
PARAMETERS = volume_parameters(config["volume"])
PARAMETERS_DIGEST = digest(PARAMETERS)

# What is not science is not a parameter: it reaches the commands by the environment and reruns
# nothing. The interpreter is Snakemake's own, unless --sdm conda puts another before it.
os.environ.update(
    PATH=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
    CT_COHORT=str(Path(workflow.basedir) / "scripts"),
    CT_COHORT_ARCHIVE=json.dumps(config["archive"]),
    CT_COHORT_RAW=config["raw"],
    CT_COHORT_CONNECTIONS=str(connections_of(config)),
)

ARCHIVE_SHARES = 1_000_000  # of the archive, as declared in the profiles
ARCHIVE_SHARE = ARCHIVE_SHARES // connections_of(config)  # one connection's: no more run at once


def existing(path):
    """`path` as an input if it exists."""
    return [path] if Path(path).exists() else []


@functools.lru_cache(maxsize=1)
def chosen_at(_stamp):
    """By file name of each accession that has a selected series: the series and how many instances
    it has, and the MB of memory that its volume takes."""
    spacing = config["volume"]["spacing_mm"]
    return {
        name_of(row["accession"]): (
            f"{row['series_uid']} {row['instances']}",
            peak_mb(row, spacing),
        )
        for row in series_table.selected(HERE.series)
    }


def chosen():
    """The choice that `series.csv` holds now; none where it is not written yet."""
    return chosen_at(HERE.series.stat().st_mtime_ns) if HERE.series.exists() else {}


def selected_names():
    """File names of the accessions that have a selected series, once the ledger is up to date."""
    checkpoints.index_series.get()
    return list(chosen())


def is_looked_into():
    """Whether the command line asks for more than the records can tell: -F, -R, other triggers."""
    settings = workflow.dag_settings
    more = {RerunTrigger.CODE, RerunTrigger.SOFTWARE_ENV} & set(settings.rerun_triggers)
    return bool(settings.forceall or settings.forcerun or more)


def needs_nothing(name):
    """Whether a scan is as it should be, so that none of its jobs is planned."""
    series, _ = chosen().get(name, ("", 0))
    return bool(series) and not is_looked_into() and is_finished(name, series, PARAMETERS_DIGEST)


@functools.lru_cache(maxsize=1)
def unfinished_at(_stamp):
    names = {name for name in chosen() if not needs_nothing(name)}
    if IS_MAIN and not workflow.dryrun:
        for name in names:
            clear_damaged(name)
    return names


def unfinished():
    """File names of the selected scans that may need a job, as seen when the ledger was written or
    found."""
    names = selected_names()
    return unfinished_at(HERE.series.stat().st_mtime_ns) if names else set()


def unfinished_scans(_wildcards):
    return [path for name in sorted(unfinished()) for path in missing_files(name)]


def unfinished_downloads(_wildcards):
    return [f"received/{name}.json" for name in sorted(unfinished())]


def selected_volumes(_wildcards):
    """Every volume; who makes it is asked only for those that may need it."""
    pending = unfinished()
    return [
        path if name in pending else before_update(path)
        for name in selected_names()
        for path in [f"processed/{name}.npz"]
    ]


def made(path):
    """A file of a scan as another file's input; who makes it is asked only if the scan needs it."""

    def of(wildcards):
        named = path.format(acc=wildcards.acc)
        return before_update(named) if needs_nothing(wildcards.acc) else named

    return of


def selected_pictures(_wildcards):
    return [f"qc/{name}.png" for name in selected_names()]


def selected_thumbnails(_wildcards):
    return [f"qc/thumbnails/{name}.webp" for name in selected_names()]


def selected_scrolls(_wildcards):
    return [f"qc/scrolls/{name}.webp" for name in selected_names()]


def selected_niftis(_wildcards):
    return [f"nifti/{name}.nii.gz" for name in selected_names()]


def selected_chunked(_wildcards=None):
    return [f"chunked/{name}.b2nd" for name in selected_names()]


def manifest_chunked(_wildcards):
    """The chunked volumes that the manifest names: all where this run is asked for them, else those
    that are there, and who makes them is not asked."""
    if "chunked" in workflow.dag_settings.targets:
        return selected_chunked()
    if not Path("chunked").exists():
        return []
    return [before_update(path) for path in selected_chunked() if Path(path).exists()]


def chosen_series(wildcards):
    """What a download depends on: the chosen series, and how many instances it has."""
    series, _ = chosen().get(wildcards.acc, ("", 0))
    return series


def ledger_of(wildcards):
    """The ledger as a download's input: only newer than what was received if the choice changed.

    The record of what was received says which series it is, so that a changed choice is noticed
    even where `.snakemake` was lost.
    """
    checkpoints.index_series.get()
    series = chosen_series(wildcards)
    if not series:
        raise WorkflowError(
            f"accession {accession_of(wildcards.acc)} has no selected series; series.csv says why"
        )
    stale = is_another_series(wildcards.acc, series)
    return "series.csv" if stale else ancient("series.csv")


@functools.cache
def noted(stage, parameters, *tables):
    """A file that holds a stage's `parameters`, and whose time stamp says since when.

    Snakemake's own memory of parameters goes with `.snakemake`. This file stays, and is written
    while the DAG is built: a file that a job makes reruns everything that depends on it. A second
    line stands for the content of `tables`, once they were replaced.
    """
    path = HERE.parameters(stage)
    lines = [parameters]
    try:
        if tables and (word := mark(path.with_suffix(".tables"), tables)):
            lines.append(word)
        text = "".join(f"{line}\n" for line in lines)
        if head(path, len(text) + 1) != text and (any(lines) or path.exists()):
            write_lines(path, lines)
    except InputError as error:
        raise WorkflowError(f"error: {error}") from None
    return str(path)


def noted_reviews(_wildcards):
    """A note of the reviews' content as the manifest's input; none while it is the first, so that a
    data set of an earlier release stays as it is."""
    return existing(noted("reviews", "", config["reviews"]))


def other_parameters(wildcards):
    """The parameters as a volume's input, if it was made with others: they are newer then.

    The scan record says which parameters made it, so that a change is noticed even where
    `.snakemake` was lost.
    """
    path = noted("volume", PARAMETERS)
    return path if is_made_otherwise(wildcards.acc, PARAMETERS_DIGEST) else []


def volume_memory(wildcards, attempt, threads):
    """Memory of preprocessing in MB, from the ledger's size of the series; doubled on a retry."""
    _, memory = chosen().get(wildcards.acc, ("", 1000))
    beside = 0 if workflow.local_exec else CLUSTER_MB
    return attempt * (memory + (threads - 1) * THREAD_MB + beside)


def follows_jobs():
    """Whether Snakemake's own account of jobs is not asked for, so that one line can stand for it."""
    settings = workflow.output_settings
    asked_for = settings.verbose or settings.printshellcmds or settings.debug_dag
    return not asked_for and not {Quietness.ALL, Quietness.PROGRESS} & set(settings.quiet or ())


def expected_sizes():
    """Estimated bytes of each selected series, by the accession's file name."""
    rows = series_table.selected(HERE.series) if HERE.series.exists() else ()
    return {name_of(row["accession"]): float(row["estimated_bytes"] or 0) for row in rows}


ENDINGS = []
"""What is called when a run ends."""


def end_screen():
    """Say what became of each accession, unless a command was asked for that has its own words."""
    while ENDINGS:
        ENDINGS.pop()()
    targets = set(workflow.dag_settings.targets)
    if targets & {"check_archive", "environments", "guard", "prune", "purge", "release"}:
        return
    if "series.csv" in targets:
        screen.say(told_forecast(HERE, config))
    screen.say(summary(HERE, config, again=f"{snakemake_on(HERE)} --cores all"))


onstart:
    if config["raw"] == "delete":
        print("raw: delete is set: a volume that must be made again is downloaded again.")
    if follows_jobs():
        ENDINGS.append(screen.show(logger, HERE, expected_sizes))


onsuccess:
    end_screen()


onerror:
    record_lost_jobs(HERE)
    end_screen()
