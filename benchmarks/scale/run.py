"""What Snakemake itself costs for a data set of N accessions: planning, dispatch, a no-op, ten new.

    python benchmarks/scale/run.py 1000 10000 36861 --table benchmarks/scale/results.md

One scan of the demo hospital is really made; its tables, files and Snakemake's own records are then
copied N times under other names, in the order in which a run would have made them. That these are
all the files that a run leaves, that Snakemake finds nothing to do, and exactly twenty jobs and the
manifest for ten scans that were taken away, is asserted. Volumes are a few bytes, raw folders are
empty. `dispatch` is a run whose jobs sleep and touch their files, stopped after a while: what each
scan then costs the main process while N are waiting.
"""

import argparse
import base64
import csv
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
NEW = 10
LIMIT_COUNT, START, START_MB = 36_861, 1.0, 150
LIMITS = {"plan everything": 65, "nothing to do": 4, "nothing to do, run": 4, "ten new": 4}
"""CPU seconds at 36,861 accessions on a quiet machine, `START` of them for starting Snakemake."""
LIMIT_MB = 1410
"""Peak memory at 36,861 accessions, `START_MB` of it for starting Snakemake."""

CONFIG = """\
reports: {demo}/reports.csv
archive: {{folder: {{path: {demo}/archive}}}}
select: {{protocols: [], protocols_regex: ["chest"], sample: 3}}
volume: {{spacing_mm: 4}}
"""


TOUCH = {
    "download": "sleep 0.2; mkdir -p {output.series:q}; touch {output.received:q}",
    "preprocess": "sleep 0.2; touch {output.volume:q} {output.record:q}",
}
"""What the rules of a scan do in `dispatch`. They take time, as real ones do: what the main process
does again and again while it waits is part of what a scan costs."""


@dataclass(frozen=True)
class Measured:
    """One run of Snakemake; of `dispatch`, the part in which `scans` were made."""

    state: str
    count: int
    cpu_seconds: float
    wall_seconds: float
    peak_mb: float
    files: int
    output: str
    scans: int = 0

    def row(self) -> str:
        per_scan = 1000 * self.cpu_seconds / (self.scans or self.count)
        peak = f"{self.peak_mb:.0f}" if self.peak_mb else ""
        return (
            f"| {self.count:,} | {self.state} | {self.cpu_seconds:.1f} | {self.wall_seconds:.0f} |"
            f" {per_scan:.2f} | {peak} | {self.files:,} |"
        )


