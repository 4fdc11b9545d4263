"""Orthanc killed while it sends, started again, and asked for the rest."""

from __future__ import annotations

import shutil
import time

import pytest

from .hospital import Run, archive_settings, make_long_series
from .servers import ARCHIVE, FETCHER, PASSWORD, USER, needs_orthanc, orthanc

pytestmark = needs_orthanc
ENVIRONMENT = {"CT_COHORT_USER": USER, "CT_COHORT_PASSWORD": PASSWORD}


def settings_of(kind, archive, **more):
    """One connection, and slow enough to be killed in between."""
    if kind == "dicomweb":
        more["dicomweb"] = {"url": archive.url, "auth": "basic"}
    else:
        own = {"host": "127.0.0.1", "port": archive.port}
        more["dimse"] = {**own, "called_aet": ARCHIVE, "calling_aet": FETCHER}
    return archive_settings(kind=kind, connections=1, **more)


def fetched(run):
    """How many requests for instances the archive granted, and all the bytes they brought."""
    lines = [line.split("\t") for line in (run.folder / "archive.log").read_text().splitlines()]
    sizes = [int(line[3]) for line in lines if line[2] == "fetch"]
    return sum(size > 0 for size in sizes), sum(sizes)


@pytest.mark.parametrize(("kind", "slices", "moments"), [("dicomweb", 500, 20), ("dimse", 150, 3)])
def test_killed_at_any_moment_it_is_complete_in_the_end(tmp_path, kind, slices, moments):
    make_long_series(tmp_path / "files", slices, size=160)
    size = sum(path.stat().st_size for path in (tmp_path / "files").iterdir())
    (tmp_path / "empty").mkdir()
    first = tmp_path / "run"
    with orthanc(tmp_path, tmp_path / "files") as archive:
        run = Run(first, settings_of(kind, archive), ENVIRONMENT).fetch(["LONG"])
    whole = run.received("LONG")
    assert len(whole) == slices
    broken = None
    for moment in range(moments + 1):
        with orthanc(tmp_path, tmp_path / "empty") as archive:
            if broken:  # what the archive was killed at is taken up again
                there = len(list(broken.folder.glob("raw/.partial/LONG/*.dcm")))
                asked, came = fetched(broken)
                broken.archive = settings_of(kind, archive)
                result = broken.download("LONG")
                assert result.returncode == 0, result.stdout
                assert broken.data_sets("LONG") == run.data_sets("LONG")
                assert len(broken.received("LONG")) == slices
                again, more = (
                    now - then for now, then in zip(fetched(broken), (asked, came), strict=True)
                )
                if kind == "dicomweb":
                    assert again == slices - there
                assert more < size * (slices - there) / slices * 1.1
            if moment == moments:
                break
            broken = Run(tmp_path / f"{moment}", {}, ENVIRONMENT)
            shutil.copytree(first / "index", broken.folder / "index")
            shutil.copy(first / "series.csv", broken.folder)
            limit = {"max_mb_per_second": 12, "patience_seconds": 0.5}
            broken.archive = settings_of(kind, archive, **limit)
            process = broken.start(*broken.download_arguments("LONG"))
            partial = broken.folder / "raw/.partial/LONG"
            while len(list(partial.glob("*.dcm"))) <= moment * slices * 2 // (5 * moments):
                assert process.poll() is None, process.communicate()[0]
                time.sleep(0.002)
            archive.process.kill()
            output, _ = process.communicate()
        assert process.returncode == 1, output
        assert broken.failure("LONG")["reason"] == "transfer_incomplete"
        assert not (broken.folder / "raw/LONG").exists()
        assert not (broken.folder / "received/LONG.json").exists()
