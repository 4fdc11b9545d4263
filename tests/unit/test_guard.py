"""The guard finds an identifier in each kind of file, and raises no alarm on a clean one."""

from __future__ import annotations

import base64
import bz2
import gzip
import io
import json
import sqlite3
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ctcohort.base.faults import InputError
from ctcohort.base.files import write_table
from ctcohort.phantoms.anatomy import Phantom
from ctcohort.phantoms.stack import SliceStack
from ctcohort.phantoms.writer import Identity, make_series, write_files
from ctcohort.release.guard import gather, volume_file
from ctcohort.release.guard.identities import BIRTH_DATE, MRN, NAME, Hit, Identities
from ctcohort.release.guard.search import search
from ctcohort.release.guard.volume_file import check_volume
from ctcohort.volume import npz
from ctcohort.volume.nifti import export
from tests.records import receive

PLANTED = {MRN: "MRN7712831", NAME: "Quasimodo", BIRTH_DATE: "1951-07-23"}


@pytest.fixture
def identities() -> Identities:
    wanted = Identities()
    wanted.add(MRN, "MRN7712831")
    wanted.add(NAME, "Quasimodo^Esmeralda")
    wanted.add(BIRTH_DATE, "19510723")
    return wanted


def volume() -> dict[str, np.ndarray]:
    return {
        "ct": np.arange(-1000, 1000, dtype=np.int16).reshape(20, 10, 10),
        "spacing": np.full(3, 0.8),
        "origin": np.zeros(3),
        "direction": np.eye(3),
    }


def packed(text: str) -> bytes:
    return gzip.compress(text.encode(), mtime=0)


def _log(path: Path, text: str) -> None:
    (path / "logs").mkdir()
    (path / "logs" / "a.log").write_text(f"200 files\nerror: {text} is wrong\n")


def _csv(path: Path, text: str) -> None:
    write_table(path / "series.csv", ("accession", "note"), [{"accession": "A1", "note": text}])


def _json(path: Path, text: str) -> None:
    (path / "A1.json").write_text(json.dumps({"facts": [{"patient": text}]}))


def _json_key(path: Path, text: str) -> None:
    (path / "A1.json").write_text(json.dumps({text: 1}))


def _answers(path: Path, text: str) -> None:
    (path / "A1.json.gz").write_bytes(packed(json.dumps({"series": [{"patient": text}]})))


def _after_gzip(path: Path, text: str) -> None:
    (path / "A1.json.gz").write_bytes(packed("{}") + text.encode())


def _gzip_name(path: Path, text: str) -> None:
    stream = io.BytesIO()
    with gzip.GzipFile(text, "wb", fileobj=stream) as file:
        file.write(b"{}")
    (path / "A1.json.gz").write_bytes(stream.getvalue())


def _sqlite(path: Path, text: str, value: Callable[[str], object] = str) -> None:
    with sqlite3.connect(path / "folder.sqlite") as base:
        base.execute("CREATE TABLE files (name TEXT PRIMARY KEY, header BLOB) WITHOUT ROWID")
        base.execute("INSERT INTO files VALUES ('a', ?)", (value(text),))
    base.close()


def _sqlite_blob(path: Path, text: str) -> None:
    _sqlite(path, text, lambda text: zlib.compress(json.dumps({"patient": text}).encode()))


def _after_zlib_in_sqlite(path: Path, text: str) -> None:
    _sqlite(path, text, lambda text: zlib.compress(b"{}") + text.encode())


def _after_sqlite(path: Path, text: str) -> None:
    _sqlite(path, "nothing")
    with open(path / "folder.sqlite", "ab") as stream:
        stream.write(text.encode())


def _npz_member(path: Path, text: str) -> None:
    npz.write(path / "A1.npz", volume())
    with zipfile.ZipFile(path / "A1.npz", "a") as archive:
        archive.writestr("note.txt", text)


def _npz_trailing(path: Path, text: str) -> None:
    npz.write(path / "A1.npz", volume())
    with open(path / "A1.npz", "ab") as stream:
        stream.write(text.encode())


