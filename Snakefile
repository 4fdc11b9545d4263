# ct-cohort: a radiology report table and an archive -> machine-learning-ready CT volumes
import sys

from snakemake.exceptions import WorkflowError
from snakemake.utils import min_version

min_version("9.0")
sys.path.insert(0, str(Path(workflow.basedir) / "scripts"))

from ctcohort.base.faults import InputError
from ctcohort.config.loading import check_file, refuse_other_names


configfile: workflow.source_path("config.yaml")


try:
    if Path("config.yaml").exists():
        check_file(Path("config.yaml"))
    elif not workflow.config_settings.configfiles:
        refuse_other_names(Path())
except InputError as error:
    raise WorkflowError(str(error)) from None

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