HEADER = """\
| accessions | state | CPU s | wall s | CPU ms per accession | peak MB | files in .snakemake |
|---|---|---|---|---|---|---|"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("counts", type=int, nargs="+")
    parser.add_argument("--table", type=Path, help="write the Markdown table here too")
    parser.add_argument("--scratch", type=Path, help="where to fabricate; default: TMPDIR")
    options = parser.parse_args()
    results: list[Measured] = []
    with tempfile.TemporaryDirectory(dir=options.scratch) as folder:
        template = make_template(Path(folder).resolve())
        for count in options.counts:
            results += measure(template, Path(folder).resolve() / str(count), count)
            print("\n".join([HEADER, *(result.row() for result in results)]), flush=True)
    if options.table:
        options.table.write_text("\n".join([HEADER, *(result.row() for result in results)]) + "\n")
    sys.exit("\n".join(too_much(results)))


def too_much(results: list[Measured]) -> list[str]:
    """What is above the limits, scaled to the count they are given for."""
    lines = []
    for result in results:
        if result.count < 5000:
            continue  # start-up counts too much
        share = result.count / LIMIT_COUNT
        if result.state in LIMITS:
            seconds = START + (LIMITS[result.state] - START) * share
            if result.cpu_seconds > seconds:
                lines.append(f"{result.row()} more than {seconds:.1f} CPU s")
        megabytes = START_MB + (LIMIT_MB - START_MB) * share
        if result.peak_mb > megabytes:
            lines.append(f"{result.row()} more than {megabytes:.0f} MB")
    return lines


def measure(template: Path, directory: Path, count: int) -> Iterator[Measured]:
    """The four states, each from a fresh Snakemake."""
    data = Fabricated(template, directory, count)
    data.tables()
    result = snakemake("plan everything", directory, count, "-n")
    tables = {"assign_splits": 1, "write_manifest": 1, "all": 1}
    assert planned(result) == {**of_scans(count), **tables}, planned(result)
    yield result
    yield dispatched(directory, count)
    data.results()
    assert kinds(directory) == kinds(template), kinds(directory) ^ kinds(template)
    result = snakemake("nothing to do", directory, count, "-n")
    assert "Nothing to be done" in result.output, result.output[-3000:]
    yield result
    result = snakemake("nothing to do, run", directory, count)
    assert "Nothing to be done" in result.output, result.output[-3000:]
    yield result
    data.forget(NEW)
    result = snakemake("ten new", directory, count, "-n")
    assert planned(result) == {**of_scans(NEW), "write_manifest": 1, "all": 1}, planned(result)
    yield result
    shutil.rmtree(directory)


def of_scans(count: int) -> dict[str, int]:
    return {"download_series": count, "preprocess_volume": count}


def planned(result: Measured) -> dict[str, int]:
    """Jobs per rule that a dry run announced."""
    found = re.findall(r"^(\w+) +(\d+)$", result.output, re.MULTILINE)
    return {rule: int(count) for rule, count in found if rule != "total"}


def command_line(workflow: Path, directory: Path) -> list[str]:
    return [
        *(sys.executable, "-m", "snakemake", "--snakefile", str(workflow / "Snakefile")),
        *("--workflow-profile", str(workflow / "profiles" / "default")),
        *("--directory", str(directory), "--cores", "2", "--quiet", "rules"),
    ]


def snakemake(state: str, directory: Path, count: int, *options: str) -> Measured:
    command = [*command_line(REPOSITORY, directory), *options]
    begun = time.monotonic()
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read()
    assert process.returncode == 0, text[-3000:]
    return Measured(
        state,
        count,
        usage.ru_utime + usage.ru_stime,
        time.monotonic() - begun,
        usage.ru_maxrss / 1024,
        sum(len(names) for _, _, names in os.walk(directory / ".snakemake")),
        text,
    )


def dispatched(directory: Path, count: int) -> Measured:
    """A run whose jobs sleep and touch; its own CPU time between two moments, then killed."""
    workflow = directory.with_name("touching")
    if not workflow.exists():
        ignore = shutil.ignore_patterns(".*", "tests", "benchmarks", "docs")
        shutil.copytree(REPOSITORY, workflow, ignore=ignore)
        for name, command in TOUCH.items():
            rules = workflow / "rules" / f"{name}.smk"
            head = rules.read_text().partition("    shell:")[0]
            rules.write_text(f'{head}    shell:\n        "{command}"\n')
    copy = directory.with_name("dispatched")
    shutil.copytree(directory, copy)
    process = subprocess.Popen(
        command_line(workflow, copy), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        begin = now_made(copy, process, 20)
        end = now_made(copy, process, min(begin[0] + 200, count * 3 // 4))
    finally:
        process.kill()
        process.wait()
    files = sum(len(names) for _, _, names in os.walk(copy / ".snakemake"))
    shutil.rmtree(copy)
    scans, cpu, wall = (after - before for before, after in zip(begin, end, strict=True))
    return Measured("dispatch", count, cpu, wall, 0, files, "", int(scans))


def now_made(directory: Path, process: subprocess.Popen[bytes], scans: int) -> tuple[float, ...]:
    """When at least so many scans are made: how many, the process' CPU s, and the time in s."""
    while True:
        there = len(list(directory.glob("processed/*.npz")))
        if there >= scans:
            fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
            ticks = int(fields[11]) + int(fields[12])  # proc(5): utime, stime
            return there, ticks / os.sysconf("SC_CLK_TCK"), time.monotonic()
        assert process.poll() is None, f"ended with {there} scans"
        time.sleep(0.2)


def kinds(directory: Path) -> set[str]:
    """The files of a working directory and Snakemake's records, with scans' names left out."""
    scans = "|".join(re.escape(path.stem) for path in (directory / "received").iterdir())
    paths = [str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()]
    records = (directory / ".snakemake" / "metadata").iterdir()
    paths += [f"record of {base64.b64decode(path.name).decode()}" for path in records]
    unseen = (".snakemake/", "logs/", "index/")
    return {
        re.sub(rf"\b({scans})\b", "*", path)
        for path in paths
        if not path.startswith(unseen) and not path.endswith(".dcm")
    }


def make_template(folder: Path) -> Path:
    """A working directory in which a scan was really made."""
    script = REPOSITORY / "scripts" / "make_demo.py"
    subprocess.run([sys.executable, script, folder / "demo"], check=True)
    directory = folder / "template"
    directory.mkdir()
    (directory / "config.yaml").write_text(CONFIG.format(demo=folder / "demo"))
    snakemake("template", directory, 1)
    return directory


