"""Puts uv into a folder, for `make` where uv is missing: `python3 deployments/get_uv.py .uv`.

Runs on any Python from 3.6 on, with or without ensurepip and pip (Debian's and Ubuntu's python3 has neither): then
pip's own wheel is fetched, which runs without being installed."""

import os
import re
import subprocess
import sys
import tempfile
import urllib.error
import urllib.parse
import urllib.request

PACKAGE = "uv>=0.9"


def main(folder):
    """Tries the three ways in turn; returns the exit code."""
    uv = os.path.join(folder, "bin", "uv")
    print(f"uv is not on PATH: installing it into {folder} ...")
    here = sys.version_info[:2]
    if here < (3, 11):
        print(f"python3 is {here[0]}.{here[1]}; uv will look for 3.11 or newer, or fetch one.")
    for way in (install_by_venv, install_by_pip, install_by_wheel):
        if way(folder) and os.path.exists(uv):
            return 0
    print(
        "uv could not be installed. Either the Python package index can't be reached, or python3 lacks parts of its\n"
        "library: on Debian or Ubuntu `apt install python3-venv`. Or install uv yourself:\n"
        "https://docs.astral.sh/uv/getting-started/installation/"
    )
    return 1


def install_by_venv(folder):
    """Whether a virtual environment with uv could be made."""
    made = run_quietly(sys.executable, "-m", "venv", folder)
    return made and run_quietly(os.path.join(folder, "bin", "python"), "-m", "pip", "install", "-q", PACKAGE)


def install_by_pip(folder):
    """Whether this Python's own pip could put it there."""
    return run_quietly(sys.executable, "-m", "pip", "install", "-q", "--upgrade", "--target", folder, PACKAGE)


def install_by_wheel(folder):
    """Whether pip, run from its wheel, could put it there."""
    try:
        with tempfile.TemporaryDirectory() as place:
            wheel = fetch_pip(place)
            pip = os.path.join(wheel, "pip")
            return run_quietly(sys.executable, pip, "install", "-q", "--upgrade", "--target", folder, PACKAGE)
    except (OSError, ValueError) as error:
        print(f"pip's wheel could not be fetched: {error}")
        return False


def fetch_pip(place):
    """The path of pip's newest wheel, fetched from the index that pip would use."""
    index = os.environ.get("PIP_INDEX_URL") or os.environ.get("UV_DEFAULT_INDEX") or "https://pypi.org/simple"
    page = index.rstrip("/") + "/pip/"
    html = urllib.request.urlopen(page, timeout=60).read().decode()
    links = re.findall(r'href="([^"]*/(pip-(\d+)\.(\d+)(?:\.(\d+))?-py3-none-any\.whl)[^"]*)"', html)
    if not links:
        raise ValueError(f"no wheel of pip on {page}")
    newest = max(links, key=lambda link: tuple(int(part or 0) for part in link[2:]))
    path = os.path.join(place, newest[1])
    with open(path, "wb") as file:
        file.write(urllib.request.urlopen(urllib.parse.urljoin(page, newest[0]), timeout=60).read())
    return path


def run_quietly(*command):
    """Whether the command succeeded. It says nothing: what one way lacks, the next may do without."""
    return subprocess.call(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) == 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
