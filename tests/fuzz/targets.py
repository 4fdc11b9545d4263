"""What is parsed from outside, each with mutants of its own and the commands that read it."""

from __future__ import annotations

import json
import random
import shutil
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from pydicom import uid
from pynetdicom import service_class

from ctcohort.base.files import read_table, write_lines, write_table
from ctcohort.config.settings import canonical, canonical_exclusions, volume_parameters
from ctcohort.dataset.manifest import COHORT
from ctcohort.phantoms.anatomy import Phantom
from ctcohort.phantoms.stack import SliceStack
from ctcohort.phantoms.writer import Identity, make_series, write_files
from ctcohort.series import series_table
from tests.objects import make_enhanced
from tests.services.dicomweb_server import Fault, Request, Server, read_folder, serving_stored
from tests.services.dimse_server import dimse_serving
from tests.services.servers import ARCHIVE

from .forked import ROOT, Commands, Step
from .mutators import mutated_bytes, mutated_file, mutated_text

DEFAULTS = yaml.safe_load((ROOT / "config.yaml").read_text())

SETTINGS: dict[str, Any] = {
    **DEFAULTS,
    "series": {**DEFAULTS["series"], "min_slices": 3, "kinds": ["ORIGINAL", "MISSING"]},
    "volume": {**DEFAULTS["volume"], "spacing_mm": 8.0},
    "archive": {**DEFAULTS["archive"], "patience_seconds": 0},
}

ACCESSION = "A1"

SYNTAXES = (
    uid.ExplicitVRLittleEndian,
    uid.ImplicitVRLittleEndian,
    uid.ExplicitVRBigEndian,
    uid.DeflatedExplicitVRLittleEndian,
    uid.RLELossless,
    uid.JPEGLosslessSV1,
    uid.JPEGLSLossless,
    uid.JPEG2000Lossless,
)


def make_scan(folder: Path, syntax: str = uid.ExplicitVRLittleEndian) -> list[Path]:
    """Six slices of 16 x 16 pixels under `ACCESSION`."""
    stack = SliceStack.axial(count=6, step=6.0, rows=16, columns=16, pixel_spacing=20.0)
    series = make_series(Phantom(), stack, identity=Identity(accession=ACCESSION))
    return write_files(series, folder, names=[f"{i}" for i in range(6)], transfer_syntax=syntax)


