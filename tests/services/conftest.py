"""What several of the service tests need."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from ctcohort.archives import retrying
from ctcohort.phantoms.anatomy import Phantom
from ctcohort.phantoms.stack import SliceStack
from ctcohort.phantoms.writer import Identity, make_localizer, make_series, write_files

from .dicomweb_server import read_folder
from .hospital import make_archive

ACCESSIONS = ("R1", "R 2")
"""Of the small studies."""


@pytest.fixture(scope="session")
def hospital(tmp_path_factory):
    """A folder of five studies, and the accessions that a report table would name."""
    folder = tmp_path_factory.mktemp("hospital")
    return folder, make_archive(folder)


@pytest.fixture(scope="session")
def stored(hospital):
    """The instances of the hospital, as a server keeps them."""
    return read_folder(hospital[0])


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """Two studies, each with a scout and series of 12 and 9 slices."""
    folder = tmp_path_factory.mktemp("small")
    for number, accession in enumerate(ACCESSIONS):
        who = Identity(patient_id=f"5000{number}", accession=accession)
        size = {"rows": 16, "columns": 16, "pixel_spacing": 20.0}
        for series, count in ((2, 12), (3, 9)):
            stack = SliceStack.axial(count=count, step=6.0, **size)
            made = make_series(Phantom(), stack, identity=who, series_number=series, noise=0)
            write_files(made, folder / f"{number}-{series}")
        write_files([make_localizer(Phantom(), identity=who)], folder / f"{number}-1")
    return read_folder(folder)


@pytest.fixture
def hurried(monkeypatch):
    """No waiting between tries, and no stop after several failures."""
    monkeypatch.setattr(retrying, "FIRST_WAIT", 0.002)
    monkeypatch.setattr("ctcohort.archives.manners.Manners._failed", lambda *_: None)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    """A private CA, and what it signed: for the archive (`server`), for a client, and for an
    intermediate CA, which signed `behind` for the archive."""
    if not shutil.which("openssl"):
        pytest.skip("openssl, which makes the certificates")
    folder = tmp_path_factory.mktemp("certificates")

    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    for ca in ("ca", "other"):
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={ca}",
                "-keyout", f"{ca}.key", "-out", f"{ca}.pem")  # fmt: skip
    names = "subjectAltName=DNS:localhost,IP:127.0.0.1\n"
    signed = {"server": ("ca", names), "client": ("ca", names),
              "intermediate": ("ca", "basicConstraints=critical,CA:TRUE\n"),
              "behind": ("intermediate", names)}  # fmt: skip
    for name, (ca, extensions) in signed.items():
        (folder / "extensions").write_text(extensions)
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}",
                "-keyout", f"{name}.key", "-out", f"{name}.csr")  # fmt: skip
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", f"{ca}.pem", "-CAkey", f"{ca}.key",
                "-CAcreateserial", "-extfile", "extensions", "-out", f"{name}.pem")  # fmt: skip
    return folder
