"""The index of a folder of DICOM files: CPU per file, memory, its size, a kill, and a second run.

    python -m benchmarks.index.run [--files 100000] [--scratch FOLDER]

Each file has a header of its own with 105 elements, 48 of them private, and lies in a folder of its
series. `index_series.py` runs as the workflow runs it, with one accession in the cohort. Writes
`benchmarks/index/results.md`; fails where a limit is missed, or the index depends on the number of
processes or on a kill.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import zlib
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset, write_file_meta_info
from pydicom.uid import DeflatedExplicitVRLittleEndian
from tests.services.hospital import SCRIPTS, Run, archive_settings

from benchmarks.measuring import Cost, measured
from ctcohort.base.seals import seal_of
from ctcohort.dicom.reading import AHEAD
from ctcohort.phantoms.anatomy import Phantom
from ctcohort.phantoms.stack import SliceStack
from ctcohort.phantoms.writer import make_series

HERE = Path(__file__).parent

OF_SERIES, OF_STUDY = 300, 1500
"""Files; 36,861 such studies are 55 million."""

LARGE = 300_000
"""Bytes of the private element that some scanners write before the elements that are read."""

TENTH = 10
"""The smaller trees have one in so many files."""

PER_SECOND, TIMES_FASTER, TIMES_MEMORY = 1500, 20, 1.1
"""Limits: files per CPU second at least, of a second run at least, memory of ten times the files at
most."""

PLACE, DEPTH = "-179.648438", "0000.0000000"
"""ImagePositionPatient of the template; the second takes the slice's own."""

HEAD = """\
Made by `run.py`. Files are on a disk, their headers in the page cache. Pixels of files that are not
deflated are holes, which have a length and which nothing reads. CPU is of the whole command with
its processes, start-up included; memory is that of its largest process. A second run finds every
file as it was. The store is `index/folder.sqlite`, MB per million files.

| files | processes | run | CPU s | files per CPU s | wall s | peak MB | store |
|---|---|---|---|---|---|---|---|
"""


@dataclass(frozen=True)
class Mould:
    """A slice's file in parts, with texts of fixed length that `write` replaces by its number's.

    `hole` bytes that nothing reads lie between `head` and `tail`, and `end` after them.
    """

    meta: bytes
    head: bytes
    tail: bytes = b""
    hole: int = 0
    end: int = 0
    deflated: bool = False

    def write(self, path: Path, number: int) -> None:
        study, within = divmod(number, OF_STUDY)
        series, instance = divmod(within, OF_SERIES)
        texts = {
            "7700000": f"{7700000 + study}",
            ".88.": f".{88 - series}.",
            "99900000": f"{99900000 + instance}",
            "ACCESSIO": f"A{study:07d}",
            "PATIENTS": f"P{study:07d}",
            DEPTH: f"{-instance:012.7f}",
        }
        meta, head, tail = self.meta, self.head, self.tail
        for mark, text in texts.items():
            meta = meta.replace(mark.encode(), text.encode())
            head = head.replace(mark.encode(), text.encode())
            if not self.deflated:
                tail = tail.replace(mark.encode(), text.encode())
        with open(path, "wb") as stream:
            stream.write(meta)
            stream.write(_deflated(head, zlib.Z_FULL_FLUSH) if self.deflated else head)
            stream.seek(self.hole, os.SEEK_CUR)
            stream.write(tail)
            stream.truncate(stream.tell() + self.end)


def _deflated(content: bytes, flush: int = zlib.Z_FINISH) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(content) + packer.flush(flush)


def not_compressed() -> Mould:
    dataset = _template(512)
    meta, body = _meta(dataset), _body(dataset)
    head = body[: -len(dataset.PixelData)]
    return Mould(meta, head, end=len(body) - len(head))


def deflated() -> Mould:
    dataset = _template(256)
    body, pixels = _body(dataset), len(dataset.PixelData)
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    return Mould(_meta(dataset), body[:-pixels], _deflated(body[-pixels:]), deflated=True)


def with_private() -> Mould:
    dataset, value = _template(512), os.urandom(LARGE)
    dataset.private_block(0x0009, "A SCANNER", create=True).add_new(0, "OB", value)
    head, body = _body(dataset).split(value)
    tail = body[: -len(dataset.PixelData)]
    return Mould(_meta(dataset), head, tail, LARGE, len(dataset.PixelData))


KINDS = {
    "not compressed": not_compressed,
    "deflated": deflated,
    "300 kB of private elements": with_private,
}


def _template(matrix: int) -> Dataset:
    """One slice with the private elements that a real one has."""
    stack = SliceStack.oriented(count=1, rows=matrix, columns=matrix, fov=360)
    dataset: Dataset = make_series(Phantom(), stack)[0]
    for group, count in ((0x0019, 15), (0x0025, 6), (0x0027, 6), (0x0043, 17)):
        block = dataset.private_block(group, "A SCANNER", create=True)
        for offset in range(count):
            block.add_new(offset, "DS", f"{group + offset / 7:.6f}")
    study = "1.2.826.0.1.3680043.8.498.7700000"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, f"{study}.88.1"
    dataset.SOPInstanceUID = f"{study}.88.99900000"
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.AccessionNumber, dataset.PatientID = "ACCESSIO", "PATIENTS"
    dataset.ImagePositionPatient = [PLACE, PLACE, DEPTH]
    return dataset


def _meta(dataset: Dataset) -> bytes:
    stream = DicomBytesIO()
    write_file_meta_info(stream, dataset.file_meta)
    return bytes(128) + b"DICM" + stream.getvalue()


def _body(dataset: Dataset) -> bytes:
    stream = DicomBytesIO()
    stream.is_little_endian, stream.is_implicit_VR = True, False
    write_dataset(stream, dataset)
    return stream.getvalue()