class Fuzz:
    """The mutants' seeds, the servers, and the commands; one working directory for each mutant."""

    def __init__(self, scratch: Path, commands: Commands, stack: ExitStack) -> None:
        self.run = commands
        self.archives = {syntax: scratch / "archives" / syntax for syntax in SYNTAXES}
        for syntax, folder in self.archives.items():
            make_scan(folder, syntax)
        plain = self.archives[uid.ExplicitVRLittleEndian]
        enhanced = scratch / "archives" / "enhanced"
        enhanced.mkdir()
        small = SliceStack.axial(count=6, step=6.0, rows=16, columns=16, pixel_spacing=20.0)
        frames = make_enhanced(Phantom(), small, identity=Identity(accession=ACCESSION))
        frames.save_as(enhanced / "0", enforce_file_format=True)
        self.archives["enhanced"] = enhanced
        stored = read_folder(plain)
        self.web: Server = stack.enter_context(serving_stored(stored))
        self.replies = self._recorded(scratch / "recorded")
        self.dimse = stack.enter_context(dimse_serving(stored))
        self.identifiers: Callable[[bytes], bytes] = lambda content: content
        stack.enter_context(self._mutating_identifiers())

    targets: dict[str, str] = {  # noqa: RUF012
        "DICOM files": "dicom_file",
        "DICOM JSON": "dicom_json",
        "multipart replies": "multipart",
        "C-FIND identifiers": "identifier",
        "report tables": "report_table",
        "exclusions and merged MRNs": "side_tables",
        "reviews": "reviews",
        "config": "config",
    }

    # Steps of the workflow, as the rules call them

    def select(self, folder: Path) -> Step:
        return self.run(
            "select_accessions",
            ["reports.csv", "--columns", canonical(SETTINGS["columns"]),
             "--select", canonical(SETTINGS["select"]), "--merged-mrns=merged.csv",
             *("--accessions", "accessions.txt", "--protocols", "protocols.csv"),
             "--cohort", "cohort.csv"],
            folder,
        )  # fmt: skip

    def index(self, folder: Path, archive: dict[str, Any], exclusions: str = "") -> Step:
        return self.run(
            "index_series",
            ["accessions.txt", "cohort.csv", f"--exclusions={exclusions}",
             "--archive", json.dumps(archive), "--series", canonical(SETTINGS["series"]),
             "--limits", canonical_exclusions(SETTINGS["volume"]), "--series-table", "series.csv"],
            folder,
        )  # fmt: skip

    def download(self, folder: Path, archive: dict[str, Any], series: str) -> Step:
        return self.run(
            "download_series",
            [ACCESSION, series, "--archive", json.dumps(archive), "--raw", f"raw/{ACCESSION}",
             "--received", f"received/{ACCESSION}.json"],
            folder,
        )  # fmt: skip

    def preprocess(self, folder: Path) -> Step:
        return self.run(
            "preprocess_volume",
            [ACCESSION, "--raw", f"raw/{ACCESSION}", "--received", f"received/{ACCESSION}.json",
             "--parameters", volume_parameters(SETTINGS["volume"]),
             "--volume", f"processed/{ACCESSION}.npz",
             "--record", f"processed/{ACCESSION}.json"],
            folder,
        )  # fmt: skip

    def scan(self, folder: Path, archive: dict[str, Any]) -> Iterator[Step]:
        """Index, and where a series is chosen download and preprocessing."""
        write_lines(folder / "accessions.txt", [ACCESSION])
        row = {"accession": ACCESSION, "mrn": "1", "patient_mrn": "1"}
        write_table(folder / "cohort.csv", COHORT, [row])
        yield self.index(folder, archive)
        series = chosen(folder)
        if series:
            yield self.download(folder, archive, series)
        if (folder / "received" / f"{ACCESSION}.json").exists():
            yield self.preprocess(folder)

    # Targets

    def dicom_file(self, folder: Path, choice: random.Random) -> Iterator[Step]:
        source = self.archives[choice.choice(list(self.archives))]
        shutil.copytree(source, folder / "archive")
        path = choice.choice(sorted((folder / "archive").iterdir()))
        path.write_bytes(mutated_file(path.read_bytes(), choice))
        settings = {"kind": "folder", "folder": {"path": "archive", "link": False}}
        yield from self.scan(folder, {**SETTINGS["archive"], **settings})

    def dicom_json(self, folder: Path, choice: random.Random) -> Iterator[Step]:
        paths = [path for path, (kind, _) in self.replies.items() if "json" in kind]
        yield from self._replying(folder, choice.choice(paths), mutated_json, choice)

    def multipart(self, folder: Path, choice: random.Random) -> Iterator[Step]:
        paths = [path for path, (kind, _) in self.replies.items() if "multipart" in kind]
        yield from self._replying(folder, choice.choice(paths), mutated_multipart, choice)

    def identifier(self, folder: Path, choice: random.Random) -> Iterator[Step]:
        number = choice.randrange(1, 4)
        count = 0

        def mutate(content: bytes) -> bytes:
            nonlocal count
            count += 1
            return mutated_bytes(content, choice) if count == number else content

        self.identifiers = mutate
        dimse = {**SETTINGS["archive"]["dimse"], "host": "127.0.0.1", "port": self.dimse.port}
        dimse |= {"called_aet": ARCHIVE, "calling_aet": "FUZZ"}
        yield from self.scan(folder, {**SETTINGS["archive"], "kind": "dimse", "dimse": dimse})
        self.identifiers = lambda content: content

    def report_table(self, folder: Path, choice: random.Random) -> Iterator[Step]:
        (folder / "reports.csv").write_bytes(mutated_text(REPORTS, choice))
        (folder / "merged.csv").write_bytes(MERGED)
        yield self.select(folder)

    def side_tables(self, folder: Path, choice: random.Random) -> Iterator[Step]:
        merged = choice.random() < 0.5
        (folder / "reports.csv").write_bytes(REPORTS)
        (folder / "merged.csv").write_bytes(mutated_text(MERGED, choice) if merged else MERGED)
        (folder / "exclusions.csv").write_bytes(mutated_text(EXCLUSIONS, choice))
        yield self.select(folder)
        if (folder / "cohort.csv").exists():
            settings = {"kind": "folder", "folder": {"path": str(self.archives[SYNTAXES[0]])}}
            settings["folder"] |= {"link": False}  # type: ignore[attr-defined]
            archive = {**SETTINGS["archive"], **settings}
            yield self.index(folder, archive, exclusions="exclusions.csv")

    def reviews(self, folder: Path, choice: random.Random) -> Iterator[Step]:
        write_lines(folder / "accessions.txt", ["A1", "A2"])
        events = [{"accession": name, "mrn": name, "patient_mrn": name} for name in ("A1", "A2")]
        write_table(folder / "cohort.csv", COHORT, events)
        rows = [{"accession": event["accession"], "reason": "not_found"} for event in events]
        write_table(folder / "series.csv", series_table.COLUMNS, rows)
        write_table(folder / "splits.csv", ("accession", "patient", "split"), [])
        (folder / "reviews.csv").write_bytes(mutated_text(REVIEWS, choice))
        yield self.run(
            "write_manifest",
            ["accessions.txt", "--reviews=reviews.csv", "--output", "manifest.csv"],
            folder,
        )

    def config(self, folder: Path, choice: random.Random) -> Iterator[Step]:
        text = (ROOT / "config.yaml").read_bytes()
        lines = [line for line in text.splitlines() if line.strip() and line.strip()[:1] != b"#"]
        (folder / "config.yaml").write_bytes(mutated_text(b"\n".join(lines), choice))
        (folder / "reports.csv").write_bytes(REPORTS)
        (folder / "archive").mkdir()
        yield self.run(
            "snakemake",
            ["--snakefile", str(ROOT / "Snakefile"), "--directory", ".", "--cores", "1",
             "--workflow-profile", str(ROOT / "profiles" / "default"), "-n", "--quiet"],
            folder,
        )  # fmt: skip

    # The archive over HTTP

    def _dicomweb(self) -> dict[str, Any]:
        web = {**SETTINGS["archive"]["dicomweb"], "url": self.web.url}
        return {**SETTINGS["archive"], "kind": "dicomweb", "dicomweb": web}

    def _recorded(self, folder: Path) -> dict[str, tuple[str, bytes]]:
        """Media type and body of every reply of a run in which nothing goes wrong."""
        folder.mkdir()
        for step in self.scan(folder, self._dicomweb()):
            assert step.status == 0, step.output + step.uncaught
        root = self.web.url[: -len(urlsplit(self.web.url).path)]
        replies = {}
        for path in dict.fromkeys(self.web.requests):
            accept = 'multipart/related; type="application/dicom"; transfer-syntax=*'
            ask = urllib.request.Request(root + path, headers={"Accept": accept})
            with urllib.request.urlopen(ask) as reply:
                replies[path] = reply.headers.get("Content-Type", ""), reply.read()
        return replies

    def _replying(
        self,
        folder: Path,
        path: str,
        mutated: Callable[[bytes, random.Random], bytes],
        choice: random.Random,
    ) -> Iterator[Step]:
        """Index and download while the reply to one request is a mutant."""
        kind, body = self.replies[path]
        mutant = mutated(body, choice)
        if choice.random() < 0.05:
            kind = mutated_text(kind.encode(), choice).decode("latin-1")
            kind = "".join(letter for letter in kind if letter.isprintable())

        def fault(request: Request) -> Fault | None:
            if request.path != path:
                return None
            return Fault(status=200, body=mutant, fields={"Content-Type": kind})

        self.web.fault = fault
        yield from self.scan(folder, self._dicomweb())
        self.web.fault = lambda _request: None

    @contextmanager
    def _mutating_identifiers(self) -> Iterator[None]:
        """Every encoded C-FIND answer of the server goes through `identifiers`."""
        encode = service_class.encode

        def mutating(dataset: Any, *arguments: Any, **named: Any) -> Any:
            content = encode(dataset, *arguments, **named)
            return self.identifiers(content) if content else content

        service_class.encode = mutating
        try:
            yield
        finally:
            service_class.encode = encode


