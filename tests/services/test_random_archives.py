"""Random mixtures of what archives do: complete, or a reason; never a short volume."""

from __future__ import annotations

import random
from dataclasses import asdict
from pathlib import Path

import pytest

from ctcohort.archives.dicomweb import DicomwebArchive
from ctcohort.archives.dimse import DimseArchive
from ctcohort.archives.protocol import Query
from ctcohort.base.faults import Fault
from ctcohort.base.naming import name_of
from ctcohort.base.reasons import ACCESSION_REASONS, JOB_REASONS, SELECTED, SERIES_REASONS
from ctcohort.config.settings import SeriesSettings, VolumeSettings
from ctcohort.series import cache
from ctcohort.series.download import fetch_series
from ctcohort.series.index import rows_of

from .conftest import ACCESSIONS
from .hospital import KEY, archive_settings
from .lying_dicomweb import MAIN_TAGS, PROFILES, Lies, lying
from .lying_dimse import Lies as DimseLies
from .lying_dimse import lying_dimse
from .servers import ARCHIVE, FETCHER

pytestmark = pytest.mark.usefixtures("hurried")

FORMS = (
    *("plain", "blanks", "mixed", "lf", "lengths"),
    *("wrong lengths", "fixed", "words", "quoted", "unclosed"),
)
JSONS = (
    *("numbers as text", "first values", "joined values", "no numbers", "NUL behind text"),
    *("bulk data", "BOM", "Latin-1", "damaged"),
)

BLOCK, BLOCKS = 30, 10
"""Seeds of one test, and how many tests of DICOMweb there are."""
SERIES = SeriesSettings(kinds=("ORIGINAL",), min_slices=5, tie_break=("series_number",))
VOLUME = VolumeSettings(irregular_spacing="mode", gantry_tilt="correct")


def mixture(rng):
    """Behaviours drawn at random; where no series is counted, the list of instances is whole, or
    the series is: what tells nothing of its own shortness cannot be seen through."""

    def sometimes(value, otherwise, share=0.3):
        return value if rng.random() < share else otherwise

    counts = rng.random() < 0.85
    lists = rng.random() < 0.8
    return Lies(
        page=sometimes(rng.randint(1, 8), 0),
        hints=rng.choice(["", "206", "299"]),
        largest_limit=sometimes(rng.choice([20, 50, 200]), 0),
        ignores_offset=counts and rng.random() < 0.15,
        rows_change=rng.random() < 0.2,
        nothing=rng.choice([200, 204, 404]),
        odd_search=rng.choice(["", "", "empty", "202"]),
        counts=counts,
        lists=lists,
        listed=sometimes(rng.randint(1, 11), 0) if counts else 0,
        described=sometimes(rng.randint(1, 11), 0),
        streamed=sometimes(rng.randint(1, 11), 0) if counts or lists else 0,
        metadata=rng.choice([200] * 5 + [404, 500, 501]),
        odd_metadata=rng.choice(["", "", "200", "202", "204"]),
        odd_always=rng.random() < 0.1,
        told=sometimes(MAIN_TAGS, (), 0.2),
        malformed=sometimes(PROFILES["malformed"].malformed, {}),
        foreign=rng.random() < 0.2,
        json_type=rng.choice(["application/dicom+json", "application/json", None]),
        series=rng.choice([200] * 4 + [400, 403, 404, 405, 413, 500, 501, 503] * (counts or lists)),
        instance_forms=rng.choice([("multipart",), ("single",), ("multipart", "single")]),
        wildcard=rng.choice([200, 200, 400, 406, 500]),
        not_yet=sometimes(1, 0, 0.2),
        form=rng.choice(FORMS),
        forbidden=sometimes(frozenset({"R 2"}), frozenset(), 0.1),
        forbidden_at=rng.choice(["search", "retrieve"]),
        fails=sometimes(rng.randint(3, 9), 0),
        filters=rng.random() < 0.8,
        json=sometimes(rng.choice(JSONS), "plain"),
        accepts=sometimes("application/json", "", 0.2),
        encoding=rng.choice(["", "", "gzip", "deflate"]),
        chunked=rng.random() < 0.3,
        closes=rng.random() < 0.1,
        always_single=rng.random() < 0.1,
        busy=sometimes(1, 0, 0.1),
    )


def outcome(archive, accession, holds):
    """`complete`, or the reason; fails where a volume would be short."""
    name = name_of(accession)
    rows = list(
        rows_of(
            accession,
            Query((accession,)),
            patients=None,
            archive=archive,
            series=SERIES,
            volume=VOLUME,
        )
    )
    chosen = [row for row in rows if row["reason"] == SELECTED]
    if not chosen:
        words = {str(row["reason"]) for row in rows}
        assert words <= {*SERIES_REASONS, *ACCESSION_REASONS, *JOB_REASONS}
        return sorted(words)[0]
    uid = str(chosen[0]["series_uid"])
    try:
        with archive.serving(accession):
            fetch_series(
                archive,
                cache.headers_of(accession, uid),
                target=Path("raw") / name,
                received=Path(f"received/{name}.json"),
            )
    except Fault as fault:
        return fault.reason
    assert len(list((Path("raw") / name).glob("*.dcm"))) == holds[uid]
    return "complete"


@pytest.mark.parametrize("block", range(BLOCKS))
def test_dicomweb_archives_at_random(small, tmp_path, monkeypatch, capsys, block):
    complete = 0
    for seed in range(block * BLOCK, (block + 1) * BLOCK):
        lies = mixture(random.Random(seed))
        folder = tmp_path / f"{seed}"
        folder.mkdir()
        monkeypatch.chdir(folder)
        with lying(small, lies) as server:
            settings = archive_settings(
                kind="dicomweb", dicomweb={"url": server.url}, patience_seconds=0.6
            )
            archive = DicomwebArchive(settings, key=KEY)
            archive.manners._granted = True
            for accession in ACCESSIONS:
                found = outcome(archive, accession, server.holds(accession))
                complete += found == "complete"
            assert len(server.requests) < 1500, (seed, asdict(lies))
    assert "please report it" not in capsys.readouterr().err
    assert complete >= BLOCK  # of twice as many


def test_dimse_archives_at_random(small, tmp_path, monkeypatch, capsys):
    complete = 0
    for seed in range(BLOCK):
        rng = random.Random(seed)
        counts = rng.random() < 0.8
        lies = DimseLies(
            images=rng.choice([0, 0, 5, 10]) if counts else rng.choice([0, 10]),
            cut_off=rng.choice([0, 0xA700]),
            counts=counts,
            tells=rng.random() < 0.6,
            uid_lists=rng.choice(["yes", "A900", "C001", "nothing", "first"]),
            patient_root=rng.random() < 0.3,
            sent=rng.choice([0, 0, 5, 8]) if counts else 0,
            get_status=rng.choice([0, 0, 0xA702, 0xFE00, 0xB000]),
        )
        folder = tmp_path / f"{seed}"
        folder.mkdir()
        monkeypatch.chdir(folder)
        with lying_dimse(small, lies) as server:
            own = {"host": "127.0.0.1", "port": server.port}
            own |= {"called_aet": ARCHIVE, "calling_aet": FETCHER}
            settings = archive_settings(kind="dimse", dimse=own, patience_seconds=4)
            archive = DimseArchive(settings, key=KEY)
            found = outcome(archive, "R1", server.holds("R1"))
            complete += found == "complete"
    assert "please report it" not in capsys.readouterr().err
    assert complete >= BLOCK // 2
