"""The folder of the workflow's own files: beside its Snakefile, or fetched as that was."""

import os
import tarfile
import tempfile

from snakemake.exceptions import WorkflowError


def fetched(source):
    """Return the files of a commit, taken once from the clone that Snakemake keeps of a hosted
    repository. By itself it takes single files from there, when they are asked for."""
    hosted = source.hosted_repo
    commit = hosted.repo.git.rev_parse(f"{source.ref}^{{commit}}")
    folder = Path(f"{hosted.repo_clone}-{commit}")
    if not folder.exists():
        with (
            tempfile.TemporaryDirectory(dir=folder.parent) as part,
            tempfile.TemporaryFile() as tar,
        ):
            hosted.repo.git.archive(commit, output_stream=tar)
            tar.seek(0)
            with tarfile.open(fileobj=tar) as files:
                files.extractall(Path(part) / "whole", filter="data")
            try:
                (Path(part) / "whole").rename(folder)
            except OSError:
                if not folder.exists():  # another run was not faster
                    raise
    return folder


SOURCE = workflow.current_basedir
if hasattr(SOURCE, "hosted_repo"):
    FOLDER = fetched(SOURCE)
else:
    FOLDER = Path(SOURCE.get_path_or_uri(secret_free=True)).parent
if not (FOLDER / "scripts").is_dir():
    raise WorkflowError(
        f"{FOLDER}: the workflow needs the whole of its folder, of which scripts is missing; clone"
        " the repository and name the clone's Snakefile"
    )