def chosen(folder: Path) -> str:
    """The selected series and its number of instances, as the rules give them."""
    if not (folder / "series.csv").exists():
        return ""
    rows = read_table(folder / "series.csv")
    found = [f"{r['series_uid']} {r['instances']}" for r in rows if r["reason"] == "selected"]
    return found[0] if found else ""


def mutated_json(body: bytes, choice: random.Random) -> bytes:
    """A mutant of a DICOM JSON reply: of its text, or of the value of one of its nodes."""
    if choice.random() < 0.3:
        return mutated_text(body, choice)
    rows = json.loads(body)
    node: Any = rows
    while isinstance(node, (dict, list)) and node:
        key = choice.choice(list(node) if isinstance(node, dict) else range(len(node)))
        if choice.random() < 0.35 or not isinstance(node[key], (dict, list)):
            break
        node = node[key]
    if not isinstance(node, (dict, list)) or not node:
        return mutated_text(body, choice)
    odd: list[Any] = [None, [], {}, "", 0, -1, 1e300, True, "x", "1\\2", [None], [[]], "9" * 500]
    odd += [["1", "2", "3"], {"vr": "SQ", "Value": [{}]}, {"vr": "ZZ"}, {"Value": 3}, "\ud800"]
    odd += [{"vr": "DS", "Value": ["abc"]}, {"vr": "OB", "InlineBinary": "%%"}, [10**400]]
    odd += [{"vr": "PN", "Value": [{"Alphabetic": 3}]}, {"vr": "SQ", "Value": [None, 1]}]
    if choice.random() < 0.2:
        del node[key]
    else:
        node[key] = choice.choice(odd)
    return json.dumps(rows).encode()


