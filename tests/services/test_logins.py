"""The logins that archives ask for, against servers that check them."""

from __future__ import annotations

import base64
import importlib.metadata
import json
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from ctcohort.archives import access_log
from ctcohort.archives.dicomweb import DicomwebArchive
from ctcohort.archives.manners import LOG
from ctcohort.archives.protocol import Query, Stopped
from ctcohort.base.faults import InputError

from .hospital import KEY, REPOSITORY, archive_settings
from .lying_dicomweb import Lies, lying

AUDIENCE = "https://oauth2.googleapis.com/token"
"""Whom google-auth's assertions are for, whatever the endpoint."""
SECRET = "s3cret-of-the-client"
JWT = f"abc.{base64.urlsafe_b64encode(json.dumps({'exp': 1500}).encode()).decode().strip('=')}.sig"
"""A JSON Web Token that expires at 1500 seconds."""
CLIENT = {"CT_COHORT_CLIENT_ID": "cohort", "CT_COHORT_CLIENT_SECRET": SECRET}


@pytest.fixture(autouse=True)
def working(tmp_path, monkeypatch):
    """A fresh working directory, and no login of the machine's own."""
    monkeypatch.chdir(tmp_path)
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@contextmanager
def serving(answer):
    """A server on loopback: `answer(handler, body)` gives status, content and fields."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, content, fields = answer(self, body)
            self.send_response(status)
            for name, value in {**fields, "Content-Length": len(content)}.items():
                self.send_header(name, str(value))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{http.server_port}"
    finally:
        http.shutdown()
        http.server_close()
        thread.join()


def archive_at(server, **dicomweb):
    own = {"url": server.url, **dicomweb}
    return DicomwebArchive(
        archive_settings(kind="dicomweb", dicomweb=own, patience_seconds=2), key=KEY
    )


def finds(archive):
    """Whether the archive can be searched; each request is one that the server grants."""
    archive.prepare(threads=1)
    return len(archive.find(Query(("A0001",)))) == 5


def shows(token):
    """Grants what shows a bearer token; `token` is asked each time."""
    return lambda request: request.headers.get("Authorization") == f"Bearer {token()}"


def answers():
    return [request.answer for request in access_log.read(LOG)]


def environment(monkeypatch, values):
    for name, value in values.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("client_auth", ["body", "basic"])
def test_a_client_gets_a_token_for_itself(stored, monkeypatch, client_auth):
    asked = []

    def endpoint(request, body):
        form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        asked.append(form)
        shown = base64.b64encode(f"cohort:{SECRET}".encode()).decode()
        known = (
            request.headers.get("Authorization") == f"Basic {shown}" and "client_secret" not in form
            if client_auth == "basic"
            else (form.get("client_id"), form.get("client_secret")) == ("cohort", SECRET)
        )
        token = {"access_token": f"token-{len(asked)}", "expires_in": 3600}
        return (200 if known else 401), json.dumps(token if known else {}).encode(), {}

    environment(monkeypatch, CLIENT)
    wanted = {"scope": "read openid", "audience": "archive", "resource": "https://a.example.org"}
    with (
        serving(endpoint) as url,
        lying(stored, Lies(), granted=shows(lambda: f"token-{len(asked)}")) as server,
    ):
        login = {"auth": "oauth2_client_credentials", "token_url": url, "client_auth": client_auth}
        assert finds(archive_at(server, **login, **wanted))
        assert finds(archive_at(server, **login, **wanted))  # the next job shares the token
    assert len(asked) == 1
    assert asked[0]["grant_type"] == "client_credentials"
    assert {name: asked[0][name] for name in wanted} == wanted
    assert set(answers()) <= {"200", "204"}


def test_the_token_endpoint_is_quoted_without_a_secret(stored, monkeypatch):
    def endpoint(_request, _body):
        said = f"AADSTS7000215: Invalid client secret {SECRET} provided."
        content = {"error": "invalid_client", "error_description": said}
        return 401, json.dumps(content).encode(), {}

    environment(monkeypatch, CLIENT)
    with serving(endpoint) as url, lying(stored, Lies()) as server:
        archive = archive_at(server, auth="oauth2_client_credentials", token_url=url)
        with pytest.raises(Stopped) as refused:
            archive.prepare(threads=1)
    told = str(refused.value)
    assert "invalid_client (AADSTS7000215: Invalid client secret *** provided.)" in told
    assert SECRET not in told + Path("archive.stop").read_text()


def test_what_a_command_prints_is_asked_for_again_on_401_and_before_its_end(
    stored, tmp_path, monkeypatch
):
    count = tmp_path / "count"
    count.write_text("0")
    script = tmp_path / "token.py"
    script.write_text(
        f"from pathlib import Path\ncount = Path({str(count)!r})\n"
        "count.write_text(str(int(count.read_text()) + 1))\n"
        "print('token-' + count.read_text())\n"
    )
    valid = ["token-1"]
    login = {"auth": "command", "token_command": [sys.executable, str(script)]}
    with lying(stored, Lies(), granted=shows(lambda: valid[0])) as server:
        archive = archive_at(server, **login)
        assert finds(archive)
        assert finds(archive_at(server, **login))
        assert count.read_text() == "1"  # all jobs share what it printed
        valid[0] = "token-2"
        assert finds(archive)
        assert count.read_text() == "2"
        from ctcohort.archives import tokens

        later = tokens.time.time() + tokens.UNTOLD_SECONDS
        monkeypatch.setattr(tokens.time, "time", lambda: later)
        valid[0] = "token-3"
        assert finds(archive)
    assert count.read_text() == "3"
    assert "401" not in answers()


@pytest.mark.parametrize(
    ("printed", "lasts"),
    [
        ('{"accessToken": "abc", "expires_on": 2000}', 900),
        ('{"access_token": "abc", "expires_in": 100}', 90),
        (JWT, 450),
        ("opaque", 270),
    ],
)
def test_how_long_a_token_is_used(printed, lasts, tmp_path, monkeypatch):
    from ctcohort.archives import tokens

    monkeypatch.setattr(tokens.time, "time", lambda: 1000.0)
    (tmp_path / "token").write_text(printed)
    command = tokens.Command(["cat", str(tmp_path / "token")], requests.Session)
    assert command.ask({})["until"] == 1000 + lasts


@pytest.mark.parametrize("command", [["false"], ["no-such-command-at-all"], ["echo", "two words"]])
def test_a_command_that_gives_no_token_is_one_line(stored, command):
    with lying(stored, Lies()) as server:
        archive = archive_at(server, auth="command", token_command=command)
        with pytest.raises(Stopped, match=r"archive\.dicomweb\.token_command: "):
            archive.prepare(threads=1)
        assert not server.requests
    assert "token_command" in Path("archive.stop").read_text()


def test_a_run_outlasts_a_token_of_a_file(stored, tmp_path):
    secrets = tmp_path / "secrets"
    secrets.write_text("CT_COHORT_TOKEN=one\n")
    secrets.chmod(0o600)
    valid = ["one"]
    with lying(stored, Lies(), granted=shows(lambda: valid[0])) as server:
        archive = archive_at(server, auth="bearer", credentials=str(secrets))
        assert finds(archive)
        secrets.write_text("CT_COHORT_TOKEN=two\n")
        valid[0] = "two"
        assert finds(archive)
        valid[0] = "three"
        with pytest.raises(Stopped, match="401"):
            archive.find(Query(("A0001",)))
    assert answers().count("401") == 1


BOTOCORE = ("botocore==1.44.8", "jmespath==1.1.0")
"""Not in the lock: botocore asks for python-dateutil before 3, the lock has a later one."""


@pytest.fixture
def botocore(pip, tmp_path_factory, monkeypatch):
    """botocore as the docs have it installed: into the workflow's environment, without what it
    asks for."""
    documented = f"pip install --no-deps {' '.join(name.split('==')[0] for name in BOTOCORE)}"
    for page in ("docs/archives/logins.md", "scripts/ctcohort/archives/aws.py"):
        assert documented in (REPOSITORY / page).read_text()
    folder = tmp_path_factory.mktemp("botocore")
    done = pip("install", "--quiet", "--no-compile", "--no-deps", f"--target={folder}", *BOTOCORE)
    assert done.returncode == 0, done.stderr
    monkeypatch.syspath_prepend(folder)
    assert int(importlib.metadata.version("python-dateutil").split(".")[0]) >= 3


@pytest.mark.needs_index
@pytest.mark.usefixtures("botocore")
def test_each_request_is_signed_for_aws(stored, monkeypatch):
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    environment(
        monkeypatch,
        {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": SECRET,
         "AWS_SESSION_TOKEN": "session", "AWS_EC2_METADATA_DISABLED": "true"},
    )  # fmt: skip
    forms = set()

    def is_signed(request):
        """Sign the same request anew, as AWS does to verify it."""
        fields = request.headers
        again = AWSRequest("GET", server.url.split("/dicom-web")[0] + request.path)
        again.headers["Accept"] = fields["Accept"]
        again.context["timestamp"] = fields["X-Amz-Date"]
        again.headers["X-Amz-Date"] = fields["X-Amz-Date"]
        again.headers["X-Amz-Security-Token"] = fields["X-Amz-Security-Token"]
        signer = SigV4Auth(
            Credentials("AKIDEXAMPLE", SECRET, "session"), "medical-imaging", "us-east-1"
        )
        canonical = signer.canonical_request(again)
        signature = signer.signature(signer.string_to_sign(again, canonical), again)
        forms.add(fields["Accept"].split(";")[0])
        return fields["Authorization"].endswith(f"Signature={signature}")

    with lying(stored, Lies(series=405, instance_forms=("single",))) as server:
        server.granted = is_signed
        archive = archive_at(server, auth="aws_sigv4", aws_region="us-east-1")
        assert finds(archive)
        series = next(s for s in archive.find(Query(("A0001",))) if s.instances == 40)
        headers = archive.headers(series)
        archive.fetch(headers, Path())
        assert len(list(Path().glob("*.dcm"))) == 40
        server.granted = lambda request: is_signed(request) and False
        with pytest.raises(Stopped, match="401"):
            archive.find(Query(("A0001",)))
    assert forms == {"application/dicom+json", "multipart/related", "application/dicom"}


def test_aws_without_credentials_or_botocore_says_so(stored, monkeypatch):
    with lying(stored, Lies()) as server:
        monkeypatch.setitem(sys.modules, "botocore.session", None)
        with pytest.raises(InputError, match="needs the package botocore"):
            archive_at(server, auth="aws_sigv4", aws_region="us-east-1")
        with pytest.raises(InputError, match="aws_region is not set"):
            archive_at(server, auth="aws_sigv4")


def test_a_google_service_account_gets_a_token(stored, tmp_path, monkeypatch):
    pytest.importorskip("google.auth", reason="google-auth: pip install google-auth")
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa
    from google.auth import jwt

    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    claims = []

    def endpoint(_request, body):
        assertion = parse_qs(body.decode())["assertion"][0]
        claims.append(jwt.decode(assertion, certs=public.decode(), audience=AUDIENCE))
        answer = {"access_token": "of-the-account", "expires_in": 3600, "token_type": "Bearer"}
        return 200, json.dumps(answer).encode(), {"Content-Type": "application/json"}

    with (
        serving(endpoint) as url,
        lying(stored, Lies(), granted=shows(lambda: "of-the-account")) as server,
    ):
        pem = private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        content = {
            "type": "service_account",
            "client_email": "cohort@project.iam.gserviceaccount.com",
            "private_key": pem.decode(),
            "private_key_id": "1",
            "token_uri": f"{url}/token",
        }
        path = tmp_path / "key.json"
        path.write_text(json.dumps(content))
        monkeypatch.setenv("CT_COHORT_GOOGLE_KEY_FILE", str(path))
        path.chmod(0o644)
        with pytest.raises(InputError, match="chmod 600"):
            archive_at(server, auth="google")
        path.chmod(0o600)
        assert finds(archive_at(server, auth="google"))
        assert finds(archive_at(server, auth="google"))
    assert len(claims) == 1
    assert claims[0]["scope"] == "https://www.googleapis.com/auth/cloud-healthcare"
    assert claims[0]["iss"] == content["client_email"]


def test_proxies_of_the_environment_and_of_the_config(stored, monkeypatch):
    passed = []

    def proxy(request, _body):
        passed.append(request.path)
        with requests.Session() as session:
            session.trust_env = False
            fields = {"Accept": request.headers["Accept"]}
            answer = session.get(request.path, headers=fields)
        kinds = {name: answer.headers[name] for name in ("Content-Type",) if name in answer.headers}
        return answer.status_code, answer.content, kinds

    with serving(proxy) as url, lying(stored, Lies(nothing=200)) as server:
        monkeypatch.setenv("HTTP_PROXY", url)
        assert finds(archive_at(server))
        assert all(urlsplit(path).netloc == urlsplit(server.url).netloc for path in passed)
        assert len(passed) == len(server.requests)
        passed.clear()
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        assert finds(archive_at(server))
        assert not passed
        assert finds(archive_at(server, proxy=url))
        assert passed


def test_a_proxy_that_is_not_there_is_named(stored):
    with lying(stored, Lies()) as server:
        archive = archive_at(server, proxy="http://127.0.0.1:9")
        with pytest.raises(Exception, match=r"archive\.dicomweb\.proxy"):
            archive.prepare(threads=1)


def test_a_netrc_of_the_user_is_no_login(stored, tmp_path, monkeypatch):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password mine\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with lying(stored, Lies(), granted=lambda request: "Authorization" not in request.headers) as s:
        assert finds(archive_at(s))


def test_searches_and_retrievals_below_different_paths(stored, working):
    with lying(stored, Lies(prefixes=("qido-rs", "wado-rs"))) as server:
        archive = archive_at(server, qido_prefix="qido-rs", wado_prefix="wado-rs/")
        assert finds(archive)
        series = next(s for s in archive.find(Query(("A0001",))) if s.instances == 40)
        archive.fetch(archive.headers(series), working)
    assert len(list(working.glob("*.dcm"))) == 40
