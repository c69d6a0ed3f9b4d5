"""Signatures of versions: what was signed is loaded, what was changed is not, whoever changed the digest with it."""

from __future__ import annotations

import shutil
from pathlib import Path
from urllib.request import url2pathname

import pytest
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ec

from models.errors import InputError, NestorError
from tasks.registry import signing
from tasks.registry.load import load_version
from tasks.registry.register import digest_folder
from tasks.tracking.store import connect_store
from tests.versions import Registry, make_digits

pytest.importorskip("model_signing")


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """Files of two pairs of keys: private, public, and those of somebody else."""
    folder, found = tmp_path_factory.mktemp("keys"), []
    for name in ("ours", "theirs"):
        key = ec.generate_private_key(ec.SECP256R1())
        private, public = folder / f"{name}.pem", folder / f"{name}.pub"
        private.write_bytes(key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption()))
        public.write_bytes(key.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo))
        found += [private, public]
    return found


@pytest.fixture(scope="module")
def signed(keys, tmp_path_factory):
    """A registry with the signed version digits/1 and the unsigned version plain/1."""
    registry = Registry(tmp_path_factory.mktemp("registry"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(signing.SIGN, str(keys[0]))
        registry.train("digits", make_digits())
    registry.train("plain", make_digits())
    return registry


def folder_of(registry, name):
    """The folder of a version's files."""
    client = connect_store(registry.address)

    where = client.get_model_version_download_uri(name, "1")
    return client, Path(url2pathname(where.removeprefix("file://")))


def test_a_signed_version_is_loaded_with_the_key_and_without(signed, keys, monkeypatch):
    assert load_version("digits", signed.address).version == 1
    monkeypatch.setenv(signing.VERIFY, str(keys[1]))
    assert load_version("digits", signed.address).version == 1


def test_somebody_elses_key_and_no_signature_are_refused(signed, keys, monkeypatch):
    monkeypatch.setenv(signing.VERIFY, str(keys[1]))
    with pytest.raises(NestorError, match=r"plain/1 is not signed, and NESTOR_VERIFY_WITH asks for a signature"):
        load_version("plain", signed.address)
    monkeypatch.setenv(signing.VERIFY, str(keys[3]))
    with pytest.raises(NestorError, match=r"digits/1 is not what the owner of .*theirs.pub signed"):
        load_version("digits", signed.address)


def test_files_that_were_changed_with_their_digest_are_refused(signed, keys, tmp_path, monkeypatch):
    client, folder = folder_of(signed, "digits")
    whole = shutil.copytree(folder, tmp_path / "whole")
    monkeypatch.setenv(signing.VERIFY, str(keys[1]))
    harms = [
        lambda: (folder / "nestor.json").write_text((folder / "nestor.json").read_text() + " "),
        lambda: (folder / "more.py").write_text("1"),
        lambda: (folder / "conda.yaml").unlink(),
        lambda: (folder / signing.FILE).write_text(""),
        lambda: (folder / signing.FILE).write_text((folder / signing.FILE).read_text().replace("a", "b")),
    ]
    for harm in harms:
        harm()
        client.set_model_version_tag("digits", "1", "nestor.digest", digest_folder(folder))
        with pytest.raises(NestorError, match=r"digits/1 is not what the owner of"):
            load_version("digits", signed.address)
        shutil.rmtree(folder)
        shutil.copytree(whole, folder)
        client.set_model_version_tag("digits", "1", "nestor.digest", digest_folder(folder))
    assert load_version("digits", signed.address).version == 1


@pytest.mark.parametrize(("key", "says"), [("none.pem", "there is no key file"), (1, "is no private key")])
def test_a_key_that_cant_sign_is_refused_before_anything_is_trained(keys, monkeypatch, key, says):
    monkeypatch.setenv(signing.SIGN, str(keys[key] if isinstance(key, int) else key))
    with pytest.raises(InputError, match=says):
        signing.check_signing()
