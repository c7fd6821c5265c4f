"""`rerank serve` with several models: who answers, who computes when, and SIGHUP with right and wrong configurations."""

from __future__ import annotations

import http.client
import json
import os
import signal
import threading
import time

import pytest
from free_scorer import FreeScorer
from remote.loopback import Loopback
from serve.harness import ROOT, HeldScorer, Program, wait_for
from serve.workers import submit, values

from rerank_cli.errors import ModelError
from rerank_cli.server.models import ModelPlan, Opener
from rerank_cli.server.turn import Turn

KEY = "server-key-1234567890"
QUERY, DOCS = "reset the router", ["The office opens at nine.", "Hold the pin of the router."]


def opener():
    return Opener(lambda _pairs, _seconds: None, Turn(), 8)


@pytest.fixture(scope="module")
def provider():
    with Loopback() as server:
        yield server


@pytest.fixture(scope="module")
def program(tmp_path_factory, provider):
    home = tmp_path_factory.mktemp("home")
    argv = ("-m", "builtin", "-m", "cohere:rerank-v3.5", "--endpoint", provider.url, "--served-name", "ours")
    argv += ("--served-name", "theirs=cohere:rerank-v3.5")
    program = Program(home, *argv, env={"CO_API_KEY": KEY})
    yield program
    program.close()
    assert "Traceback" not in program.log


REMOTE = "cohere-v2:rerank-v3.5"
NAMES = {
    None: "builtin",
    "builtin": "builtin",
    "ours": "builtin",
    "theirs": REMOTE,
    "cohere:rerank-v3.5": REMOTE,
    REMOTE: REMOTE,
    "rerank-v3.5": REMOTE,
}


@pytest.mark.parametrize("name", NAMES)
def test_the_model_of_a_request_chooses(program, name):
    answer = program.post("/v2/rerank", query=QUERY, documents=DOCS, model=name)
    assert (answer.status, answer.json["model"], answer.json["meta"]["warnings"]) == (200, NAMES[name], [])


def test_an_unknown_model_is_answered_by_the_first(program):
    answer = program.post("/v2/rerank", query=QUERY, documents=DOCS, model="other")
    assert (answer.json["model"], answer.json["meta"]["warnings"]) == (
        "builtin",
        ["model `other` is served by `builtin`"],
    )


def test_all_names_are_listed_and_labels_are_models(program):
    listed = program.get("/v1/models").json
    names = ["builtin", "ours", "cohere:rerank-v3.5", "theirs", "rerank-v3.5", REMOTE]
    assert [row["id"] for row in listed["data"]] == names
    assert [row["name"] for row in listed["models"]] == names
    assert program.get("/ready").json == {"status": "ready", "model": "builtin"}
    text = program.get("/metrics").body.decode()
    assert f'rerank_documents_total{{model="{REMOTE}"}}' in text
    assert 'rerank_documents_total{model="builtin"}' in text
    assert "other" not in text, "names of requests are no labels"


def test_strict_refuses_an_unknown_model(tmp_path, provider):
    argv = ("-m", "builtin", "-m", "cohere:x", "--endpoint", provider.url, "--strict")
    program = Program(tmp_path, *argv, env={"CO_API_KEY": KEY})
    statuses = [program.post("/v2/rerank", query="q", documents=["a"], model=name).status for name in ("x", "other")]
    program.close()
    assert statuses == [200, 404]


def test_models_by_variable_and_file(tmp_path, provider):
    file = tmp_path / "rerank.toml"
    file.write_text(
        f'[serve]\nmodel = ["builtin", "far"]\n[endpoints.far]\nprovider = "cohere"\nurl = "{provider.url}"\n'
        'model = "named"\napi_key_env = "FAR"\n'
    )
    by_file = Program(tmp_path, "--config", str(file), env={"FAR": KEY})
    found = by_file.post("/v2/rerank", query=QUERY, documents=["by file"], model="far").json["model"]
    by_file.close()
    by_variable = Program(tmp_path, "--config", str(file), env={"FAR": KEY, "RERANK_MODEL": "far\nbuiltin"})
    first = by_variable.post("/v2/rerank", query=QUERY, documents=["by variable"]).json["model"]
    by_variable.close()
    assert (found, first) == ("cohere-v2:named", "cohere-v2:named")


def test_local_models_score_one_after_another():
    """Or two of them would use twice as many threads as there are cores."""
    active, most = [0], [0]

    class Counting(FreeScorer):
        def score(self, pairs, limits, advance=None):
            active[0] += 1
            most[0] = max(most[0], active[0])
            time.sleep(0.002)
            active[0] -= 1
            return super().score(pairs, limits, advance)

    models = opener().open([ModelPlan((name,), open_scorer=Counting) for name in "abc"])
    jobs = [submit(model.worker, ["1", "2"]) for _ in range(10) for model in models.served]
    assert all(done.wait(30) for _, done in jobs)
    models.stop()
    assert most == [1]
    assert all(values(job) == [1.0, 2.0] for job, _ in jobs)


def test_a_busy_model_does_not_keep_another_one_waiting():
    """The turn goes round: of two models that always have work, each gets every second call."""
    order = []

    class Noting(FreeScorer):
        def __init__(self, name):
            super().__init__()
            self.name = name

        def score(self, pairs, limits, advance=None):
            order.append(self.name)
            return super().score(pairs, limits, advance)

    held = HeldScorer()
    plans = [ModelPlan(("held",), open_scorer=lambda: held)]
    plans += [ModelPlan((name,), open_scorer=lambda name=name: Noting(name)) for name in "ab"]
    models = opener().open(plans)
    first = submit(models.served[0].worker, ["1"])
    assert held.entered.acquire(timeout=30)
    long = ["word " * 2000] * 12  # several calls each
    jobs = [submit(model.worker, long) for model in models.served[1:]]
    wait_for(lambda: len(models.served[0].worker._turn._waiting) == 2)
    held.release()
    assert all(done.wait(30) for _, done in [first, *jobs])
    models.stop()
    calls = min(order.count("a"), order.count("b"))
    assert calls > 2
    assert all(order[i] != order[i + 1] for i in range(2 * calls - 1)), order