def _npz_comment(path: Path, text: str) -> None:
    npz.write(path / "A1.npz", volume())
    with zipfile.ZipFile(path / "A1.npz", "a") as archive:
        archive.comment = text.encode()


def _npz_leading(path: Path, text: str) -> None:
    npz.write(path / "A1.npz", volume())
    (path / "A1.npz").write_bytes(text.encode() + b" " + (path / "A1.npz").read_bytes())


def _picture() -> Image.Image:
    return Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16))


def _png(path: Path, text: str, *, compress: bool = False, international: bool = False) -> None:
    info = PngInfo()
    if international:
        info.add_itxt("Comment", text, zip=compress)
    else:
        info.add_text("Comment", text, zip=compress)
    _picture().save(path / "A1.png", pnginfo=info)


def _png_packed(path: Path, text: str) -> None:
    _png(path, text, compress=True)


def _png_international(path: Path, text: str) -> None:
    _png(path, text, compress=True, international=True)


def _after_png(path: Path, text: str) -> None:
    _picture().save(path / "A1.png")
    with open(path / "A1.png", "ab") as stream:
        stream.write(text.encode())


def _webp(path: Path, text: str) -> None:
    _picture().save(path / "A1.webp", xmp=f"<x>{text}</x>".encode())


def _html(path: Path, text: str) -> None:
    (path / "report.html").write_text(f"<p title='&lt;{text}&gt;'>x</p>")


def _html_packed(path: Path, text: str) -> None:
    rows = json.dumps([{"accession": f"A{n}", "who": text} for n in range(50)])
    data = base64.b64encode(packed(rows)).decode()
    (path / "report.html").write_text(f"<script>const data = '{data}'</script>")


def _html_deflated(path: Path, text: str, *, bits: int = -15) -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, bits)
    rows = "".join(f"A{n},{n * n}," for n in range(99)) + f",{text},"
    data = base64.b64encode(packer.compress(rows.encode()) + packer.flush()).decode()
    (path / "report.html").write_text(f"<script>const data = '{data}'</script>")


def _html_zlib(path: Path, text: str) -> None:
    _html_deflated(path, text, bits=15)


def _html_base64(path: Path, text: str) -> None:
    data = base64.b64encode(f"{'x ' * 40}{text}".encode()).decode()
    (path / "report.html").write_text(f"<a href='data:text/plain;base64,{data}'>")


def _html_picture(path: Path, text: str) -> None:
    _webp(path, text)
    data = base64.b64encode((path / "A1.webp").read_bytes()).decode()
    (path / "A1.webp").unlink()
    (path / "report.html").write_text(f"<img src='data:image/webp;base64,{data}'>")


def _name(path: Path, text: str) -> None:
    (path / "raw").mkdir()
    (path / "raw" / f"{text}.dcm").touch()


def _folder_name(path: Path, text: str) -> None:
    (path / text).mkdir()
    (path / text / "a.dcm").touch()


def _metadata(path: Path, text: str) -> None:
    folder = path / ".snakemake" / "metadata"
    folder.mkdir(parents=True)
    (folder / "YQ==").write_text(json.dumps({"shellcmd": f"python3 x.py --mrn {text}"}))


def _metadata_name(path: Path, text: str) -> None:
    folder = path / ".snakemake" / "metadata"
    folder.mkdir(parents=True)
    (folder / base64.urlsafe_b64encode(f"qc/{text}.png".encode()).decode()).write_text("{}")


def _unknown(path: Path, text: str) -> None:
    (path / "core").write_bytes(bytes(range(256)) + b" " + text.encode() + b"\0")


def _nifti(path: Path, place: int, text: str) -> None:
    npz.write(path / "A1.npz", volume())
    export(path / "A1.npz", path / "A1.nii")
    (path / "A1.npz").unlink()
    data = bytearray((path / "A1.nii").read_bytes())
    place = place if place >= 0 else len(data)
    data[place : place + len(text)] = text.encode()
    (path / "A1.nii.gz").write_bytes(gzip.compress(data))
    (path / "A1.nii").unlink()


