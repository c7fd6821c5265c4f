"""How the client reaches an endpoint: certificates, proxies, --insecure, offline, and what it imports for that."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time

import pytest
from conftest import ROOT
from remote.loopback import Loopback, Tunnel, as_json, cohere, hang, make_certificate, tei
from remote.scoring import PAIRS

from rerank_cli.errors import ConfigError, RemoteError, UsageError
from rerank_cli.net import find_proxy
from rerank_cli.records import Pair
from rerank_cli.report import Report
from rerank_cli.scorers.remote import open_remote
from rerank_cli.settings import Limits, ModelSettings, RemoteSettings

KEY = "k-123456789"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A self-signed certificate for localhost and api.example: file with key, file without."""
    return make_certificate(tmp_path_factory.mktemp("tls"), ["localhost", "api.example"])


def score(url, env=None, report=None, **remote):
    settings = ModelSettings(remote=RemoteSettings(endpoint=url, retries=0, timeout_s=10, **remote))
    scorer = open_remote("cohere:m", settings, {"CO_API_KEY": KEY, **(env or {})}, report or Report())
    try:
        return scorer.score([Pair("q", "a")], Limits())
    finally:
        scorer.close()


def test_a_private_authority_is_named_by_flag_or_environment(certificate):
    both, public = certificate
    with Loopback(tls=both) as server:
        assert score(server.url, ca_bundle=public)[0].value is not None
        assert score(server.url, {"SSL_CERT_FILE": str(public)})[0].value is not None
        with pytest.raises(RemoteError, match=r"certificate of https://localhost.* is not trusted") as caught:
            score(server.url)
        assert "--ca-bundle" in caught.value.hint
        assert "attempts" not in caught.value.message
        with pytest.raises(RemoteError, match=r"not trusted: .*127\.0\.0\.1"):
            score(server.url.replace("localhost", "127.0.0.1"), ca_bundle=public)
        assert len(server.seen) == 2


def test_insecure_warns_on_every_run(certificate):
    both, _ = certificate
    with Loopback(tls=both) as server:
        for _ in range(2):
            report = Report()
            assert score(server.url, report=report, insecure=True)[0].value is not None
            assert report.warnings() == (f"--insecure: the identity of {server.url}/v2/rerank is not checked",)


def test_plain_http_behind_an_https_url():
    with Loopback() as server, pytest.raises(RemoteError, match="TLS handshake with"):
        score(server.url.replace("http://127.0.0.1", "https://localhost"))


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_authorities_that_cannot_be_read(tmp_path, content):
    file = tmp_path / "ca.pem"
    if content:
        file.write_text(content)
    with pytest.raises(ConfigError, match="cannot load the certificate authorities of"):
        score("https://localhost:1", ca_bundle=file)


def test_https_goes_through_the_proxy_and_the_key_stays_inside_the_tunnel(certificate):
    both, public = certificate
    with Loopback(tls=both) as server, Tunnel(server.port) as proxy:
        score("https://api.example", {"HTTPS_PROXY": proxy.url}, ca_bundle=public)
    assert proxy.asked == ["api.example:443"]
    assert server.seen[0].headers["authorization"] == f"Bearer {KEY}"
    assert KEY.encode() not in b"".join(proxy.heads)


def test_a_proxy_that_refuses_is_named():
    words = r"the proxy refused to connect to https://api\.example.*407"
    with Tunnel(1, b"407 Proxy Authentication Required") as proxy, pytest.raises(RemoteError, match=words):
        score("https://api.example", {"HTTPS_PROXY": proxy.url})


def test_an_unusable_proxy_is_reported_without_its_password():
    with pytest.raises(UsageError, match="proxy of the environment") as caught:
        score("https://api.example", {"HTTPS_PROXY": "gopher://user:secret@proxy"})
    assert "secret" not in f"{caught.value.message}{caught.value.hint}"


def test_offline_the_cache_answers_and_the_first_missing_pair_is_refused(run, tmp_path):
    def rank(*rest, texts="a\nb\n"):
        model = ("-m", "tei:", "--endpoint", "http://tei.example", "--cache", "--cache-path", tmp_path / "s.sqlite")
        return run("-q", "q", *model, "-f", "jsonl", *rest, stdin=texts, env={"http_proxy": server.url})

    with Loopback(tei) as server:
        first = rank()
        assert first.code == 0, first.err
        again = rank("--offline")
        assert (again.code, again.out) == (0, first.out)
        missing = rank("--offline", texts="a\nc\n")
        assert len(server.seen) == 1
    assert (missing.code, missing.out) == (2, b"")
    assert "at tei.example, and the score cache does not know every pair\nhint: leave --offline" in missing.err