def test_a_model_that_cannot_be_opened_leaves_nothing_behind():
    def broken():
        raise ModelError("no such model")

    before = threading.active_count()
    with pytest.raises(ModelError, match="no such model"):
        opener().open([ModelPlan(("a",), open_scorer=FreeScorer), ModelPlan(("b",), open_scorer=broken)])
    wait_for(lambda: threading.active_count() <= before)


def test_a_model_that_was_kept_once_is_still_in_use():
    """Requests before and after a reload are counted together, or the next one would close the model too early."""
    made, plan = opener(), ModelPlan(("a",), identity="a", open_scorer=FreeScorer)
    before = made.open([plan])
    with before.first.in_use():
        after = made.open([ModelPlan(("b",), identity="a", open_scorer=FreeScorer)], before.served)
        assert after.first.requests == 1
    assert (after.first.requests, sorted(after.by_name)) == (0, ["b", "free"])
    after.stop()


# --- SIGHUP ---


def reload(program, said="reloaded"):
    lines = len(program.lines)
    os.kill(program.process.pid, signal.SIGHUP)
    wait_for(lambda: any(said in line for line in program.lines[lines:]))


@pytest.fixture
def reloadable(tmp_path, provider):
    keys, file = tmp_path / "keys", tmp_path / "serve.toml"
    keys.write_text("one\n")
    keys.chmod(0o600)
    file.write_text('[serve]\nmodel = ["builtin"]\n')
    program = Program(tmp_path, "--keys-file", str(keys), "--config", str(file), env={"FAR": KEY})
    yield program, keys, file
    program.close()
    assert "Traceback" not in program.log


def ask(program, key="one", **members):
    return program.post("/v2/rerank", query=QUERY, documents=DOCS, headers={"api-key": key}, **members)


def test_keys_are_read_again(reloadable):
    program, keys, _ = reloadable
    assert [ask(program, key).status for key in ("one", "two")] == [200, 401]
    keys.write_text("two\n")
    reload(program)
    assert [ask(program, key).status for key in ("one", "two")] == [401, 200]


def test_models_and_limits_are_read_again_without_dropping_a_connection(reloadable, provider):
    program, _, file = reloadable
    connection = http.client.HTTPConnection("127.0.0.1", program.port, timeout=60)

    def on_it(model):
        body = json.dumps({"query": QUERY, "documents": DOCS, "model": model})
        connection.request("POST", "/v2/rerank", body, {"content-type": "application/json", "api-key": "one"})
        reply = connection.getresponse()
        return json.loads(reply.read())

    assert on_it("far")["model"] == "builtin"
    socket = connection.sock
    file.write_text(
        f'[serve]\nmodel = ["builtin", "far"]\nmax_documents = 3\nmax_connections = 9\n[endpoints.far]\nprovider = "cohere"\n'
        f'url = "{provider.url}"\nmodel = "m"\napi_key_env = "FAR"\n'
    )
    reload(program)
    assert "only a restart changes --max-connections" in program.log
    assert on_it("far")["model"] == "cohere-v2:m"
    assert connection.sock is socket
    connection.close()
    assert ask(program).status == 200
    assert program.post("/v2/rerank", query="q", documents=["a"] * 4, headers={"api-key": "one"}).status == 400
    assert sum("loaded" in line or "requests for" in line for line in program.lines) == 2, (
        "builtin was not opened again"
    )


BROKEN = {
    "no TOML": ("file", "[serve\n", "serve.toml"),
    "an unknown key": ("file", "[serve]\nmodle = 1\n", "did you mean `model`"),
    "a model that is not there": ("file", '[serve]\nmodel = ["builtin", "./nowhere"]\n', "nowhere"),
    "a provider without a key": ("file", '[serve]\nmodel = ["cohere:x"]\n', "CO_API_KEY"),
    "no keys": ("keys", "\n", "has no key"),
    "everybody may change the keys": ("rights", "", "chmod 600"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_configuration_changes_nothing(reloadable, name):
    program, keys, file = reloadable
    what, text, words = BROKEN[name]
    if what == "rights":
        keys.chmod(0o666)
    else:
        {"file": file, "keys": keys}[what].write_text(text)
    reload(program, "not reloaded, the former configuration stays")
    wait_for(lambda: words in program.log)
    assert [ask(program, key).status for key in ("one", "two")] == [200, 401]
    assert program.get("/ready").status == 200
    keys.chmod(0o600)
    keys.write_text("two\n")
    file.write_text('[serve]\nmodel = ["builtin"]\n')
    reload(program)
    assert ask(program, "two").status == 200


def test_a_closed_terminal_still_ends_a_server_in_the_foreground(tmp_path):
    import pty
    import subprocess
    import sys

    main, side = pty.openpty()
    env = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    argv = [sys.executable, "-m", "rerank_cli", "serve", "--port", "0"]
    child = subprocess.Popen(argv, stdin=side, stdout=side, stderr=side, env=env, start_new_session=True)
    os.close(side)
    seen = b""
    while b"serving" not in seen:
        seen += os.read(main, 1000)
    os.close(main)
    os.kill(child.pid, signal.SIGHUP)  # as the system does to the foreground of a terminal that is gone
    assert child.wait(30) == 143