def _nifti_header(path: Path, text: str) -> None:
    _nifti(path, 148, text)  # descrip


def _nifti_voxels(path: Path, text: str) -> None:
    _nifti(path, 400, f"\0{text}\0")


def _after_nifti(path: Path, text: str) -> None:
    _nifti(path, -1, text)


PLACES = {
    "log": (_log, "logs/a.log: byte"),
    "csv": (_csv, "series.csv: row 2, column note"),
    "json": (_json, "A1.json: facts[0].patient"),
    "json key": (_json_key, "A1.json: a key of the top"),
    "json.gz answers": (_answers, "A1.json.gz: unpacked, series[0].patient"),
    "after a gzip stream": (_after_gzip, "A1.json.gz: after the gzip stream"),
    "gzip header": (_gzip_name, "A1.json.gz: gzip header"),
    "sqlite": (_sqlite, "folder.sqlite: table files, row 1, column header"),
    "packed in sqlite": (_sqlite_blob, "folder.sqlite: table files, row 1, column header"),
    "after zlib in sqlite": (
        _after_zlib_in_sqlite,
        "folder.sqlite: table files, row 1, column header",
    ),
    "after sqlite": (_after_sqlite, "folder.sqlite: after the last page"),
    "npz member": (_npz_member, "A1.npz: member 5"),
    "trailing bytes of npz": (_npz_trailing, "A1.npz: between the members"),
    "npz comment": (_npz_comment, "A1.npz: between the members"),
    "leading bytes of npz": (_npz_leading, "A1.npz: byte 0"),
    "PNG text": (_png, "A1.png: chunk tEXt"),
    "PNG compressed text": (_png_packed, "A1.png: chunk zTXt, unpacked"),
    "PNG international text": (_png_international, "A1.png: chunk iTXt, unpacked"),
    "after PNG": (_after_png, "A1.png: after the image"),
    "WebP": (_webp, "A1.webp: chunk XMP"),
    "HTML": (_html, "report.html: byte"),
    "packed in HTML": (_html_packed, "report.html: base64 at byte"),
    "deflated in HTML": (_html_deflated, "report.html: base64 at byte"),
    "zlib in HTML": (_html_zlib, "report.html: base64 at byte"),
    "base64 in HTML": (_html_base64, "report.html: base64 at byte"),
    "a picture in HTML": (_html_picture, "report.html: base64 at byte"),
    "file name": (_name, "raw/**"),
    "folder name": (_folder_name, "**"),
    ".snakemake metadata": (_metadata, ".snakemake/metadata/YQ==: shellcmd"),
    ".snakemake metadata name": (_metadata_name, ".snakemake/metadata/"),
    "NIfTI header": (_nifti_header, "A1.nii.gz: unpacked, NIfTI header"),
    "NIfTI voxels": (_nifti_voxels, "A1.nii.gz: unpacked, byte 401"),
    "after NIfTI": (_after_nifti, "A1.nii.gz: unpacked, after the voxels"),
    "unknown binary": (_unknown, "core: byte 257"),
}


@pytest.mark.parametrize("kind", PLANTED)
@pytest.mark.parametrize("place", PLACES)
def test_what_is_planted_is_found(
    place: str, kind: str, tmp_path: Path, identities: Identities
) -> None:
    plant, where = PLACES[place]
    plant(tmp_path, PLANTED[kind])
    findings = [finding for finding in search(tmp_path, identities) if finding.kind != "structure"]
    assert findings
    for finding in findings:
        assert finding.kind == kind
        assert str(finding).startswith(where)
        assert PLANTED[kind].lower() not in str(finding).lower()


@pytest.mark.parametrize("place", PLACES)
def test_the_same_file_without_it_is_clean(
    place: str, tmp_path: Path, identities: Identities
) -> None:
    PLACES[place][0](tmp_path, "Nobody")
    findings = search(tmp_path, identities)
    assert all(finding.kind == "structure" for finding in findings)
    assert bool(findings) == ("npz" in place)