def make_tree(root: Path, mould: Mould, count: int) -> None:
    """`count` files, each in the folder of its series."""
    for number in range(count):
        study, within = divmod(number, OF_STUDY)
        series, instance = divmod(within, OF_SERIES)
        folder = root / f"{study:05d}" / f"{series}"
        if not instance:
            folder.mkdir(parents=True)
        mould.write(folder / f"{instance:08d}.dcm", number)
    for path in root.rglob("*.dcm"):
        with open(path, "rb") as stream:
            stream.read(AHEAD)


class Place:
    """A working directory whose archive is a tree."""

    def __init__(self, folder: Path, root: Path) -> None:
        archive = archive_settings(kind="folder", folder={"path": str(root), "link": False})
        self.run = Run(folder, archive, {})
        self.run.prepare(["A0000000"])
        self.store = folder / "index" / "folder.sqlite"

    def command(self, processes: int) -> list[str]:
        script, *arguments = self.run.index_arguments()
        return [
            *(sys.executable, str(SCRIPTS / script), *arguments),
            *("--threads", str(processes), "--archive", json.dumps(self.run.archive)),
        ]

    def index(self, processes: int) -> tuple[Cost, int]:
        """What it costs, and how many files it says it has read."""
        cost = measured(self.command(processes), self.run.folder)
        return cost, int(re.findall(r"(\d+) read now", cost.stderr)[-1])

    def forget(self) -> None:
        """Delete the store, and keep the key of patients."""
        self.store.unlink(missing_ok=True)
        seal_of(self.store).unlink(missing_ok=True)

    def rows(self) -> int:
        """How many files the store has."""
        with closing(sqlite3.connect(f"file:{self.store}?mode=ro", uri=True)) as index:
            return int(index.execute("SELECT count(*) FROM files").fetchone()[0])

    def checksum(self) -> str:
        """Of all that the store has."""
        found = hashlib.sha256()
        with closing(sqlite3.connect(f"file:{self.store}?mode=ro", uri=True)) as index:
            columns = (
                "folder, name, size, instance, series, study, accession, modality, header, cause"
            )
            for row in index.execute(f"SELECT {columns} FROM files ORDER BY folder, name"):
                found.update(repr(row).encode())
        return found.hexdigest()

    def kill_at(self, count: int, processes: int) -> int:
        """Start, kill all processes once the store has `count` files; how many it has then."""
        process = subprocess.Popen(
            self.command(processes),
            cwd=self.run.folder,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            while self._so_far() < count:
                assert process.poll() is None, "ended before it could be killed"
                time.sleep(0.2)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        return self.rows()

    def _so_far(self) -> int:
        try:
            return self.rows()
        except sqlite3.OperationalError:
            return 0  # not made yet


class Table:
    """Rows of the results, and what they miss."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.missed: list[str] = []

    def add(
        self, tree: str, count: int, processes: int, run: str, cost: Cost, read: int, store: Path
    ) -> None:
        rate = f"{read / cost.cpu:,.0f}" if read else ""
        size = f"{store.stat().st_size / count:,.0f}"
        self.lines.append(
            f"| {count:,}, {tree} | {processes} | {run} | {cost.cpu:.1f} | {rate} |"
            f" {cost.wall:.1f} | {cost.megabytes:.0f} | {size} |"
        )
        print(self.lines[-1], flush=True)
        if read and read / cost.cpu < PER_SECOND:
            self.missed.append(f"{tree}, {run}: {rate} files per CPU second, not {PER_SECOND}")

    def require(self, held: bool, what: str) -> None:
        if self.lines[-1].startswith("|"):
            self.lines.append("")
        self.lines.append(f"- {what}{'' if held else ': **missed**'}")
        print(self.lines[-1], flush=True)
        if not held:
            self.missed.append(what)


def measure(scratch: Path, files: int) -> Table:
    table = Table()
    first: dict[tuple[str, int], Cost] = {}
    second: dict[tuple[str, int], Cost] = {}
    sums: set[str] = set()
    for tree, count in [
        ("not compressed", files),
        *((kind, files // TENTH) for kind in KINDS),
    ]:
        root = scratch / "tree"
        make_tree(root, KINDS[tree](), count)
        place = Place(scratch / "work", root)
        for processes in (1, 2) if count == files else (1,):
            place.forget()
            for run, costs in (("first", first), ("second", second)):
                cost, read = place.index(processes)
                assert read == (count if run == "first" else 0), cost.stderr
                table.add(tree, count, processes, run, cost, read, place.store)
                costs.setdefault((tree, count), cost)
            if count == files:
                sums.add(place.checksum())
        if count == files:
            place.forget()
            there = place.kill_at(count // 2, 2)
            cost, read = place.index(2)
            table.add(tree, count, 2, f"after a kill at {there:,}", cost, read, place.store)
            assert there + read == count, (there, read)
            sums.add(place.checksum())
        shutil.rmtree(place.run.folder)
        shutil.rmtree(root)
    for (tree, count), cost in first.items():
        times = cost.cpu / second[tree, count].cpu
        if count == files:
            table.require(times >= TIMES_FASTER, f"a second run takes {times:.0f} times less CPU")
    small, large = (first["not compressed", n].megabytes for n in (files // TENTH, files))
    table.require(
        large <= TIMES_MEMORY * small,
        f"{TENTH} times the files take {large / small:.2f} times the memory",
    )
    table.require(len(sums) == 1, "one process, two, and two that were killed make one index")
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--scratch", type=Path, help="where the trees are made; default: TMPDIR")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        table = measure(Path(scratch), options.files)
    (HERE / "results.md").write_text(HEAD + "\n".join(table.lines) + "\n")
    sys.exit("\n".join(table.missed))


if __name__ == "__main__":
    main()