def mutated_multipart(body: bytes, choice: random.Random) -> bytes:
    """A mutant of a multipart reply: of its delimiters and part headers, or anywhere."""
    if choice.random() < 0.4:
        return mutated_bytes(body, choice)
    if choice.random() < 0.4:
        return mutated_bytes(body, choice, head=200)
    lines = body.split(b"\r\n")
    place = choice.choice([i for i, line in enumerate(lines) if line.startswith(b"--")])
    lines[place + choice.randrange(2)] = mutated_text(lines[place], choice)
    return b"\r\n".join(lines[:place] if choice.random() < 0.2 else lines)


PROTOCOL = DEFAULTS["select"]["protocols"][0]

REPORTS = (
    "AccessionNumber,MRN,Protocol,Report\n"
    f'A1,0012,{PROTOCOL},"Findings: ""none"",\nnext line"\n'
    f"A2,13,{PROTOCOL.upper()},short\n"
    "A3,14,MR KNEE,other\n"
    f"A3,14,{PROTOCOL},twice\n"
).encode()

MERGED = b"mrn,merged_into\n13,12\n15,14\n"

EXCLUSIONS = b"accession,mrn,reason\nA2,,blurred\n,0014,withdrawn\n"

REVIEWS = b"accession;verdict;note\nA1;good;\nA2;bad;moved\n"
