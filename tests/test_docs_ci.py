"""Every shell step of docs/ci runs as written, in bash, on labelled requests; only the installation is replaced."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import ROOT

KIT = ROOT / "docs" / "ci"
ACTION = yaml.safe_load((KIT / "action.yml").read_text())
WORKFLOW = yaml.safe_load((KIT / "github-workflow.yml").read_text())
GITLAB = yaml.safe_load((KIT / "gitlab-ci.yml").read_text())["search-quality"]
STEPS = {step["name"]: step for step in ACTION["runs"]["steps"]}
LABELLED = [
    {"id": "capital", "query": "What is the capital of the United States?", "relevance": [0, 0, 1],
     "documents": ["Carson City is the capital of Nevada.", "Mars is a planet.", "Washington, D.C. is the capital of the United States."]},
    {"id": "planet", "query": "which planet is red", "relevance": [0, 1],
     "documents": ["Venus is Earth's twin.", "Mars is known as the Red Planet."]},
]  # fmt: skip
WORST = [{"id": request["id"], "results": [{"index": i, "relevance_score": 1 - i / 9} for i in range(len(request["documents"]))]} for request in LABELLED]  # fmt: skip


def json_lines(records):
    return "".join(json.dumps(record) + "\n" for record in records)


class Job:
    """A checked-out repository with the kit's files, and a shell to run its steps in."""

    def __init__(self, folder: Path) -> None:
        self.work, bin_ = folder / "work", folder / "bin"
        (self.work / "search").mkdir(parents=True)
        bin_.mkdir()
        (self.work / "search" / "labelled.jsonl").write_text(json_lines(LABELLED))
        (self.work / "search" / "baseline.jsonl").write_text(json_lines(WORST))
        rerank = f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m rerank_cli "$@"\n'
        pip = f'#!/bin/sh\necho "$@" >> "{folder}/installed"\n'
        for name, text in {"rerank": rerank, "python": pip}.items():
            (bin_ / name).write_text(text)
            (bin_ / name).chmod(0o755)
        self.installed = folder / "installed"
        self.output, self.summary = folder / "output", folder / "summary"
        self.env = {
            "PATH": f"{bin_}:{os.environ['PATH']}",
            "HOME": str(folder),
            "LC_ALL": "C.UTF-8",
            "GITHUB_OUTPUT": str(self.output),
            "GITHUB_STEP_SUMMARY": str(self.summary),
        }

    def bash(self, script: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """As GitHub runs `shell: bash`."""
        argv = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
        return subprocess.run(
            argv, cwd=self.work, env=self.env | (env or {}), capture_output=True, text=True, check=False, timeout=120
        )

    def step(self, name: str, **inputs: str) -> subprocess.CompletedProcess[str]:
        """One step of the action, with its inputs put in where its `env` asks for them."""
        values = {key: str(spec.get("default", "")) for key, spec in ACTION["inputs"].items()}
        values |= {key.replace("_", "-"): value for key, value in inputs.items()}

        def put(match: re.Match[str]) -> str:
            expression = match[1].strip()
            return str(self.work) if expression == "github.workspace" else values[expression.removeprefix("inputs.")]

        step = STEPS[name]
        env = {key: re.sub(r"\$\{\{(.*?)\}\}", put, str(value)) for key, value in step.get("env", {}).items()}
        return self.bash(step["run"], env)


@pytest.fixture
def job(tmp_path):
    return Job(tmp_path)


def test_the_action_ranks_measures_and_passes(job):
    inputs = {
        "requests": "search/labelled.jsonl",
        "baseline": "search/baseline.jsonl",
        "fail_under": "nDCG@10=0.6 RR@10=0.6",
        "fail_on_drop": "nDCG@10=0.01",
    }
    for name in ("Install", "Rank", "Measure"):
        done = job.step(name, **inputs)
        assert done.returncode == 0, done.stderr
    assert job.installed.read_text() == "-m pip install --quiet rerank-cli[eval]\n"
    assert job.output.read_text() == "responses=.rerank-ci/responses.jsonl\n"
    assert "### .rerank-ci/responses.jsonl against search/baseline.jsonl" in job.summary.read_text()
    assert job.summary.read_text().count("| passed |") == 3
    first = (job.work / ".rerank-ci/responses.jsonl").read_bytes()
    again = job.step("Rank", **inputs)  # the second job finds its scores
    assert again.returncode == 0, again.stderr
    assert (job.work / ".rerank-ci/responses.jsonl").read_bytes() == first
    compared = job.bash(WORKFLOW["jobs"]["measure"]["steps"][3]["run"], {"RESPONSES": ".rerank-ci/responses.jsonl"})
    assert compared.returncode == 0, compared.stderr
    assert "### search/baseline.jsonl → .rerank-ci/responses.jsonl" in job.summary.read_text()


def test_the_action_fails_with_7_and_still_writes_the_summary(job):
    (job.work / ".rerank-ci").mkdir()
    (job.work / ".rerank-ci/responses.jsonl").write_text(json_lines(WORST))
    done = job.step("Measure", requests="search/labelled.jsonl", fail_under="RR@10=0.9")
    assert done.returncode == 7
    assert "FAILED" in job.summary.read_text()
    assert "--fail-under RR@10=0.9" in done.stderr


def test_the_action_reports_when_quality_could_not_be_measured(job):
    done = job.step("Measure", requests="search/labelled.jsonl")
    assert done.returncode == 3
    assert not job.summary.exists()
    assert job.step("Install", version="==9.9").returncode == 0
    assert job.installed.read_text().endswith("rerank-cli[eval]==9.9\n")


def test_an_input_cannot_run_commands(job):
    """Inputs reach the shell as variables only: none is pasted into a script."""
    for step in ACTION["runs"]["steps"]:
        assert "${{" not in step.get("run", "")
        assert "run" not in step or step["shell"] == "bash"
    for step in WORKFLOW["jobs"]["measure"]["steps"]:
        assert "${{" not in step.get("run", "")
    (job.work / ".rerank-ci").mkdir()
    done = job.step("Measure", requests="search/none.jsonl; touch owned", fail_under="$(touch owned)")
    assert done.returncode == 2
    assert not (job.work / "owned").exists()


def test_the_gitlab_job_runs_as_written(job):
    variables = {name: value.replace("$CI_PROJECT_DIR", str(job.work)) for name, value in GITLAB["variables"].items()}
    done = job.bash("\n".join(GITLAB["script"]), variables)
    assert done.returncode == 0, done.stderr
    after = job.bash("\n".join(GITLAB["after_script"]), variables)
    assert "| passed | --fail-under nDCG@10=0.6:" in after.stdout
    (job.work / "search" / "labelled.jsonl").write_text(
        json_lines([r | {"relevance": [1] + [0] * (len(r["relevance"]) - 1)} for r in LABELLED])
    )
    assert job.bash("\n".join(GITLAB["script"]), variables).returncode == 7


def test_the_files_agree_with_each_other():
    step = next(step for step in WORKFLOW["jobs"]["measure"]["steps"] if "rerank-eval" in step.get("uses", ""))
    assert set(step["with"]) <= set(ACTION["inputs"])
    assert {name for name, spec in ACTION["inputs"].items() if spec.get("required")} <= set(step["with"])
    used = set(re.findall(r"inputs\.([a-z-]+)", (KIT / "action.yml").read_text()))
    assert used == set(ACTION["inputs"])
    readme = (KIT / "README.md").read_text()
    assert all(f"({path.name})" in readme for path in KIT.iterdir() if path.name != "README.md")


def test_the_workflow_for_platforms_runs_tests_that_exist() -> None:
    steps = yaml.safe_load((KIT / "platforms.yml").read_text())["jobs"]["core"]["steps"]
    commands = " ".join(step.get("run", "") for step in steps)
    files = re.findall(r"\S+\.(?:py|jsonl)", commands)
    assert len(files) > 5
    assert all((ROOT / file).is_file() for file in files)