def test_numbers_that_are_counts_are_not_taken_for_an_mrn(tmp_path: Path) -> None:
    identities = Identities()
    identities.add(MRN, "526338")
    counts = {"instances": [{"bytes": 526338}], "facts": {"acquisition_time": {"all": "526338.25"}}}
    (tmp_path / "A1.json").write_text(json.dumps(counts))
    (tmp_path / "croissant.json").write_text(json.dumps({"contentSize": "526338"}))
    write_table(
        tmp_path / "manifest.csv",
        ("accession", "npz_bytes", "shape"),
        [{"accession": "A1", "npz_bytes": 526338, "shape": 0.526338}],
    )
    assert search(tmp_path, identities) == []
    (tmp_path / "B1.json").write_text(json.dumps({"bytes": "patient 526338", "id": 526338}))
    assert {f.location for f in search(tmp_path, identities)} == {"bytes", "id"}


def test_several_processes_find_the_same(tmp_path: Path, identities: Identities) -> None:
    for number in range(200):
        (tmp_path / f"{number:03d}.log").write_text("MRN7712831" if number % 50 == 7 else "fine")
    one, three = (search(tmp_path, identities, threads=threads) for threads in (1, 3))
    assert [finding.file for finding in one] == ["007.log", "057.log", "107.log", "157.log"]
    assert one == three


def test_what_may_hold_identifiers_is_left(tmp_path: Path, identities: Identities) -> None:
    (tmp_path / "raw" / "A1").mkdir(parents=True)
    (tmp_path / "raw" / "A1" / "x.dcm").write_text("Quasimodo")
    (tmp_path / "reports.csv").write_text("MRN7712831")
    leave = [tmp_path / "raw", tmp_path / "reports.csv"]
    assert search(tmp_path, identities, leave=leave) == []
    assert len(search(tmp_path, identities)) == 2


def test_a_volume_is_its_arrays_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "A1.npz"
    npz.write(path, volume())
    assert check_volume(path).faults == []
    content = path.read_bytes()

    def wrong(change: Callable[[bytearray], object]) -> list[str]:
        data = bytearray(content)
        change(data)
        path.write_bytes(data)
        return check_volume(path).faults

    assert "after the end" in wrong(lambda data: data.extend(b"\0"))[0]
    assert "expected the member ct.npy" in wrong(lambda data: data.insert(0, 0))[0]
    stamp = wrong(lambda data: data.__setitem__(slice(10, 14), struct.pack("<HH", 1, 0x5A3C)))
    assert "time stamp" in stamp[0]
    end = content.rfind(b"PK\x05\x06")
    assert wrong(lambda data: data.__setitem__(end - 20, 0xFF))
    assert wrong(lambda data: data.__setitem__(40, data[40] ^ 0x55))
    for cut in range(1, len(content), 97):
        assert wrong(lambda data, cut=cut: data.__delitem__(slice(cut, None)))


def test_the_arrays_of_a_volume_are_the_right_ones(tmp_path: Path) -> None:
    def faults(**changes: np.ndarray) -> list[str]:
        npz.write(tmp_path / "A1.npz", {**volume(), **changes})
        return check_volume(tmp_path / "A1.npz").faults

    assert faults() == []
    assert "ct.npy: is <f4 of 3 axes; expected <i2" in faults(ct=np.zeros((2, 2, 2), "f4"))[0]
    assert "ct.npy: is <i2 of 2 axes" in faults(ct=np.zeros((2, 2), "i2"))[0]
    assert "spacing.npy" in faults(spacing=np.zeros(4))[0]
    assert "directory" in faults(more=np.zeros(3))[0]
    npz.write(tmp_path / "A1.npz", dict(reversed(volume().items())))
    assert "expected the member ct.npy" in check_volume(tmp_path / "A1.npz").faults[0]


