# ct-cohort: a radiology report table and an archive -> machine-learning-ready CT volumes
import sys

from snakemake.exceptions import WorkflowError
from snakemake.utils import min_version

min_version("9.19")  # older ones do not find profile.yaml


include: "rules/folder.smk"


sys.path.insert(0, str(FOLDER / "scripts"))

from ctcohort.base.faults import InputError
from ctcohort.base.workdir import Workdir
from ctcohort.config.loading import check_file, refuse_other_names
from ctcohort.config.within import refuse_another_copy, root_of


configfile: workflow.source_path("config.yaml")


IS_MODULE = workflow.modifier.base_snakefile is not None
try:
    refuse_another_copy(FOLDER)
    HERE = Workdir(root_of(workflow.modifier.path_modifier.replace_prefix))
    OWN_CONFIG = HERE.root / "config.yaml"
    if IS_MODULE and workflow.modifier.skip_configfile:
        pass  # the module statement's config takes the place of files
    elif OWN_CONFIG.exists():
        check_file(OWN_CONFIG)
    elif IS_MODULE or not workflow.config_settings.configfiles:
        refuse_other_names(HERE.root)
except InputError as error:
    raise WorkflowError(str(error)) from None

if OWN_CONFIG.exists():

    configfile: str(OWN_CONFIG)


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