class Fabricated:
    """N copies of the template's scan, as a run would have left them."""

    def __init__(self, template: Path, directory: Path, count: int) -> None:
        self.template, self.directory = template, directory
        self.scan = next(path.stem for path in (template / "received").iterdir())
        self.names = [f"A{number:07d}" for number in range(count)]
        self.clock = time.time() - 10_000_000

    def tables(self) -> None:
        """What there is once the index was made: nothing is downloaded yet."""
        self.directory.mkdir()
        shutil.copy(self.template / "config.yaml", self.directory)
        self._write("accessions.txt", "".join(f"{name}\n" for name in self.names))
        self._write("protocols.csv", (self.template / "protocols.csv").read_text())
        self._table("cohort.csv")
        self._table("series.csv")
        for parameters in (self.template / ".parameters").iterdir():
            self._write(f".parameters/{parameters.name}", parameters.read_text())
        for name in ("accessions.txt", "protocols.csv", "cohort.csv", "series.csv"):
            self._seal(name)
            self._record(name, name)

    def results(self) -> None:
        """All the rest."""
        received = (self.template / "received" / f"{self.scan}.json").read_text()
        record = (self.template / "processed" / f"{self.scan}.json").read_text()
        self._tick()
        for name in self.names:
            raw = self.directory / "raw" / name
            raw.mkdir(parents=True)
            self._age(raw)
            self._write(f"raw/{name}/.snakemake_timestamp", "")
            self._write(f"received/{name}.json", received)
        self._tick()
        for name in self.names:
            self._write(f"processed/{name}.npz", name)
            self._write(f"processed/{name}.json", record)
        for pattern in ("raw/{}", "received/{}.json", "processed/{}.npz", "processed/{}.json"):
            for name in self.names:
                self._record(pattern.format(self.scan), pattern.format(name), name)
        for name in ("splits.csv", "manifest.csv"):
            self._table(name)
            self._seal(name)
            self._record(name, name)

    def forget(self, count: int) -> None:
        """As if `count` rows were new: in the tables, not made yet."""
        for name in self.names[-count:]:
            shutil.rmtree(self.directory / "raw" / name)
            for path in (
                f"received/{name}.json",
                f"processed/{name}.npz",
                f"processed/{name}.json",
            ):
                (self.directory / path).unlink()
            for path in (
                f"raw/{name}",
                f"received/{name}.json",
                f"processed/{name}.npz",
                f"processed/{name}.json",
            ):
                self._metadata(self.directory, path).unlink()

    def _tick(self) -> None:
        self.clock += 1000

    def _age(self, path: Path) -> None:
        os.utime(path, (self.clock, self.clock))

    def _write(self, name: str, text: str) -> None:
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        self._age(path)

    def _table(self, name: str) -> None:
        """The scan's row of a table, once per accession."""
        self._tick()
        with open(self.template / name, newline="") as stream:
            reader = csv.DictReader(stream)
            rows = [row for row in reader if row["accession"] == self.scan]
            columns = reader.fieldnames or []
        row = next((row for row in rows if row.get("selected", "true") == "true"), rows[0])
        with open(self.directory / name, "w", newline="") as stream:
            writer = csv.DictWriter(stream, columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows({**row, "accession": name} for name in self.names)
        self._age(self.directory / name)

    def _seal(self, name: str) -> None:
        """The checksum that stands beside a table."""
        content = (self.directory / name).read_bytes()
        self._write(f".seals/{name}", f"{hashlib.sha256(content).hexdigest()}\n")

    def _record(self, of: str, name: str, accession: str = "") -> None:
        """Snakemake's record of an output, from that of the template's."""
        text = self._metadata(self.template, of).read_text()
        if accession:
            text = text.replace(self.scan, accession)
        elif name == "manifest.csv":
            content = json.loads(text)
            volumes = [f"processed/{each}.npz" for each in self.names]
            own = f"processed/{self.scan}.npz"
            content["input"] = sorted([path for path in content["input"] if path != own] + volumes)
            hashed = content["input_checksums"].pop(own)
            content["input_checksums"] |= dict.fromkeys(volumes, hashed)
            text = json.dumps(content)
        path = self._metadata(self.directory, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def _metadata(self, directory: Path, name: str) -> Path:
        encoded = base64.b64encode(name.encode()).decode()
        return directory / ".snakemake" / "metadata" / encoded


if __name__ == "__main__":
    main()
