"""Download one series atomically: ``raw/<name>/`` and ``received/<name>.json``.

Partial work lives in ``raw/.partial/<name>/`` and is renamed as the last act. A second process that
fetches the same series at the same time does no harm: files are renamed into place whole, and
whoever comes last finds the series complete and takes it as it is.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from ctcohort.archives.protocol import Archive
from ctcohort.base.faults import Fault, InputError
from ctcohort.base.files import sha256
from ctcohort.dicom.headers import Header, text_of
from ctcohort.dicom.integrity import check_whole
from ctcohort.series.received import Received, ReceivedFile


def fetch_series(
    archive: Archive, headers: Sequence[Header], *, target: Path, received: Path
) -> Received:
    """Fetch every instance of a series and prove that it is whole.

    Parameters
    ----------
    headers : sequence of Header
        The instances that the archive listed; done means exactly this set of SOPInstanceUIDs.
    target : Path
        ``raw/<name>``, made at the very end.
    received : Path
        ``received/<name>.json``: what arrived.

    Raises
    ------
    Fault
        `transfer_incomplete` (transient), `truncated_file`, or what the archive raised. What did
        arrive stays in the partial folder and is not fetched again.
    """
    partial = target.parent / ".partial" / target.name
    try:
        return _fetch(archive, headers, partial=partial, target=target, received=received)
    except (Fault, OSError):
        content = _complete(headers, target, received)
        if content is None:
            raise
        shutil.rmtree(partial, ignore_errors=True)
        return content  # another process was faster


def _fetch(
    archive: Archive, headers: Sequence[Header], *, partial: Path, target: Path, received: Path
) -> Received:
    partial.mkdir(parents=True, exist_ok=True)
    wanted = {f"{header.sop_instance_uid}.dcm": header for header in headers}
    # files are checked and hashed while others are still under way
    with ThreadPoolExecutor(1) as checker:
        checks: dict[str, Future[ReceivedFile]] = {}

        def check(path: Path) -> None:
            checks[path.name] = checker.submit(_file, path, wanted[path.name])

        for path in partial.iterdir():
            if path.name in wanted:
                check(path)
            elif not path.name.startswith("."):
                path.unlink()
        for name, result in list(checks.items()):
            if isinstance(result.exception(), (Fault, OSError)):
                del checks[name]
                (partial / name).unlink(missing_ok=True)
        missing = [wanted[name] for name in sorted(wanted) if name not in checks]
        archive.fetch(missing, partial, check)
    for name, header in wanted.items():
        if name not in checks:
            raise Fault(
                "transfer_incomplete",
                f"instance {header.sop_instance_uid} did not arrive; run again to fetch the rest",
                transient=True,
            )
    files = [checks[name].result() for name in sorted(wanted)]
    content = Received.of(
        headers[0].series_uid,
        files,
        duplicate_files=sum(header.copies - 1 for header in headers),
    )
    content.write(received)
    if target.exists() and _complete(headers, target, received) is None:
        shutil.rmtree(target)
    partial.rename(target)
    for part in target.glob(".*"):
        part.unlink(missing_ok=True)  # of a process that was killed, or is overtaken
    return content


def _complete(headers: Sequence[Header], target: Path, received: Path) -> Received | None:
    """Return what was received, if it is these instances and all are in `target`, unchanged."""
    try:
        content = Received.read(received)
        content.assert_is(target)
    except (Fault, InputError, OSError):
        return None
    same = content.series_uid == headers[0].series_uid
    listed = {header.sop_instance_uid for header in headers}
    return content if same and content.checksums().keys() == listed else None


def _file(path: Path, header: Header) -> ReceivedFile:
    """Return what is recorded of a file; raise unless it is whole and what its name says."""
    dataset = check_whole(path)
    uid, series = (text_of(dataset, word) for word in ("SOPInstanceUID", "SeriesInstanceUID"))
    if (uid, series) != (header.sop_instance_uid, header.series_uid):
        raise Fault(
            "checksum_mismatch", f"{path}: holds another instance or series than its name says"
        )
    return ReceivedFile(
        sop_instance_uid=uid,
        bytes=path.stat().st_size,
        sha256=sha256(path),
        transfer_syntax=str(dataset.file_meta.TransferSyntaxUID),
    )
