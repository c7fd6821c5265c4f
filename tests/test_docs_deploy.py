"""The files of docs/deploy: commands of the image run, the unit and the alerts are right, and name what exists.

Nothing here builds an image. `promtool` and `systemd-analyze` are used with `-m slow`, where they are installed.
"""

from __future__ import annotations

import configparser
import json
import re
import shutil
import subprocess
import sys
import urllib.request

import pytest
import yaml
from conftest import ROOT
from serve.harness import Program, serving

from rerank_cli.cli.serve import COMMAND

KIT = ROOT / "docs" / "deploy"
DOCKERFILE = re.sub(r"(?m)^#.*\n", "", (KIT / "Dockerfile").read_text()).replace("\\\n", " ").splitlines()
ALERTS = yaml.safe_load((KIT / "alerts.yml").read_text())["groups"]
FLAGS = {flag for option in COMMAND.options for flag in option.flags}


def of(word):
    """What follows each use of an instruction."""
    return [line.partition(" ")[2].strip() for line in DOCKERFILE if line.startswith(word + " ")]


def command_of(instruction):
    """The JSON form, which needs no shell."""
    return json.loads(instruction[instruction.index("[") :])


def test_the_image_has_what_it_copies_and_its_build_ignores_nothing_of_it():
    copied = [word for line in of("COPY") if "--from" not in line for word in line.split()[:-1]]
    kept = {line[1:] for line in (KIT / "Dockerfile.dockerignore").read_text().splitlines() if line.startswith("!")}
    assert set(copied) == kept
    assert all((ROOT / name).exists() for name in copied)


def test_the_image_runs_as_another_user_than_root():
    (user,) = of("USER")
    assert user == "10001"
    assert any(f"rerank:x:{user}:{user}:" in line for line in of("RUN"))
    last = max(number for number, line in enumerate(DOCKERFILE) if line.startswith("USER"))
    assert not any(line.startswith(("RUN", "COPY")) for line in DOCKERFILE[last:])


def test_the_image_is_a_filter_and_its_stage_serve_a_server_that_its_check_finds_healthy(tmp_path):
    (program,), ((server_command,), plain) = command_of(of("ENTRYPOINT")[0]), map(command_of, of("CMD"))
    assert (program, server_command, plain) == ("rerank", "serve", ["--help"])
    assert DOCKERFILE.index("FROM base AS serve") < DOCKERFILE.index("FROM base")
    name, _, host = of("ENV")[-1].partition("=")
    assert name == "RERANK_HOST"
    server = Program(tmp_path, "--host", host)
    check = [sys.executable, *command_of(of("HEALTHCHECK")[0])[1:]]
    here = [word.replace(":8080", f":{server.port}") for word in check]
    try:
        assert subprocess.run(here, check=False, capture_output=True).returncode == 0
    finally:
        assert server.terminate() == 143
    assert subprocess.run(here, check=False, capture_output=True).returncode != 0


def test_a_draining_server_is_not_healthy():
    with serving() as server:
        server.app.admission.draining = True
        with pytest.raises(urllib.error.HTTPError, match="503") as caught:
            urllib.request.urlopen(f"{server.url}/ready", timeout=3)
        caught.value.close()


def unit():
    parser = configparser.RawConfigParser(strict=False)  # a unit may repeat a key
    parser.optionxform = str
    parser.read(KIT / "rerank.service")
    return parser


def test_the_unit_starts_serve_with_options_that_exist():
    service = unit()["Service"]
    assert set(re.findall(r"--[\w-]+", service["ExecStart"])) <= FLAGS
    assert "HUP" in service["ExecReload"]
    assert service["SuccessExitStatus"] == "143"
    longest = next(option.default for option in COMMAND.options if "--request-timeout" in option.flags)
    assert int(service["TimeoutStopSec"]) > longest + 5


@pytest.mark.slow  # and other versions of the tool may say something else
@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_accepts_the_unit(tmp_path):
    text = (KIT / "rerank.service").read_text().replace("/opt/rerank/bin/rerank", shutil.which("env"))
    (tmp_path / "rerank.service").write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", tmp_path / "rerank.service"], capture_output=True, text=True, check=False
    )
    assert "rerank.service" not in done.stderr, done.stderr


def test_alerts_name_metrics_and_labels_that_exist():
    with serving() as server:
        server.post("/v2/rerank", query="q", documents=["a"])
        server.app.metrics.failed("m", "500")
        text = server.get("/metrics").body.decode()
    names = set(re.findall(r"^(\w+)[{ ]", text, re.MULTILINE)) | {"up"}
    labels = set(re.findall(r"[{,](\w+)=", text)) | {"job", "instance"}
    for rule in ALERTS[0]["rules"]:
        wanted = set(re.findall(r"\b(rerank_\w+|up)\b", re.sub(r'"[^"]*"', "", rule["expr"])))
        assert wanted, rule
        assert wanted <= names, rule["alert"]
        assert set(re.findall(r"(\w+)[!=]~?[=~]?\"", rule["expr"])) <= labels, rule["alert"]
        assert set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"])) <= labels


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool (Debian's prometheus)")
def test_promtool_accepts_the_alerts():
    done = subprocess.run(
        ["promtool", "check", "rules", KIT / "alerts.yml"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
