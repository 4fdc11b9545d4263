"""What several of the service tests need."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from .dicomweb_server import read_folder
from .hospital import make_archive


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
def certificates(tmp_path_factory):
    """A private CA, and what it signed for the archive and for a client."""
    if not shutil.which("openssl"):
        pytest.skip("openssl, which makes the certificates")
    folder = tmp_path_factory.mktemp("certificates")

    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    for ca in ("ca", "other"):
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={ca}",
                "-keyout", f"{ca}.key", "-out", f"{ca}.pem")  # fmt: skip
    (folder / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    for name in ("server", "client"):
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}",
                "-keyout", f"{name}.key", "-out", f"{name}.csr")  # fmt: skip
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
                "-CAcreateserial", "-extfile", "names", "-out", f"{name}.pem")  # fmt: skip
    return folder
