"""Certificates for the servers of these tests: a right one, one that is over, one of another host, one of another authority.

Law of this file: OpenSSL's own command makes them, so nothing more is installed.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

_AUTHORITY = """
[ca]
default_ca = here
[here]
database = {folder}/index.txt
serial = {folder}/serial
new_certs_dir = {folder}
default_md = sha256
policy = any
copy_extensions = copy
[any]
commonName = supplied
"""
HERE, ELSEWHERE = "IP:127.0.0.1,DNS:localhost", "DNS:elsewhere.example"
OVER = ("20200101000000Z", "20200102000000Z")


def _run(*words: str | Path) -> None:
    done = subprocess.run(["openssl", *map(str, words)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


class Authority:
    """Signs certificates. `file` is its own, as a client is given it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        self.file, self.key, self.settings = folder / "ca.pem", folder / "ca.key", folder / "ca.cnf"
        (folder / "index.txt").touch()
        (folder / "serial").write_text("01\n")
        self.settings.write_text(_AUTHORITY.format(folder=folder))
        _run(
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=authority",
            "-keyout",
            self.key,
            "-out",
            self.file,
        )

    def issue(self, name: str, hosts: str = HERE, between: tuple[str, str] | None = None) -> Path:
        """A file with a private key (PKCS 8) and its certificate, for these hosts."""
        key, asked, made = (self.folder / f"{name}.{kind}" for kind in ("key", "csr", "crt"))
        subject = ("-subj", f"/CN={name}", "-addext", f"subjectAltName={hosts}")
        _run("req", "-newkey", "rsa:2048", "-nodes", *subject, "-keyout", key, "-out", asked)
        given = ("-startdate", between[0], "-enddate", between[1]) if between else ("-days", "2")
        signed = ("-cert", self.file, "-keyfile", self.key, "-in", asked, "-out", made)
        _run("ca", "-batch", "-notext", "-config", self.settings, *signed, *given)
        whole = self.folder / f"{name}.pem"
        whole.write_text(key.read_text() + made.read_text())
        whole.chmod(0o600)
        return whole
