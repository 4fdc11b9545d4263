"""What goes wrong between the archive and the disk, and what a person is told."""

from __future__ import annotations

import json
import random
import re
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
import warnings
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs

import pytest

from .dicomweb_server import Fault, basic, read_folder, serving_stored
from .hospital import SCRIPTS, Run, archive_settings, make_long_series
from .servers import needs_stunnel, stunnel

SECRET = "s3cret-of-the-archive"
CREDENTIALS = {"CT_COHORT_USER": "reader", "CT_COHORT_PASSWORD": SECRET}


@pytest.fixture(scope="module")
def long_series(tmp_path_factory):
    folder = tmp_path_factory.mktemp("long")
    return folder, make_long_series(folder, 500, size=64)


def run_on(url, folder, accessions=("A0001",), *, environment=None, dicomweb=None, **archive):
    own = {"url": url, **(dicomweb or {})}
    run = Run(folder, archive_settings(kind="dicomweb", dicomweb=own, **archive), environment or {})
    run.prepare(list(accessions))
    return run


def one_line(output):
    """The command's error; nothing but it and the lines on trying again."""
    lines = [line for line in output.splitlines() if "trying again" not in line]
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    return lines[0]


def test_wrong_password_stops_at_once_and_for_good(stored, tmp_path):
    with serving_stored(stored, authorization=basic("reader", "another")) as server:
        run = run_on(server.url, tmp_path, environment=CREDENTIALS, dicomweb={"auth": "basic"})
        first = run.index()
        assert first.returncode == 1
        assert "401" in one_line(first.stdout)
        assert len(server.requests) == 1
        again = run.index()
        assert "archive.stop exists" in one_line(again.stdout)
        assert len(server.requests) == 1
        server.authorization = basic("reader", SECRET)
        (tmp_path / "archive.stop").unlink()
        assert run.index().returncode == 0
    for secret in (SECRET.encode(), basic("reader", SECRET).split()[1].encode()):
        assert secret not in run.everything_written()
        assert secret not in (first.stdout + again.stdout).encode()


def test_secrets_come_from_a_private_file_only(stored, tmp_path):
    secrets = tmp_path / "secrets"
    secrets.write_text(f"CT_COHORT_USER=reader\nCT_COHORT_PASSWORD={SECRET}\n")
    settings = {"auth": "basic", "credentials": str(secrets)}
    with serving_stored(stored, authorization=basic("reader", SECRET)) as server:
        run = run_on(server.url, tmp_path / "run", dicomweb=settings)
        secrets.chmod(0o644)
        assert "chmod 600" in one_line(run.index().stdout)
        assert not server.requests
        secrets.chmod(0o600)
        assert run.index().returncode == 0


class TokenEndpoint:
    """Gives an access token that `server` then wants, and another refresh token each time; the one
    before is void from then on."""

    def __init__(self, server):
        self.server, self.refresh_token, self.granted, self.lasts = server, SECRET, 0, 3600
        self.useless = False
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_POST(self):
                form = self.rfile.read(int(self.headers["Content-Length"])).decode()
                status, body = endpoint.answer(parse_qs(form))
                self.send_response(status)
                self.end_headers()
                self.wfile.write(json.dumps(body).encode())

        self.http = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/token"

    def answer(self, form):
        if (form["grant_type"], form["refresh_token"]) != (["refresh_token"], [self.refresh_token]):
            return 400, {"error": self.refresh_token}
        self.granted += 1
        self.refresh_token = f"{SECRET}-{self.granted}"
        token = f"access-{SECRET}-{self.granted}"
        self.server.authorization = "Bearer useless" if self.useless else f"Bearer {token}"
        return 200, {
            "access_token": token,
            "refresh_token": self.refresh_token,
            "expires_in": self.lasts,
        }


