# ct-cohort: a radiology report table and an archive -> machine-learning-ready CT volumes
from snakemake.utils import min_version

min_version("9.0")


configfile: workflow.source_path("config.yaml")


if Path("config.yaml").exists():

    configfile: "config.yaml"


include: "rules/common.smk"
include: "rules/select.smk"
include: "rules/index.smk"
include: "rules/download.smk"
include: "rules/preprocess.smk"
include: "rules/dataset.smk"
include: "rules/pictures.smk"
include: "rules/page.smk"
include: "rules/removal.smk"
include: "rules/release.smk"
include: "rules/environments.smk"


rule all:
    default_target: True
    input:
        "accessions.txt",
        "protocols.csv",
        "cohort.csv",
        "series.csv",
        unfinished_scans,
        "splits.csv",
        "manifest.csv",
