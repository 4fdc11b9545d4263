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

from ctcohort.base.faults import InputError
from ctcohort.base import seals
from ctcohort.dataset import screen
from ctcohort.dataset.lost_jobs import record_lost_jobs
from ctcohort.base.project import snakemake_on
from ctcohort.dataset.summary import summary, told_forecast
from ctcohort.volume.memory import CLUSTER_MB
from ctcohort.base.workdir import (
    CHUNKED,
    NIFTI,
    PICTURE,
    RECORD,
    SCROLL,
    THUMBNAIL,
    VOLUME,
    Workdir,
)
from ctcohort.base.naming import NAME_PATTERN, accession_of
from ctcohort.dataset import plan
from ctcohort.dataset.plan import Plan
from ctcohort.config import paths
from ctcohort.config.checking import check, typed
from ctcohort.config.loading import check_file
from ctcohort.config.replaced import mark
from ctcohort.config.settings import (
    canonical,
    canonical_exclusions,
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
    if changed := list(seals.complaints(Path(), missing=False)):
        raise WorkflowError("\n".join(f"error: {line}" for line in changed))


wildcard_constraints:
    acc=NAME_PATTERN,


# Parameters are canonical strings, so that equal meanings are equal texts.
SERIES = canonical(config["series"])
LIMITS = canonical_exclusions(config["volume"])
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


PLAN = Plan(HERE, parameters=PARAMETERS_DIGEST, spacing_mm=config["volume"]["spacing_mm"])


def selected_names():
    """Return the selected scans by file name, once ``series.csv`` is up to date."""
    checkpoints.index_series.get()
    return list(PLAN.choices())


def is_forced():
    """Return True if the user forces reruns (-F, -R or extra rerun triggers)."""
    settings = workflow.dag_settings
    more = {RerunTrigger.CODE, RerunTrigger.SOFTWARE_ENV} & set(settings.rerun_triggers)
    return bool(settings.forceall or settings.forcerun or more)


def jobs_will_run():
    """Return True if jobs are planned that will be run: what is damaged may be removed for them."""
    return IS_MAIN and not workflow.dryrun


def unfinished():
    """Return the selected scans that may need a job."""
    selected_names()
    return PLAN.unfinished(forced=is_forced(), clear=jobs_will_run())


def unfinished_scans(_wildcards):
    return plan.volumes_and_records(unfinished())


def unfinished_downloads(_wildcards):
    return plan.downloads(unfinished())


def selected_volumes(_wildcards):
    """Return every volume; its rule is looked up only for those that may need it."""
    pending = unfinished()
    return [
        path if name in pending else before_update(path)
        for name in selected_names()
        for path in [VOLUME.format(name)]
    ]


def made(template):
    """Return a scan's file as an input; its rule is looked up only if the scan may need a job."""

    def of(wildcards):
        path = template.format(wildcards.acc)
        return path if is_forced() or not PLAN.needs_nothing(wildcards.acc) else before_update(path)

    return of


def selected(template):
    """Return the file of every selected scan."""
    return lambda _wildcards: [template.format(name) for name in selected_names()]


def manifest_chunked(_wildcards):
    """Return the chunked volumes that the manifest names: all where this run is asked for them, else
    those that there are, whose rule is not looked up."""
    if "chunked" in workflow.dag_settings.targets:
        return selected(CHUNKED)(None)
    if not Path("chunked").exists():
        return []
    return [before_update(path) for path in selected(CHUNKED)(None) if Path(path).exists()]


def chosen_series(wildcards):
    """Return the parameter of a download: the chosen series and its number of instances."""
    return PLAN.series_of(wildcards.acc)


def series_table(wildcards):
    """Return ``series.csv`` as a download's input: newer than what was received only if the choice
    changed."""
    checkpoints.index_series.get()
    if not chosen_series(wildcards):
        raise WorkflowError(
            f"accession {accession_of(wildcards.acc)} has no selected series; series.csv says why"
        )
    return "series.csv" if PLAN.is_another_series(wildcards.acc) else ancient("series.csv")


@functools.cache
def noted(stage, parameters, *tables):
    """Return a file that holds a stage's parameters; its time stamp says since when.

    It is written here, while the DAG is built, because a file that a job makes reruns everything
    that depends on it, and because it outlives `.snakemake`. A second line stands for the content of
    `tables`, once they were replaced.
    """
    path = HERE.parameters(stage)
    if path.exists() and not IS_MAIN:
        return str(path)  # a job's: it may run where a person's tables are not
    try:
        word = mark(path.with_suffix(".tables"), tables) if tables else ""
        lines = [parameters, word] if word else [parameters]
        if any(lines) or path.exists():
            plan.note(path, lines)
    except InputError as error:
        raise WorkflowError(f"error: {error}") from None
    return str(path)


def noted_reviews(_wildcards):
    """Return a note of the reviews' content; none while it is the first, so that a data set of an
    earlier release stays as it is."""
    return existing(noted("reviews", "", config["reviews"]))


def other_parameters(wildcards):
    """Return the parameters as a volume's input if it was made with others: they are newer then."""
    if jobs_will_run():
        PLAN.clear_damaged(wildcards.acc)  # of a volume that a picture or an export asks for
    path = noted("volume", PARAMETERS)
    return path if PLAN.is_made_otherwise(wildcards.acc) else []


def volume_memory(wildcards, attempt, threads):
    """Return the memory of preprocessing in MB."""
    beside = 0 if workflow.local_exec else CLUSTER_MB
    return PLAN.memory_mb(wildcards.acc, attempt=attempt, threads=threads, beside_mb=beside)


def follows_jobs():
    """Whether Snakemake's own account of jobs is not asked for, so that one line can stand for it."""
    settings = workflow.output_settings
    asked_for = settings.verbose or settings.printshellcmds or settings.debug_dag
    return not asked_for and not {Quietness.ALL, Quietness.PROGRESS} & set(settings.quiet or ())


def expected_sizes():
    """Return the estimated bytes of each selected series, by the accession's file name."""
    return {name: choice.estimated_bytes for name, choice in PLAN.choices().items()}


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
    screen.say(summary(HERE, config, again=f"{snakemake_on(HERE.root)} --cores all"))


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
