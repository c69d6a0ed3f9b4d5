"""The files for a team: compose.yaml by the compose specification's schema and by what we promise of it, the Dockerfile
by what can be checked without an engine. tests/prove/test_topology.py runs the services."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
import yaml

from tests.compose import FILE, ROOT, SECRETS, read_services

DOCKERFILE = (ROOT / "deployments" / "Dockerfile").read_text("utf-8")
EXAMPLE = (ROOT / "deployments" / ".env.example").read_text("utf-8")
TEAM = read_services(SECRETS)
OURS = [name for name in TEAM if name != "postgres"]


def test_compose_fits_the_specification():
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(FILE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", SECRETS)
def test_a_missing_password_is_refused(name):
    with pytest.raises(KeyError, match=name):
        read_services({k: v for k, v in SECRETS.items() if k != name})


def test_no_secret_stands_in_a_file():
    plain = yaml.safe_load(FILE.read_text("utf-8"))
    said = [f"{k}={v}" for s in plain["services"].values() for k, v in s.get("environment", {}).items()]
    secret = [line for line in said if re.search(r"PASSWORD|SECRET|AUTH|CONNECTION_URL|BACKEND_STORE", line)]
    assert len(secret) >= 6
    assert [line for line in secret if "${" not in line] == []
    assert not re.findall(r"^\w*(?:PASSWORD|AUTH|SECRET\w*|KEY_ID)=\S", EXAMPLE, re.M)


def test_every_variable_is_in_the_example():
    used = set(re.findall(r"\$\{(\w+)", FILE.read_text("utf-8")))
    assert used == set(re.findall(r"^#?([A-Z]\w+)=", EXAMPLE, re.M))


def test_images_are_pinned():
    images = [service["image"] for service in TEAM.values()]
    images += re.findall(r"^FROM (\S+)", DOCKERFILE, re.M) + re.findall(r"^ARG PYTHON=(\S+)", DOCKERFILE, re.M)
    pinned = [i for i in images if "$" not in i]
    assert pinned
    assert [i for i in pinned if not re.search(r"(^|:)v?\d+\.\d+[\w.-]*$", i)] == []


def test_everything_that_stays_has_a_health_check_and_comes_back():
    for name, service in TEAM.items():
        if service["restart"] == "no":
            continue
        assert service["restart"] == "unless-stopped", name
        assert service["healthcheck"]["test"][0] == "CMD", name


def test_nothing_is_reached_from_other_machines_by_default():
    ports = [port for service in TEAM.values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_our_services_run_without_rights():
    assert re.findall(r"^USER (\S+)", DOCKERFILE, re.M)[-1] == "10001:10001"
    for name in OURS:
        assert TEAM[name]["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in TEAM[name]["security_opt"], name


def test_services_wait_for_those_they_need():
    for name, service in TEAM.items():
        for other, how in service.get("depends_on", {}).items():
            assert other in TEAM, name
            done = how["condition"] == "service_completed_successfully"
            assert done == (TEAM[other]["restart"] == "no"), (name, other)
            assert done or "healthcheck" in TEAM[other], (name, other)


def test_what_the_image_copies_is_there_and_reaches_it():
    copied = re.findall(r"^COPY (?!--)(.+) \S+$", DOCKERFILE, re.M)
    paths = {path for line in copied for path in line.split()}
    allowed = set(re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text("utf-8"), re.M))
    assert paths == allowed
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_volumes_are_declared():
    declared = yaml.safe_load(FILE.read_text("utf-8"))["volumes"]
    named = {v.partition(":")[0] for s in TEAM.values() for v in s.get("volumes", []) if not v.startswith(".")}
    assert named == set(declared)


def test_the_image_has_the_extras_that_the_project_names():
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    extras = re.findall(r"--extra (\w+)", DOCKERFILE)
    assert extras
    assert [extra for extra in extras if not re.search(rf"^{extra} = \[", project, re.M)] == []