def test_voxels_that_could_be_text_are_searched(tmp_path: Path, identities: Identities) -> None:
    """Only where `volume.clip_hu` lets numbers through whose bytes can be letters."""
    path = tmp_path / "A1.npz"
    ct = volume()["ct"]
    for low, high, wide in [(-1000, 1000, False), (-8192, 8191, False), (-8193, 0, True)]:
        ct[0, 0, 0], ct[0, 0, 1] = low, high
        npz.write(path, {**volume(), "ct": ct})
        proof = check_volume(path)
        assert (proof.faults, proof.wide) == ([], wide)
        assert search(tmp_path, identities) == []
    hidden = np.frombuffer(b"\0\0MRN7712831\0\0" + b"\0" * 26, "<i2").reshape(2, 2, 5)
    npz.write(path, {**volume(), "ct": hidden})
    assert [finding.kind for finding in search(tmp_path, identities)] == [MRN]


def test_what_numpy_packs_itself_is_no_volume_of_ours(tmp_path: Path) -> None:
    """Its entries have other versions and permissions: every byte must be ours."""
    np.savez_compressed(tmp_path / "A1.npz", **volume())
    assert check_volume(tmp_path / "A1.npz").faults


def test_a_large_volume_is_read_in_pieces(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(-1000, 1000, (64, 128, 129)).astype(np.int16)
    npz.write(tmp_path / "A1.npz", {**volume(), "ct": noise})
    assert (tmp_path / "A1.npz").stat().st_size > 2 * volume_file.STEP
    assert check_volume(tmp_path / "A1.npz").faults == []


def test_patients_are_known_by_tables_and_headers(here: Path) -> None:
    (here / "reports.csv").write_text(
        "Acc;PatNo;Patient Name;DOB;Report\n"
        "A77001;0077001;Hippocampus^Ann;23.07.1951;Quasimodo says\n"
    )
    write_table(
        here / "cohort.csv",
        ("accession", "mrn", "patient_mrn"),
        [{"accession": "A77002", "mrn": "77002", "patient_mrn": "77003"}],
    )
    who = Identity("MRN88004", "Esmeralda^Grace", "19601231", accession="A77005")
    stack = SliceStack.axial(count=1, step=5.0, rows=16, columns=16, pixel_spacing=20.0)
    series = make_series(Phantom(), stack, identity=who)
    write_files(series, here / "raw" / "A77001", names=["1.dcm"])
    receive(here / "raw" / "A77001")
    (here / "raw" / ".partial").mkdir()

    def known(*, accessions: bool) -> set[str]:
        columns = {"accession": "Acc", "mrn": "PatNo", "protocol": "P"}
        identities = gather.identities_of(
            gather.known_here(here / "reports.csv", columns), accessions=accessions
        )
        words = "A77001 77001 Hippocampus 1951-07-23 Quasimodo A77002 77002 77003 MRN88004"
        words += " Esmeralda Grace 1960-12-31 A77005 Ann"
        return {word for word in words.split() if any(identities.hits(word.encode()))}

    patients = "77001 Hippocampus 1951-07-23 77002 77003 MRN88004 Esmeralda Grace 1960-12-31 Ann"
    assert known(accessions=False) == set(patients.split())
    assert known(accessions=True) == {*patients.split(), "A77001", "A77002", "A77005"}


def test_a_header_is_believed_if_it_is_as_it_was_received(here: Path) -> None:
    stack = SliceStack.axial(count=2, rows=16, columns=16)
    series = make_series(Phantom(), stack, identity=Identity("MRN88004", "Esmeralda^Grace"))
    raw = here / "raw" / "A1"
    first, second = write_files(series, raw, names=["1.dcm", "2.dcm"])

    def names() -> set[str]:
        known = gather.known_here(here / "reports.csv", {"accession": "a", "mrn": "m"})
        return {value for kind, value in known if kind == NAME and value}

    assert names() == {"Esmeralda^Grace"}  # without a record of what was received
    receive(raw)
    first.write_bytes(first.read_bytes().replace(b"Esmeralda", b"Esmeralde"))
    assert names() == {"Esmeralda^Grace"}
    second.write_bytes(second.read_bytes()[:-1])
    with pytest.raises(InputError, match="no file in it is as it was received; delete raw/A1"):
        names()
    (here / "received" / "A1.json").unlink()
    first.write_bytes(b"\0" * 600)
    with pytest.raises(InputError, match=r"raw/A1: a header cannot be read \(NotDicom\)"):
        names()


def test_words_of_the_workflow_are_no_names(here: Path) -> None:
    columns = {"accession": "a", "mrn": "m"}
    (here / "reports.csv").write_text("a,m,name\nA1,77001,Slices^Reading\nA2,77002,Page^Quirin\n")
    identities = gather.identities_of(
        gather.known_here(here / "reports.csv", columns), accessions=False
    )
    assert list(identities.hits(b"reading slices of a page")) == [Hit(0, 14, NAME)]
    assert list(identities.hits(b"reading the slices of a page")) == []
    assert [hit.kind for hit in identities.hits(b"Quirin")] == [NAME]
    assert identities.common_names == 3


def test_words_that_headers_hold_of_anybody_are_no_names(here: Path) -> None:
    (here / "reports.csv").write_text("a,m,name\nA1,77001,Perfusion^Hand\nA2,77002,PANCREAS_0001\n")
    known = gather.known_here(here / "reports.csv", {"accession": "a", "mrn": "m"})
    identities = gather.identities_of(known, accessions=False)
    assert list(identities.hits(b"Pancreas,0002,DERIVED\\PERFUSION\\NONE,HAND,0001\n")) == []
    for text in (b"Perfusion^Hand", b"hand perfusion", b"PerfusionHand", b"PANCREAS_0001"):
        assert [hit.kind for hit in identities.hits(text)] == [NAME], text


@pytest.mark.parametrize(
    "table",
    [
        b'accession,note\nA1,"one\rtwo MRN7712831"\nA2,fine\n',
        b'accession,note\nA0,"one\rtwo\rthree"\nA1,MRN7712831\n',
        b"accession,note\rA1,fine\rA2,MRN7712831\r",
        b"accession,note\r\nA1,fine\r\nA2,MRN7712831\r\n",
        b"accession,note\nA1,fine\rA2,x\nA3,MRN7712831\n",
        b'accession,note\nA1,"MRN7712831',
        b"accession,first,last\nA1,No,Wu\n",
        b"accession,npz_bytes,first,last\nA1,7,No,Wu\n",
    ],
)
def test_no_line_end_and_no_border_of_fields_hides_a_hit(
    table: bytes, tmp_path: Path, identities: Identities
) -> None:
    identities.add(NAME, "Wu^No")
    (tmp_path / "a.csv").write_bytes(table)
    assert len(search(tmp_path, identities)) == 1


def test_a_name_in_another_encoding_stands_in_its_row(tmp_path: Path) -> None:
    identities = Identities()
    identities.add(NAME, "M\u00fcllermeister^Ann")
    (tmp_path / "a.csv").write_bytes("accession,note\nA1,M\u00fcllermeister\n".encode("latin-1"))
    assert [f.location for f in search(tmp_path, identities)] == ["row 2, column note"]


def test_the_letters_of_a_packed_picture_are_no_text(tmp_path: Path) -> None:
    identities = Identities()
    identities.add(NAME, "Mca^Quasimodo")
    letters = base64.b64decode("VjMcaXru" * 20)
    chunk = b"VP8L" + struct.pack("<I", len(letters) + 1) + b"/" + letters
    picture = b"RIFF" + struct.pack("<I", len(chunk) + 4) + b"WEBP" + chunk
    gzipped = b"\x1f\x8b\x08" + letters
    page = tmp_path / "report.html"
    for content in (picture, gzipped):
        page.write_bytes(b"<img src='data:image/webp;base64," + base64.b64encode(content) + b"'>")
        assert b"VjMcaXru" in page.read_bytes()
        assert search(tmp_path, identities) == []
    for text in ("<p>seenMcaThere</p>", f"/data{'/archive' * 9}/Quasimodo/1", "VjMcaXru" * 20):
        page.write_text(text)
        assert [finding.kind for finding in search(tmp_path, identities)] == [NAME], text


def test_links_are_followed_and_each_folder_is_read_once(
    tmp_path: Path, identities: Identities
) -> None:
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    for folder in (here / "b", here / "raw" / "A1", elsewhere / "deep"):
        folder.mkdir(parents=True)
        (folder / "x.log").write_text("MRN7712831")
    (here / "a").symlink_to(here / "b")
    (here / "c").symlink_to(elsewhere)
    (here / "d").symlink_to(here / "raw" / "A1")
    (elsewhere / "back").symlink_to(here)
    (here / "loop").symlink_to(here / "loop")
    found = [finding.file for finding in search(here, identities, leave=[here / "raw"])]
    assert found == ["b/x.log", "c/deep/x.log"]


@pytest.mark.parametrize("offset", [float("nan"), float("inf"), -352.0, 1e30])
@pytest.mark.parametrize("shape", [(4, 4, 4), (-4, 4, 4), (0, 0, 0)])
def test_a_damaged_nifti_is_searched_as_bytes(
    offset: float, shape: tuple[int, int, int], tmp_path: Path, identities: Identities
) -> None:
    header = bytearray(352)
    struct.pack_into("<3h", header, 42, *shape)
    struct.pack_into("<hh", header, 70, 4, 16)
    struct.pack_into("<f", header, 108, offset)
    header[344:348] = b"n+1\0"
    (tmp_path / "a.nii").write_bytes(bytes(header) + b" MRN7712831 " + bytes(200))
    assert [finding.kind for finding in search(tmp_path, identities)] == [MRN]


def test_a_search_for_nobody_is_refused(here: Path) -> None:
    columns = {"accession": "a", "mrn": "m"}
    for table in (None, "a,m\n", "a,m\nA77001,\n"):
        if table:
            (here / "reports.csv").write_text(table)
        with pytest.raises(InputError, match="no patient is known in"):
            gather.known_here(here / "reports.csv", columns)


def _view(base: sqlite3.Connection) -> None:
    base.execute("CREATE VIEW seen AS SELECT 'MRN7712831' AS patient")


def _deleted(base: sqlite3.Connection) -> None:
    base.execute("CREATE TABLE gone (note TEXT)")
    base.executemany("INSERT INTO gone VALUES (?)", [(f"MRN7712831 {n}",) for n in range(2000)])
    base.commit()
    base.execute("DROP TABLE gone")


@pytest.mark.parametrize("hide", [_view, _deleted])
def test_sqlite_holds_nothing_beside_its_tables(
    hide: Callable[[sqlite3.Connection], None], tmp_path: Path, identities: Identities
) -> None:
    with sqlite3.connect(tmp_path / "a.sqlite") as base:
        base.execute("PRAGMA secure_delete = OFF")
        base.execute("CREATE TABLE kept (note TEXT)")
        hide(base)
    base.close()
    assert {finding.kind for finding in search(tmp_path, identities)} == {MRN}


@pytest.mark.parametrize(
    "pack",
    [
        bz2.compress,
        zlib.compress,
        lambda text: zlib.compress(text, 1),
        lambda text: bz2.compress(b"nothing") + text,
        lambda text: b"BZh9" + text,
        lambda text: b"x\x9c" + b" " + text,
        lambda text: base64.urlsafe_b64encode(b"\xff\xfe\xfb" * 12 + b" " + text),
        lambda text: text.decode().encode("utf-16"),
    ],
)
def test_other_packings_are_unpacked(
    pack: Callable[[bytes], bytes], tmp_path: Path, identities: Identities
) -> None:
    (tmp_path / "a.bin").write_bytes(pack(b"patient MRN7712831, seen"))
    assert [finding.kind for finding in search(tmp_path, identities)] == [MRN]
    (tmp_path / "a.bin").write_bytes(pack(b"patient nobody, seen"))
    assert search(tmp_path, identities) == []
