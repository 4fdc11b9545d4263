"""What the rules share. Only the standard library and Snakemake's own dependencies are needed."""

import functools
import gc
import json
import os
import sys

import snakemake.persistence
import yaml
from snakemake.exceptions import WorkflowError
from snakemake.logging import logger
from snakemake.settings.enums import Quietness
from snakemake.settings.types import RerunTrigger

from ctcohort.base.faults import InputError
from ctcohort.base import seals
from ctcohort.dataset import overhead, screen
from ctcohort.dataset.lost_jobs import record_lost_jobs
from ctcohort.base.project import ROOT, snakemake_on
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
)
from ctcohort.base.naming import NAME_PATTERN, accession_of
from ctcohort.dataset import plan
from ctcohort.dataset.plan import Plan
from ctcohort.config import paths, within
from ctcohort.config.checking import check, typed
from ctcohort.config.loading import check_file, overridden
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
if not IS_MODULE:  # another workflow's parameters may be tables
    overhead.no_pandas(getattr(snakemake.persistence, "PersistenceBase", None))

SCHEMA = yaml.safe_load(Path(workflow.source_path("config.schema.yaml")).read_text())
DEFAULTS = yaml.safe_load(Path(workflow.source_path("../config.yaml")).read_text())
NEED_NO_DATA = {"environments", "--lint", "--list-rules", "--list-target-rules", "--unlock"}
"""Words of a command line that asks for nothing of a working directory."""

IS_MAIN = workflow.is_main_process
config = typed(overridden(DEFAULTS, config), SCHEMA)
try:
    for path in [] if IS_MODULE else workflow.config_settings.configfiles:
        check_file(Path(path))
    paths.expand(config)
    # one of a run's jobs may be where not every path is
    is_for_data = IS_MAIN and not NEED_NO_DATA & set(sys.argv)
    by_rules = paths.MADE_BY_RULES if IS_MODULE else ()
    check(config, SCHEMA, DEFAULTS, files=is_for_data, root=HERE.root, made=by_rules)
except InputError as error:
    raise WorkflowError(str(error)) from None


# Accessions are names of files and folders here, and parts of the logs: nobody else may list them.
# Snakemake has made its own folder before it reads this.
os.umask(0o077)
if Path(".snakemake").is_dir() and os.access(".snakemake", os.W_OK):
    Path(".snakemake").chmod(0o700)

# A table that was damaged under its old time stamp would be used, or be "Nothing to be done".
if IS_MAIN:
    if changed := list(seals.complaints(HERE.root, missing=False)):
        raise WorkflowError("\n".join(f"error: {line}" for line in changed))


wildcard_constraints:
    acc=NAME_PATTERN,


COMMANDS = ("check_archive", "environments", "guard", "prune", "purge", "release")
"""Targets that have words of their own at the end."""
NAMED = {
    name: workflow.modifier.modify_rulename(name) for name in ("chunked", "index_series", *COMMANDS)
}
"""What rules are called: another workflow may call them otherwise."""

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
SEEN = paths.below(HERE.root, config)  # by the commands: an input's path Snakemake itself completes
BEGIN, VARIABLES = within.told(
    HERE.root,
    {
        "CT_COHORT_ARCHIVE": json.dumps(SEEN["archive"]),
        "CT_COHORT_RAW": config["raw"],
        "CT_COHORT_CONNECTIONS": str(connections_of(config)),
    },
)
os.environ.update(
    VARIABLES,
    PATH=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
    CT_COHORT=str(ROOT / "scripts"),
)


def command(line):
    """Return a rule's command line, told which data set it is about."""
    return BEGIN + line


ARCHIVE_SHARES = 1_000_000  # of the archive, as declared in the profiles
ARCHIVE_SHARE = ARCHIVE_SHARES // connections_of(config)  # one connection's: no more run at once
if "archive_share" not in workflow.global_resources:  # a limit that is not declared is none
    workflow.register_resource("archive_share", ARCHIVE_SHARES)


def existing(path):
    """`path` as an input if it exists."""
    return [path] if (HERE.root / path).exists() else []


