"""Downloads from an Orthanc on loopback: wall time against curl, memory, and bytes on the wire.

    python -m benchmarks.downloads.run [--runs 5]

Writes `benchmarks/downloads/results.md`. Whole processes take turns, and what is compared was
measured in one run: times are medians, and their ratios count. Needs Orthanc, its DICOMweb plugin
and curl.
"""

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from tests.services.hospital import Run, archive_settings
from tests.services.link import linked
from tests.services.servers import ARCHIVE, FETCHER, PASSWORD, USER, orthanc

from benchmarks.measuring import Cost, measured
from ctcohort.phantoms.anatomy import Phantom
from ctcohort.phantoms.stack import SliceStack
from ctcohort.phantoms.writer import (
    Identity,
    make_localizer,
    make_reformat,
    make_series,
    write_files,
)

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]

LIMITS = {"loopback": 1.5, "slow link": 1.05, "megabytes": 60, "more bytes in %": 2}
RATE, ROUND_TRIP = 25, 20
"""Megabytes per second and milliseconds of the slow link."""
SLOW_RUNS = 3
QUARTERS = ("Q1", "Q2", "Q3", "Q4")
"""Accessions that are fetched at once, one connection each."""


def make_studies(folder: Path) -> None:
    """LONG: 500 slices of 512 x 512 with what else a study has; SHORT and MANY: other lengths."""
    body = Phantom()
    for accession, count, size in (("LONG", 500, 512), ("SHORT", 50, 512), ("MANY", 3000, 32)):
        who = Identity(accession=accession, patient_id=accession)
        stack = SliceStack.oriented(count=count, step=0.7, rows=size, columns=size, fov=360)
        write_files(make_series(body, stack, identity=who), folder / accession / "1")
    for accession in QUARTERS:
        who = Identity(accession=accession, patient_id=accession)
        stack = SliceStack.oriented(count=125, step=2.8, rows=512, columns=512, fov=360)
        write_files(make_series(body, stack, identity=who), folder / accession)
    who = Identity(accession="LONG", patient_id="LONG")
    small = {"rows": 512, "columns": 512, "fov": 360}
    kernel = SliceStack.oriented(count=120, step=2.9, **small)
    coronal = SliceStack.coronal(count=100, step=3.0, rows=256, columns=256, fov=360)
    for number, series in enumerate(
        (
            [make_localizer(body, identity=who)],
            make_series(body, kernel, identity=who, series_number=3, kernel="B70f"),
            make_reformat(body, coronal, identity=who),
        )
    ):
        write_files(series, folder / "LONG" / f"other{number}")


def download(run: Run, accession: str) -> Cost:
    """The product's command, from nothing."""
    for name in ("raw", "received"):
        shutil.rmtree(run.folder / name, ignore_errors=True)
    script, *arguments = run.download_arguments(accession)
    command = [sys.executable, str(REPOSITORY / "scripts" / script), *arguments]
    command += ["--archive", json.dumps(run.archive)]
    return measured(command, run.folder, dict(run.environment))


def curl(folder: Path, urls: list[str]) -> Cost:
    """The replies to as many files, over one connection."""
    accept = 'Accept: multipart/related; type="application/dicom"; transfer-syntax=*'
    into = folder / "curl"
    into.mkdir()
    lines = [f'url = "{url}"\noutput = "{into}/{number}"\n' for number, url in enumerate(urls)]
    (folder / "curl.config").write_text("".join(lines))
    command = ["curl", "-sf", "-u", f"{USER}:{PASSWORD}", "-H", accept, "-K", "curl.config"]
    cost = measured(command, folder, {})
    shutil.rmtree(into)
    return cost


def prepared(folder: Path, accessions: list[str], **archive: object) -> Run:
    """A working directory with its index."""
    secrets = {"CT_COHORT_USER": USER, "CT_COHORT_PASSWORD": PASSWORD}
    run = Run(folder, archive_settings(**archive), secrets)
    run.prepare(accessions)
    result = run.index()
    if result.returncode or set(run.chosen()) != set(accessions):
        sys.exit(result.stdout)
    return run