P = {"HTTPS_PROXY": "http://p:1", "http_proxy": "q:2"}


@pytest.mark.parametrize(
    ("url", "env", "proxy"),
    [
        ("https://a.example", P, "http://p:1"),
        ("http://a.example", P, "http://q:2"),
        ("https://a.example", {}, None),
        ("https://a.example", {"ALL_PROXY": "http://r:3"}, "http://r:3"),
        ("https://a.example", {**P, "NO_PROXY": "b.example, example"}, None),
        ("https://a.example", {**P, "no_proxy": ".a.example"}, None),
        ("https://a.example", {**P, "no_proxy": "*.example"}, None),
        ("https://a.example", {**P, "no_proxy": "le"}, "http://p:1"),
        ("https://a.example", {**P, "no_proxy": "*"}, None),
        ("https://a.example:8443", {**P, "no_proxy": "a.example:8443"}, None),
        ("https://a.example:8443", {**P, "no_proxy": "a.example:443"}, "http://p:1"),
        ("https://10.1.2.3", {**P, "no_proxy": "10.0.0.0/8"}, None),
        ("http://localhost:8080", P, None),
        ("http://127.0.0.1:8080", P, None),
    ],
)
def test_the_proxy_follows_the_environment(url, env, proxy):
    assert find_proxy(url, env) == proxy


def test_loopback_keys_do_not_travel_to_a_proxy():
    with Tunnel(1) as proxy, Loopback() as server:
        score(server.url, {"HTTP_PROXY": proxy.url, "ALL_PROXY": proxy.url})
    assert proxy.heads == []