def is_made(path):
    """Whether a rule of the workflow around this one makes a table of the user's."""
    seen = str(HERE.root / path)
    return IS_MODULE and any(rule.is_producer(seen) for rule in workflow.rules)


def table(key):
    """Return a table of the user's as an input. Snakemake would take what exists as made if it is
    missing."""

    def of(_wildcards):
        path = config[key] or []
        is_sought = IS_MODULE and IS_MAIN and path and not is_made(path)
        if is_sought and not (HERE.root / path).exists():
            raise WorkflowError(f"{key}: {HERE.root / path} does not exist, and no rule makes it")
        return path

    return of


PLAN = Plan(HERE, parameters=PARAMETERS_DIGEST, spacing_mm=config["volume"]["spacing_mm"])


def selected_names():
    """Return the selected scans by file name, once ``series.csv`` is up to date."""
    checkpoints.index_series.get()
    return list(PLAN.choices())


@functools.cache
def more_triggers():
    """Return whether an edited rule or another environment makes Snakemake run jobs again."""
    triggers = {RerunTrigger.CODE, RerunTrigger.SOFTWARE_ENV}
    more = bool(triggers & set(workflow.dag_settings.rerun_triggers))
    if more and IS_MODULE and IS_MAIN:
        logger.warning(
            "ct-cohort: with these rerun triggers a new release may download every scan again;"
            " expected --rerun-triggers mtime params input, as in its profiles/default"
        )
    return more


def is_forced():
    """Return True if the user forces reruns (-F, -R or extra rerun triggers)."""
    settings = workflow.dag_settings
    return bool(settings.forceall or settings.forcerun or more_triggers())


def jobs_will_run():
    """Return True if jobs are planned that will be run: what is damaged may be removed for them."""
    return IS_MAIN and not workflow.dryrun


def unfinished():
    """Return the selected scans that may need a job."""
    selected_names()
    noted("volume", PARAMETERS)  # `make verify` reads it, also where no volume is to be made
    return PLAN.unfinished(forced=is_forced(), clear=jobs_will_run())


def unfinished_scans(_wildcards):
    return PLAN.volumes_and_records(unfinished())


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
    if NAMED["chunked"] in workflow.dag_settings.targets:
        return selected(CHUNKED)(None)
    if not (HERE.root / "chunked").exists():
        return []
    there = (path for path in selected(CHUNKED)(None) if (HERE.root / path).exists())
    return [before_update(path) for path in there]


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
    path, named = HERE.parameters(stage), str(Workdir(Path()).parameters(stage))
    if path.exists() and not IS_MAIN:
        return named  # a job's: it may run where a person's tables are not
    try:
        # of a table that a rule makes, the time stamp tells
        own = [str(HERE.root / each) for each in tables if each and not is_made(each)]
        word = mark(path.with_suffix(".tables"), own) if tables else ""
        lines = [parameters, word] if word else [parameters]
        if any(lines) or path.exists():
            plan.note(path, lines)
    except InputError as error:
        raise WorkflowError(f"error: {error}") from None
    return named


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
    if targets & {NAMED[name] for name in COMMANDS}:
        return
    if str(HERE.series) in targets:
        screen.say(told_forecast(HERE, SEEN))
    again = snakemake_on(Path(), workflow.main_snakefile if IS_MODULE else ROOT / "Snakefile")
    screen.say(summary(HERE, config, again=f"{again} --cores all", index=NAMED["index_series"]))


# Of a module, Snakemake runs none of these; the workflow around it may call them.
onstart:
    overhead.one_timer(workflow.scheduler)
    waiting = sum(job.rule.name == "preprocess_volume" for job in workflow.dag.needrun_jobs())
    if workflow.local_exec and (advice := overhead.advice(workflow.cores, waiting)):
        print(advice)
    if config["raw"] == "delete":
        print("raw: delete is set: a volume that must be made again is downloaded again.")
    if follows_jobs() and not IS_MODULE:
        ENDINGS.append(screen.show(logger, HERE, expected_sizes))


onsuccess:
    end_screen()


onerror:
    if not IS_MODULE:
        record_lost_jobs(HERE)
    end_screen()