def series_bytes(run: Run, accession: str) -> int:
    content = json.loads((run.folder / "received" / f"{accession}.json").read_text())
    return int(content["bytes"])


def over_http(kind: str, port: int) -> dict[str, object]:
    return {
        "kind": kind,
        "dicomweb": {"url": f"http://127.0.0.1:{port}/dicom-web", "auth": "basic"},
    }


def over_dimse(port: int) -> dict[str, object]:
    own = {"host": "127.0.0.1", "port": port, "called_aet": ARCHIVE, "calling_aet": FETCHER}
    return {"kind": "dimse", "dimse": own}


HEAD = """# Measured

Whole processes in turn against Orthanc on this machine; wall times are medians. Made by `run.py`.

The product checks every file and takes its checksum while others arrive, which costs CPU that curl
does not spend: on a loaded machine the ratio to curl is that of the two CPU times.
"""


class Table:
    """Measured figures with their limits; `text` is the page."""

    def __init__(self) -> None:
        self.lines = ["| what | measured | limit | |", "|---|---|---|---|"]
        self.held = True

    def add(self, what: str, measured: str, value: float = 0, limit: float | None = None) -> None:
        verdict = ""
        if limit is not None:
            verdict = "held" if value <= limit else "**not held**"
            self.held &= value <= limit
        self.lines.append(f"| {what} | {measured} | {limit or ''} | {verdict} |")
        print(self.lines[-1], flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    table = Table()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_studies(folder / "files")
        with orthanc(folder, folder / "files") as archive:
            shutil.rmtree(folder / "files")
            port = int(archive.url.split(":")[2].split("/")[0])
            loopback(table, folder, port, options.runs)
            slow_link(table, folder, port)
            instance_wise(table, folder, port)
            memory(table, folder, port, archive.port)
            wire(table, folder, port)
    text = f"{HEAD}\n{chr(10).join(table.lines)}\n"
    (HERE / "results.md").write_text(text)
    sys.exit(not table.held)


def loopback(table: Table, folder: Path, port: int, runs: int) -> None:
    run = prepared(folder / "loopback", ["LONG"], **over_http("dicomweb", port))
    series = series_url(run)
    download(run, "LONG")
    names = [path.stem for path in (run.folder / "raw" / "LONG").glob("*.dcm")]
    instances = [f"{series}/instances/{name}" for name in names]
    costs: dict[str, list[Cost]] = {"stream": [], "files": [], "product": []}
    for _ in range(runs):
        costs["stream"].append(curl(run.folder, [series]))
        costs["files"].append(curl(run.folder, instances))
        costs["product"].append(download(run, "LONG"))
    wall = {name: statistics.median(cost.wall for cost in some) for name, some in costs.items()}
    cpu = {name: statistics.median(cost.cpu for cost in some) for name, some in costs.items()}
    what = f"{len(names)} slices, {series_bytes(run, 'LONG') / 1e6:.0f} MB, loopback"
    for name, told in (
        ("stream", "curl, the whole reply to one file"),
        ("files", "curl, one file per slice"),
        ("product", "download_series, start-up, checks and checksums included"),
    ):
        table.add(f"{what}: {told}", f"{wall[name]:.2f} s, {cpu[name]:.2f} CPU s")
    ratio = wall["product"] / wall["files"]
    table.add("times curl to files", f"{ratio:.2f}", ratio, LIMITS["loopback"])
    table.add("times curl to one file", f"{wall['product'] / wall['stream']:.2f}")


def slow_link(table: Table, folder: Path, port: int) -> None:
    with linked(port, megabytes_per_second=RATE, milliseconds=ROUND_TRIP) as link:
        run = prepared(folder / "slow", ["LONG"], **over_http("dicomweb", link.port))
        ratios = []
        for _ in range(SLOW_RUNS):
            before = link.received
            cost = download(run, "LONG")
            ratios.append(cost.wall / ((link.received - before) / link.bytes_per_second))
        ratio = statistics.median(ratios)
    what = f"behind {RATE} MB/s and {ROUND_TRIP} ms: times the link's limit"
    table.add(what, f"{ratio:.3f}", ratio, LIMITS["slow link"])


def instance_wise(table: Table, folder: Path, port: int) -> None:
    """Four series at once over a slow link: whole, and instance by instance, as from an archive
    that gives no series. One instance that is there already makes the product ask so."""
    with linked(port, megabytes_per_second=RATE, milliseconds=ROUND_TRIP) as link:
        run = prepared(folder / "quarters", list(QUARTERS), **over_http("dicomweb", link.port))
        first = {}
        walls: dict[str, list[float]] = {"whole": [], "single": []}
        for turn in range(2 * SLOW_RUNS):
            way = "single" if turn % 2 else "whole"
            for name in ("raw", "received"):
                shutil.rmtree(run.folder / name, ignore_errors=True)
            for accession, (name, content) in first.items() if way == "single" else ():
                partial = run.folder / "raw" / ".partial" / accession
                partial.mkdir(parents=True)
                (partial / name).write_bytes(content)
            started = time.monotonic()
            jobs = [run.start(*run.download_arguments(accession)) for accession in QUARTERS]
            told = [job.communicate()[0] for job in jobs]
            walls[way].append(time.monotonic() - started)
            if any(job.returncode for job in jobs):
                sys.exit("\n".join(told))
            if not first:
                files = {a: min((run.folder / "raw" / a).glob("*.dcm")) for a in QUARTERS}
                first = {a: (path.name, path.read_bytes()) for a, path in files.items()}
        size = sum(series_bytes(run, accession) for accession in QUARTERS)
    whole, single = (statistics.median(walls[way]) for way in ("whole", "single"))
    what = f"4 series of 125 slices, {size / 1e6:.0f} MB, 4 connections, {RATE} MB/s and"
    what += f" {ROUND_TRIP} ms"
    table.add(f"{what}: whole series", f"{whole:.1f} s")
    table.add(f"{what}: instance by instance", f"{single:.1f} s")
    table.add("times whole series", f"{single / whole:.2f}")


def memory(table: Table, folder: Path, port: int, dicom_port: int) -> None:
    accessions = ["SHORT", "LONG", "MANY"]
    for kind, archive in (
        ("dicomweb", over_http("dicomweb", port)),
        ("dimse", over_dimse(dicom_port)),
    ):
        run = prepared(folder / kind, accessions, **archive)
        for accession in accessions:
            peak = download(run, accession).megabytes
            count = sum(1 for _ in (run.folder / "raw" / accession).glob("*.dcm"))
            what = (
                f"peak memory, {kind}, {count} slices, {series_bytes(run, accession) / 1e6:.0f} MB"
            )
            table.add(
                what, f"{peak:.0f} MB", peak, LIMITS["megabytes"] if kind == "dicomweb" else None
            )


def wire(table: Table, folder: Path, port: int) -> None:
    """All that crosses the network for one scan, index and headers included."""
    with linked(port) as link:
        run = prepared(folder / "wire", ["LONG"], **over_http("dicomweb", link.port))
        asked = link.received
        download(run, "LONG")
        size = series_bytes(run, "LONG")
        more = 100 * (link.received / size - 1)
    table.add("bytes on the wire for one scan, index included", f"{link.received / 1e6:.1f} MB")
    table.add("of them for the index", f"{asked / 1e6:.2f} MB")
    table.add("more than the chosen series", f"{more:.2f} %", more, LIMITS["more bytes in %"])


def series_url(run: Run) -> str:
    row = next(row for row in run.series_rows() if row["reason"] == "selected")
    root = run.archive["dicomweb"]["url"]
    return f"{root}/studies/{row['study_uid']}/series/{row['series_uid']}"


if __name__ == "__main__":
    main()