@pytest.fixture
def endpoint(server):
    one = TokenEndpoint(server)
    thread = threading.Thread(target=one.http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield one
    one.http.shutdown()
    one.http.server_close()
    thread.join()


@pytest.fixture
def server(stored):
    with serving_stored(stored) as server:
        yield server


def oauth2_run(endpoint, folder, *accessions, token=SECRET):
    secrets = {"CT_COHORT_CLIENT_ID": "cohort", "CT_COHORT_REFRESH_TOKEN": token}
    own = {"auth": "oauth2_refresh", "token_url": endpoint.url}
    return run_on(endpoint.server.url, folder, accessions, environment=secrets, dicomweb=own)


def assert_no_token(run, *results):
    """Nothing says a token but the one private file that must."""
    tokens = run.folder / "index/oauth2.json"
    if tokens.exists():
        assert tokens.stat().st_mode & 0o077 == 0
        assert SECRET in tokens.read_text()
        tokens.unlink()
    assert SECRET.encode() not in run.everything_written()
    assert not any(SECRET in result.stdout for result in results)


def test_jobs_share_a_token_until_it_expires(endpoint, tmp_path):
    run = oauth2_run(endpoint, tmp_path, "A0001", "00A3")
    results = [run.index(), run.download("A0001")]
    assert endpoint.granted == 1
    endpoint.server.authorization = "Bearer another"
    results.append(run.download("00A3"))
    assert [result.returncode for result in results] == [0, 0, 0]
    assert endpoint.granted == 2  # once, on the 401
    assert_no_token(run, *results)


def test_a_token_whose_time_is_over_is_not_shown(endpoint, tmp_path):
    endpoint.lasts = 0
    run = oauth2_run(endpoint, tmp_path, "A0001")
    assert run.index().returncode == 0
    assert endpoint.granted == len(endpoint.server.requests)
    assert "\t401\t" not in (tmp_path / "archive.log").read_text()


def test_jobs_at_the_same_time_do_not_void_each_others_refresh_token(endpoint, tmp_path):
    accessions = ["A0001", "00A3", "A 02/B+"]
    run = oauth2_run(endpoint, tmp_path, *accessions)
    assert run.index().returncode == 0
    endpoint.server.authorization = "Bearer another"
    jobs = [run.start(*run.download_arguments(accession)) for accession in accessions]
    outputs = [job.communicate()[0] for job in jobs]
    assert [job.returncode for job in jobs] == [0, 0, 0], outputs
    assert endpoint.granted == 2


def test_a_token_that_is_refused_is_renewed_once(endpoint, tmp_path):
    endpoint.useless = True
    run = oauth2_run(endpoint, tmp_path, "A0001")
    result = run.index()
    assert "401" in one_line(result.stdout)
    assert (endpoint.granted, len(endpoint.server.requests)) == (2, 2)
    assert_no_token(run, result)


def test_an_expired_refresh_token_stops_at_once_and_a_new_one_is_taken(endpoint, tmp_path):
    expired = oauth2_run(endpoint, tmp_path, "A0001", token=f"{SECRET}-expired")
    result, again = expired.index(), expired.index()
    assert "refresh token has expired" in one_line(result.stdout)
    assert "archive.stop exists" in one_line(again.stdout)
    assert not endpoint.server.requests
    assert_no_token(expired, result, again)
    (tmp_path / "archive.stop").unlink()
    assert oauth2_run(endpoint, tmp_path, "A0001").index().returncode == 0


def test_missing_secret_is_named(tmp_path):
    run = run_on("http://127.0.0.1:9/dicom-web", tmp_path, dicomweb={"auth": "bearer"})
    assert "CT_COHORT_TOKEN is not set" in one_line(run.index().stdout)


def test_host_down_is_one_line(tmp_path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/dicom-web"
        run = run_on(url, tmp_path, patience_seconds=2)
        result = run.index()
    assert result.returncode == 1
    assert "refused the connection" in one_line(result.stdout)


def test_wrong_root_and_login_page_are_told_apart(stored, tmp_path):
    with serving_stored(stored) as server:
        run = run_on(server.url + "/elsewhere", tmp_path / "a")
        assert "expected the root of a DICOMweb service" in one_line(run.index().stdout)
        page = Fault(status=200, fields={"Content-Type": "text/html"}, body=b"<html>login</html>")
        server.fault = lambda _request: page
        run = run_on(server.url, tmp_path / "b")
        assert "login page" in one_line(run.index().stdout)


def test_one_accession_that_never_answers_does_not_hold_up_the_others(stored, tmp_path):
    accessions = ("A0001", "00A3", "A 02/B+")
    with serving_stored(stored) as server:
        server.fault = lambda request: Fault(status=500) if "=00A3&" in request.path else None
        run = run_on(server.url, tmp_path, accessions, patience_seconds=2)
        assert run.index().returncode == 0
        assert set(run.chosen()) == {"A0001", "A 02/B+"}
        assert {"00A3", "no_answer"} <= {v for row in run.series_rows() for v in row.values()}
        server.fault = lambda _request: None
        server.requests.clear()
        assert run.index().returncode == 0
        assert set(run.chosen()) == set(accessions)
        assert not server.paths("=A0001&")


def test_ten_accessions_in_a_row_stop_the_run(stored, tmp_path):
    accessions = [f"B{number:02d}" for number in range(14)]
    with serving_stored(stored) as server:
        server.fault = lambda request: Fault(status=500) if "=B" in request.path else None
        run = run_on(server.url, tmp_path, accessions, patience_seconds=0.1)
        result = run.index()
        assert result.returncode == 1
        assert "archive.stop exists" in result.stdout.splitlines()[-1]
        assert not server.paths("=B10&")
    assert "10 accessions failed in a row" in (tmp_path / "archive.stop").read_text()


def test_a_series_still_arriving_is_asked_again(stored, tmp_path):
    counts = iter(range(100, 1000))
    with serving_stored(stored, counted=lambda _series, count: count + next(counts)) as server:
        run = run_on(server.url, tmp_path)
        run.index()
        assert not run.chosen()
        assert "still_arriving" in {row["reason"] for row in run.series_rows()}
        server.counted = lambda _series, count: count
        run.index()
        assert "A0001" in run.chosen()


def test_a_count_that_is_too_small_is_not_waited_for(stored, tmp_path):
    with serving_stored(stored, counted=lambda _series, count: count - 3) as server:
        run = run_on(server.url, tmp_path)
        run.index()
        assert "A0001" in run.chosen()


def test_a_count_that_is_larger_than_what_is_given_leaves_no_volume(stored, tmp_path):
    with serving_stored(stored, counted=lambda _series, count: count + 3) as server:
        run = run_on(server.url, tmp_path)
        result = run.index()
        assert not run.chosen()
        assert "A0001: the archive counts 43 instances in a series and gives 40" in result.stdout
        series = [path for path in server.requests if re.search(r"/series/[0-9.]+$", path)]
        run.index()
        again = [path for path in server.requests if re.search(r"/series/[0-9.]+$", path)]
        assert again == series  # the files that are there are not fetched again
        server.counted = lambda _series, count: count
        run.index()
        assert "A0001" in run.chosen()


def test_what_is_offline_is_not_fetched(stored, tmp_path):
    with serving_stored(stored, availability="OFFLINE") as server:
        run = run_on(server.url, tmp_path)
        run.index()
        assert [row["reason"] for row in run.series_rows()] == ["offline"]
        assert not server.paths("metadata")


def test_a_series_that_grew_since_the_index_is_asked_for_anew(stored, tmp_path):
    with serving_stored(stored) as server:
        run = run_on(server.url, tmp_path)
        run.index()
        extra = next(one for one in server.stored if one.value("00080050") == "00A3")
        late = type(extra)({**extra.row}, extra.path, extra.syntax)
        for tag, value in (("0020000D", "study_uid"), ("0020000E", "series_uid")):
            chosen = next(row for row in run.series_rows() if row["selected"] == "true")
            late.row[tag] = {"vr": "UI", "Value": [chosen[value]]}
        server.stored = [*server.stored, late]
        result = run.download("A0001")
        assert result.returncode == 1
        assert run.failure("A0001")["transient"]
        assert (tmp_path / "index" / "ask_again.txt").exists()
        assert not (tmp_path / "raw" / "A0001").exists()


def test_a_server_killed_at_any_moment_leaves_nothing_wrong(long_series, tmp_path):
    """Twenty times: the connection is cut at a random byte and the archive goes away."""
    folder, headers = long_series
    stored = read_folder(folder)
    size = sum(one.path.stat().st_size for one in stored)
    rng = random.Random(4)
    complete = None
    for moment in range(20):
        cut = rng.randrange(size)
        down = threading.Event()

        def dying(request, cut=cut, down=down):
            if down.is_set():
                return Fault(status=503, fields={"Retry-After": "3600"})
            if "/series/" in request.path and not request.path.endswith("/metadata"):
                down.set()
                return Fault(cut=cut, reset=bool(cut % 2))
            return None

        with serving_stored(stored) as server:
            run = run_on(server.url, tmp_path / f"{moment}", ["LONG"], patience_seconds=30)
            run.index()
            server.fault = dying
            broken = run.download("LONG")
            assert broken.returncode == 1
            assert run.failure("LONG")["reason"] == "transfer_incomplete"
            assert not (run.folder / "raw" / "LONG").exists()
            assert not (run.folder / "received" / "LONG.json").exists()
            there = len(list((run.folder / "raw/.partial/LONG").glob("*.dcm")))
            server.fault = lambda _request: None
            server.requests.clear()
            assert run.download("LONG").returncode == 0
            again = len(server.paths("/instances/"))
            assert again == (len(headers) - there if there else 0)
            complete = complete or run.received("LONG")
            assert run.received("LONG") == complete
            assert len(complete) == len(headers)


def test_a_download_killed_at_any_moment_goes_on_where_it_was(long_series, tmp_path):
    """The command itself is killed while files arrive."""
    folder, headers = long_series
    stored = read_folder(folder)
    with serving_stored(stored) as server:
        run = run_on(server.url, tmp_path, ["LONG"])
        run.index()
        server.fault = lambda request: (
            Fault(cut=400_000, stall=2) if request.path.endswith(headers[0].series_uid) else None
        )
        process = run.start(*run.download_arguments("LONG"))
        partial = tmp_path / "raw/.partial/LONG"
        while not list(partial.glob("*.dcm")):
            time.sleep(0.01)
        process.kill()
        process.communicate()
        assert not (tmp_path / "raw/LONG").exists()
        there = len(list(partial.glob("*.dcm")))
        server.requests.clear()
        assert run.download("LONG").returncode == 0
        assert len(server.paths("/instances/")) == len(headers) - there
        assert len(run.received("LONG")) == len(headers)


def test_a_trickle_counts_as_a_stall(long_series, tmp_path, monkeypatch):
    from ctcohort.archives import dicomweb, web

    monkeypatch.setattr(web, "SILENT_SECONDS", 0.3)
    monkeypatch.chdir(tmp_path)
    folder, headers = long_series
    with serving_stored(read_folder(folder)) as server:
        server.fault = lambda request: (
            Fault(cut=50_000, trickle=0.05)
            if request.path.endswith(headers[0].series_uid)
            else None
        )
        settings = archive_settings(kind="dicomweb", dicomweb={"url": server.url})
        archive = dicomweb.DicomwebArchive(settings, key=b"k")
        archive.fetch(headers, tmp_path)
    assert len(list(tmp_path.glob("*.dcm"))) == len(headers)
    assert "200 broken" in (tmp_path / "archive.log").read_text()


@pytest.mark.skipif(not shutil.which("unshare"), reason="unshare, which mounts a small disk")
def test_a_full_disk_is_one_line_and_no_volume(long_series, tmp_path):
    folder, _ = long_series
    with serving_stored(read_folder(folder)) as server:
        run = run_on(server.url, tmp_path, ["LONG"])
        run.index()
        arguments = " ".join(run.download_arguments("LONG"))
        (tmp_path / "raw").mkdir()
        (tmp_path / "archive.json").write_text(json.dumps(run.archive))
        script = (
            "mount -t tmpfs -o size=300k tmpfs raw || exit 77; "
            f'{sys.executable} {SCRIPTS}/{arguments} --archive "$(cat archive.json)"'
        )
        result = subprocess.run(
            ["unshare", "--mount", "--user", "--map-root-user", "sh", "-c", script],
            cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if result.returncode == 77 or "unshare" in result.stderr:
            pytest.skip("this machine does not let a user mount a small disk")
        assert "the disk is full" in one_line(result.stderr)
        assert run.failure("LONG")["reason"] == "no_space"
        assert run.download("LONG").returncode == 0


@contextmanager
def tls_in_front(port, certificate, key, _folder, client_ca=None, *, newest=None):
    """As `servers.stunnel`, of Python's own TLS, up to its `newest` version."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if newest:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # old versions are deprecated
            context.minimum_version = context.maximum_version = newest
        context.set_ciphers("ALL:@SECLEVEL=0")
    context.load_cert_chain(certificate, key)
    if client_ca:
        context.load_verify_locations(client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    listener = socket.create_server(("127.0.0.1", 0))

    def pump(source, target):
        try:
            while data := source.recv(65536):
                target.sendall(data)
        except OSError:
            pass
        for one in (source, target):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def accept():
        while True:
            try:
                plain, _ = listener.accept()
            except OSError:
                return
            try:
                near = context.wrap_socket(plain, server_side=True)
                far = socket.create_connection(("127.0.0.1", port))
            except OSError:
                plain.close()
                continue
            threading.Thread(target=pump, args=(near, far), daemon=True).start()
            threading.Thread(target=pump, args=(far, near), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.close()


@pytest.mark.parametrize("terminator", [tls_in_front, pytest.param(stunnel, marks=needs_stunnel)])
def test_tls_with_a_private_ca(stored, certificates, tmp_path, terminator):
    def url(port):
        return f"https://127.0.0.1:{port}/dicom-web"

    server_side = (certificates / "server.pem", certificates / "server.key", tmp_path)
    with serving_stored(stored) as server:
        port = int(server.url.split(":")[2].split("/")[0])
        with terminator(port, *server_side) as secure:
            for bundle, expected in (("ca.pem", 0), ("other.pem", 1), (None, 1)):
                own = {"ca_bundle": bundle and str(certificates / bundle)}
                run = run_on(url(secure), tmp_path / str(bundle), dicomweb=own)
                result = run.index()
                assert result.returncode == expected
                if expected:
                    assert "certificate is not trusted" in one_line(result.stdout)
            assert Run(tmp_path / "ca.pem", run.archive, {}).chosen()
        with terminator(port, *server_side, certificates / "ca.pem") as secure:
            own = {"ca_bundle": str(certificates / "ca.pem")}
            client = {
                "client_certificate": str(certificates / "client.pem"),
                "client_key": str(certificates / "client.key"),
            }
            run = run_on(url(secure), tmp_path / "without", dicomweb=own, patience_seconds=1)
            result = run.index()
            assert result.returncode == 1
            assert "client_certificate" in one_line(result.stdout)
            run = run_on(url(secure), tmp_path / "with", dicomweb={**own, **client})
            assert run.index().returncode == 0