@pytest.mark.parametrize("batch_docs", ["1", "1000"], ids=["threads", "one request"])
@pytest.mark.parametrize("answer", [hang, as_json({}, 503, Retry_After="50")], ids=["in flight", "waiting to retry"])
def test_ctrl_c_ends_at_once(home, answer, batch_docs):
    """No worker thread is waited for, neither in a request nor asleep before the next."""
    with Loopback(lambda _seen: answer) as server:
        running = subprocess.Popen(
            [sys.executable, "-m", "rerank_cli", "-q", "x", "-m", "tei:", "--endpoint", server.url, "--max-wait", "60",
             "--batch-docs", batch_docs],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={"HOME": str(home), "PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        running.stdin.write(b"a\nb\nc\n")
        running.stdin.close()
        while not server.seen:
            time.sleep(0.02)
        time.sleep(0.2)
        running.send_signal(signal.SIGINT)
        assert running.wait(20) == 130
        assert running.stdout.read() == b""
        running.stdout.close()
        running.stderr.close()


HEAVY = {"numpy", "tokenizers", "onnxruntime", "torch", "transformers", "openvino", "huggingface_hub"}


def test_a_remote_run_loads_no_model_library(home):
    code = (
        "import sys, io\n"
        "from rerank_cli.cli.main import main\n"
        "from rerank_cli.terminal import Terminal\n"
        "out = io.BytesIO()\n"
        "stdin = io.BytesIO(b'a router\\nthe cat\\n')\n"
        "terminal = Terminal(stdin=stdin, stdout=out, stderr=sys.stderr, env={'HOME': sys.argv[2]})\n"
        "code = main(['-q', 'router', '-m', 'tei:', '--endpoint', sys.argv[1], '-f', 'ids'], terminal)\n"
        "print(code, out.getvalue().split(), ' '.join(sorted(sys.modules)))\n"
    )

    def answer(seen):
        texts = seen.body["texts"]
        return as_json([{"index": i, "score": 0.9 if "router" in t else 0.1} for i, t in enumerate(texts)])

    with Loopback(answer) as server:
        done = subprocess.run(
            [sys.executable, "-c", code, server.url, str(home)], capture_output=True, text=True, check=True, timeout=60
        )
    assert done.stdout.startswith("0 [b'0', b'1']"), done.stdout[:200] + done.stderr
    loaded = set(done.stdout.split())
    assert "httpx2" in loaded
    assert not loaded & HEAVY


def test_importing_the_package_loads_neither_httpx2_nor_stamina():
    code = "import sys, rerank_cli.scorers.remote; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & {"httpx2", "stamina", "httpcore2", "orjson", *HEAVY}


def test_an_estimate_loads_no_network_library():
    code = (
        "import sys\n"
        "from rerank_cli.scorers.remote.cost import estimate\n"
        "from rerank_cli.settings import ModelSettings\n"
        "estimate('cohere:m', [], ModelSettings())\n"
        "print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & {"httpx2", "stamina", "httpcore2", *HEAVY}


def resolving(monkeypatch, *addresses):
    """Names resolve to these addresses; literal addresses to themselves."""
    real = socket.getaddrinfo

    def lookup(host, port, *args, **kwargs):
        if str(host).endswith("localhost"):
            if not addresses:
                raise socket.gaierror(-2, "Name or service not known")
            return [found for address in addresses for found in real(address, port, *args, **kwargs)]
        return real(host, port, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", lookup)


@pytest.mark.parametrize("host", ["localhost", "tei.localhost", "a.b.localhost"])
@pytest.mark.parametrize("addresses", [("203.0.113.5",), ("127.0.0.1", "203.0.113.5"), ("2001:db8::1",)])
def test_a_key_goes_in_clear_text_only_to_names_of_this_machine(monkeypatch, host, addresses):
    resolving(monkeypatch, *addresses)
    for url in (f"http://{host}:1", f"http://{host}:1/?api_key=abc"):
        settings = ModelSettings(remote=RemoteSettings(endpoint=url))
        with pytest.raises(UsageError, match="not sent over plain http"):
            open_remote("tei:", settings, {"TEI_API_KEY": "k" * 20}, Report())
    with pytest.raises(UsageError, match="on the network"):
        open_remote(
            "tei:", ModelSettings(remote=RemoteSettings(endpoint=f"http://{host}:1"), offline=True), {}, Report()
        )


def test_a_name_that_resolves_elsewhere_later_is_not_connected_to(monkeypatch):
    """Checked and then looked up again, a name could change in between."""
    with Loopback(cohere) as server:
        url = server.url.replace("127.0.0.1", "tei.localhost")
        resolving(monkeypatch, "127.0.0.1")
        settings = ModelSettings(remote=RemoteSettings(retries=0, endpoint=url))
        scorer = open_remote("cohere:m", settings, {"CO_API_KEY": "k" * 20}, Report())
        scorer.score(PAIRS, Limits())
        assert len(server.seen) == 1
        scorer.close()
        scorer = open_remote("cohere:m", settings, {"CO_API_KEY": "k" * 20}, Report())
        resolving(monkeypatch, "203.0.113.5")
        with pytest.raises(RemoteError, match="cannot connect"):
            scorer.score(PAIRS, Limits())
        scorer.close()
        assert len(server.seen) == 1


def test_localhost_is_tried_at_all_of_its_addresses(monkeypatch):
    with Loopback(cohere) as server:
        resolving(monkeypatch, "127.0.0.9", "127.0.0.1")
        assert score(server.url.replace("127.0.0.1", "localhost"))


@pytest.mark.skipif(os.name == "nt", reason="rights of POSIX")
@pytest.mark.parametrize("mode", [0o600, 0o400, 0o644, 0o640, 0o604, 0o660, 0o666, 0o602])
def test_key_files_with_loose_rights_are_warned_of_or_refused(run, tmp_path, mode):
    file = tmp_path / "key"
    file.write_text("k" * 20)
    file.chmod(mode)
    report = Report()
    settings = ModelSettings(remote=RemoteSettings(api_key_file=file))
    serving = ("serve", "--keys-file", file, "-m", "./nowhere", "--port", "0", "--no-config")
    if mode & 0o002:
        with pytest.raises(UsageError, match="can be changed by everybody"):
            open_remote("cohere:m", settings, {}, report)
        assert (run(*serving).code, "changed by everybody" in run(*serving).err) == (2, True)
        return
    open_remote("cohere:m", settings, {}, report).close()
    assert any("can be read by other users" in note for note in report.notes) is bool(mode & 0o077)
    assert ("can be read by other users" in run(*serving).err) is bool(mode & 0o077)
