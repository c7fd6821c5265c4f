"""Each command of docs/providers runs as written, over TLS to the host that it names; the overview is up to date.

A CONNECT proxy on loopback leads every host name to one server, so not even the URLs are rewritten; only the ports of
`localhost` are.
"""

from __future__ import annotations

import json
import re
import shlex
from urllib.parse import urlsplit

import pytest
from remote.loopback import DOCUMENTED, Loopback, Tunnel, as_json, make_certificate
from remote.overview import PAGE, PROMISED, rewritten

from rerank_cli.scorers.remote.providers import load_table
from rerank_cli.scorers.remote.wire import get, put

FOLDER = PAGE.parent
PAGES = sorted(path.name for path in FOLDER.glob("*.md"))
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.DOTALL | re.MULTILINE)
FILE = re.compile(r"^<!-- file: (\S+) -->\n```\w+\n(.*?)^```$", re.DOTALL | re.MULTILINE)
KEY = "sk-docs-0123456789"


def commands(page: str) -> list[tuple[dict[str, str], list[str]]]:
    """(environment, argv) of each `rerank` line of a page."""
    found, env = [], {}
    for block in BLOCK.findall((FOLDER / page).read_text()):
        for line in block.replace("\\\n", " ").splitlines():
            if line.startswith("export "):
                name, _, value = line.removeprefix("export ").partition("=")
                env[name] = KEY if value == "…" else value
            elif line.strip():
                argv = shlex.split(line)
                assert argv[0] == "rerank", line
                found.append((dict(env), argv[1:]))
    return found


COMMANDS = [(page, env, argv) for page in PAGES for env, argv in commands(page)]


def answer(seen):
    """A reply in the shape that the asked host documents, else in the shape of the documents that it gets."""
    if "messages" in seen.body:
        return as_json({"choices": [{"message": {"content": "[1] > [2]"}}]})
    host = seen.headers["host"].partition(":")[0]
    named = [row for row in load_table().rows.values() if is_host(row, host) and get(seen.body, row.docs)]
    row = next(iter(named), load_table().rows["tei" if "texts" in seen.body else "cohere-v2"])
    scores = [1 / (i + 1) for i in range(len(get(seen.body, row.docs)))]
    if row.index_kind == "number":
        scores = [{row.index: i, row.score: score} for i, score in enumerate(scores)]
    elif row.index_kind == "text":
        scores = [{row.index: str(i), row.score: score} for i, score in enumerate(scores)]
    reply = {}
    if row.results:
        put(reply, row.results, scores)
    return as_json(reply or scores)


def is_host(row, host):
    pattern = re.sub(r"\\{\w+\\}", "[a-z0-9-]+", re.escape(urlsplit(row.base).hostname))
    return host != "localhost" and bool(re.fullmatch(rf"(\w+-)?{pattern}", host))


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("docs")
    text = "".join((FOLDER / page).read_text() for page in PAGES)
    named = set(re.findall(r"https://([a-z0-9.-]+)", text)) | {"localhost"}
    both, public = make_certificate(folder, sorted(named))
    documents = [{"text": "Washington, D.C. is the capital of the United States."}, {"text": "Refunds take a week."}]
    (folder / "docs.jsonl").write_text("".join(json.dumps(d) + "\n" for d in documents))
    emails = [{"Title": "Wrong item", "Content": "I received the wrong item."}, {"Title": "Hi", "Content": "Hello"}]
    (folder / "emails.json").write_text(json.dumps(emails))
    (folder / "key.txt").write_text(KEY + "\n")
    for name, content in FILE.findall(text):
        (folder / name).write_text(content)
    with Loopback(answer, tls=both) as secure, Loopback(answer) as plain, Tunnel(secure.port) as proxy:
        yield folder, {"HTTPS_PROXY": proxy.url, "SSL_CERT_FILE": str(public)}, secure, plain, proxy


@pytest.mark.parametrize(
    ("page", "env", "argv"), COMMANDS, ids=[f"{page}-{i}" for i, (page, _, _) in enumerate(COMMANDS)]
)
def test_each_command_of_the_pages_runs(run, world, monkeypatch, page, env, argv):
    if any(arg.startswith("bedrock:") for arg in argv):
        pytest.importorskip("botocore")
    folder, network, secure, plain, proxy = world
    monkeypatch.chdir(folder)
    for server in (secure, plain, proxy):
        (server.asked if server is proxy else server.seen).clear()
    argv = [re.sub(r"^http://localhost:\d+", plain.url.replace("127.0.0.1", "localhost"), arg) for arg in argv]
    done = run(*argv, "-f", "json", env=network | env)
    assert done.code == 0, done.err
    assert KEY not in done.err + done.text
    if "--dry-run" in argv:
        assert not secure.seen
        return
    assert len(done.json["results"]) == 2
    seen = (secure.seen + plain.seen)[-1]
    assert re.search(r"/rerank$|:rank$|/invoke$|/v1/inference/|/ai/run/|/v1/decisions$|/chat/completions$", seen.path)
    if secure.seen:
        assert KEY in str(seen.headers)
        [host] = {asked.partition(":")[0] for asked in proxy.asked}
        assert host == seen.headers["host"].partition(":")[0]


def test_azure_pages_reach_the_documented_paths(run, world, monkeypatch):
    folder, network, secure, *_ = world
    monkeypatch.chdir(folder)
    secure.seen.clear()
    env = network | {"AZURE_AI_API_KEY": KEY}
    run("-q", "q", "-m", "azure:", "--endpoint", "https://my-rerank.eastus2.models.ai.azure.com", "docs.jsonl", env=env)
    run("-q", "q", "-m", "azure:M", "--endpoint", "https://my-resource.services.ai.azure.com", "docs.jsonl", env=env)
    wanted = [DOCUMENTED[name]["path"] for name in ("azure-serverless", "azure-foundry")]
    assert [seen.path for seen in secure.seen] == wanted


def test_the_overview_is_up_to_date():
    assert PAGE.read_text() == rewritten(PAGE.read_text()), "run `python tests/remote/overview.py`"


def test_each_promised_provider_has_a_page_with_examples():
    promised = {"cohere", "azure", "jina", "voyage", "tei", "vllm", "litellm", "new-api"} | set(PROMISED.values())
    assert {f"{name}.md" for name in promised} <= set(PAGES)
    assert {page for page, _, _ in COMMANDS} == set(PAGES)


def test_links_between_provider_pages_exist():
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", (FOLDER / page).read_text()):
            assert (FOLDER / target).exists(), f"{page}: {target}"
