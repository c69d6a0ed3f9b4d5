"""A version's signature: made with a private key when it is registered, checked with the public one before it is used.

The digest tells that files are those that were registered, as long as nobody can change tags; a signature tells who
made them, whoever may write into the store. Both keys are files (PEM, elliptic curves) that the environment names.
Extra `signing`: model-signing, whose own command checks the same signature."""

# pyright: reportMissingImports=false
from __future__ import annotations

import os
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from models.errors import InputError, NestorError
from models.text.safe import shorten
from tasks.tracking.store import describe_error

FILE = "model.sig"
SIGN, VERIFY, PASSWORD = "NESTOR_SIGN_WITH", "NESTOR_VERIFY_WITH", "NESTOR_SIGN_PASSWORD"


def _find_key(variable: str) -> Path | None:
    """The key file that the environment names; None where it names none. InputError where it can't be used."""
    path = os.environ.get(variable)
    if not path:
        return None
    if find_spec("model_signing") is None:
        raise InputError(f"{variable} needs the package model-signing: uv sync --extra signing.")
    if not Path(path).is_file():
        raise InputError(f"{variable}: there is no key file {shorten(path, 200)}.")
    return Path(path)


def check_signing() -> None:
    """InputError where versions are to be signed, and can't be: before hours are spent on one."""
    if key := _find_key(SIGN):
        _make_signer(key)


def _make_signer(key: Path) -> Any:
    from model_signing.signing import Config

    try:
        return Config().use_elliptic_key_signer(private_key=key, password=os.environ.get(PASSWORD))
    except Exception as error:  # a wrong password, another kind of key, no key at all: each has an error of its own
        raise InputError(
            f"{SIGN}: {key} is no private key that can be used ({describe_error(error)}). It is a PEM file of an "
            "elliptic "
            f"curve: openssl ecparam -name prime256v1 -genkey -noout -out {key.name}. {PASSWORD} holds its password."
        ) from None


def sign_folder(folder: Path) -> None:
    """Writes the signature of all files in the folder beside them, where the environment names a key."""
    if key := _find_key(SIGN):
        file = folder.with_name(FILE)
        _make_signer(key).sign(folder, file)
        shutil.move(file, folder / FILE)


def verify_signature(folder: Path, label: str) -> None:
    """Returns where the files are those that the owner of the key signed, or no key is asked for; NestorError else. The
    signature is taken out of the folder, which is the caller's own copy."""
    key = _find_key(VERIFY)
    if key is None:
        return
    from model_signing import verifying

    if not (folder / FILE).exists():
        raise NestorError(f"{label} is not signed, and {VERIFY} asks for a signature; it is not loaded.")
    try:
        verifier = verifying.Config().use_elliptic_key_verifier(public_key=key)
    except Exception as error:
        raise InputError(f"{VERIFY}: {key} is no public key (PEM, elliptic curve): {describe_error(error)}.") from None
    file = folder.with_name(FILE)
    shutil.move(folder / FILE, file)
    try:
        verifier.verify(folder, file)
    except Exception as error:  # whatever is wrong with it, it is no proof
        raise NestorError(
            f"{label} is not what the owner of {key} signed ({describe_error(error)}); it is not loaded. Find out who "
            "changed it, and use another version."
        ) from error
