# ruff: noqa: F811
"""`rerank doctor` passes for a healthy installation, and each of its checks can fail."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tiny_models import made, own_caches  # noqa: F401 fixtures

from rerank_cli import doctor
from rerank_cli.report import Report
from rerank_cli.scorers.open_local import open_local
from rerank_cli.settings import ModelSettings


def test_the_builtin_is_healthy(run) -> None:
    result = run("doctor", "--json")
    assert result.code == 0, result.text
    found = result.json
    assert found["healthy"]
    assert [check["name"] for check in found["checks"]] == [
        "opens",
        "order",
        "invariance",
        "prompt",
        "finite",
        "engine",
    ]
    assert found["model"]["backend"] == "onnx"
    assert found["model"]["reason"]
    assert found["threads"]["used"] >= 1
    assert set(found["cpu"]) == {"machine", "features", "vnni", "bf16", "gpu"}
    text = run("doctor")
    assert text.code == 0
    assert "ok order: the relevant text scores higher in 5 of 5 pairs" in text.text
    assert text.lines[-1] == "result: all 6 checks passed"
    assert "  window: 96" in text.lines, "as `models show` says"


def test_a_model_of_random_weights_fails_the_order_and_exits_4(run, made) -> None:
    result = run("doctor", "-m", str(made.folder("bert")), "--json")
    assert result.code == 4
    checks = {check["name"]: check["passed"] for check in result.json["checks"]}
    assert checks == {"opens": True, "order": False, "invariance": True, "prompt": True, "finite": True, "engine": True}


def test_a_model_that_cannot_be_opened_is_reported(run, tmp_path: Path) -> None:
    result = run("doctor", "-m", str(tmp_path / "none"))
    assert result.code == 4
    assert "FAILED opens: no model folder" in result.text
    assert result.lines[-1] == "result: 1 of 1 checks FAILED: opens"
    assert run("doctor", "-m", "cohere:rerank-v3.5").code == 2


def test_a_named_endpoint_is_refused(run, tmp_path: Path) -> None:
    config = tmp_path / "rerank.toml"
    config.write_text('[endpoints.warm]\nprovider = "tei"\nurl = "http://127.0.0.1:1"\n')
    for name in ("warm", "cohere:rerank-v3.5"):
        result = run("doctor", "-m", name, "--config", config)
        assert result.code == 2
        assert "`doctor` checks local models" in result.err


def test_openvino_settings_are_read_back(run, made) -> None:
    found = run("doctor", "-m", str(made.converted("bert")), "--backend", "openvino", "--json").json
    assert found["engine"]["DYNAMIC_QUANTIZATION_GROUP_SIZE"] == "0"
    engine = next(check for check in found["checks"] if check["name"] == "engine")
    assert engine["passed"]


@pytest.fixture
def scorer():
    opened = open_local(ModelSettings(), Report())
    yield opened
    opened.close()


def broken(scorer, change) -> None:
    run = scorer.engine.run
    scorer.engine.run = lambda feeds: change(run(feeds), feeds)


@pytest.mark.parametrize(
    ("check", "change"),
    [
        (doctor.check_order, lambda logits, feeds: -logits),
        (doctor.check_invariance, lambda logits, feeds: logits + len(feeds["input_ids"])),
        (doctor.check_prompt, lambda logits, feeds: np.zeros_like(logits)),
        (doctor.check_finite, lambda logits, feeds: logits * np.float32("nan")),
    ],
)
def test_each_check_can_fail(scorer, check, change) -> None:
    assert check(scorer).passed
    broken(scorer, change)
    assert not check(scorer).passed


def test_an_engine_that_ignores_its_settings_is_reported(scorer) -> None:
    scorer.engine.settings = {"INFERENCE_PRECISION_HINT": "<Type: 'bfloat16'>", "DYNAMIC_QUANTIZATION_GROUP_SIZE": "32"}
    scorer.info = scorer.info.__class__("m", None, "openvino", "fp32", "log-odds", lambda: "d")
    assert not doctor.check_engine(scorer).passed


def test_output_is_json_or_text_only(run) -> None:
    assert json.loads(run("doctor", "--json").out)
