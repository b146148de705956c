"""A throwaway certificate authority, by the openssl program."""

import shutil
import subprocess
from pathlib import Path

import pytest


class Authority:
    """Signs certificates into `folder`; skips where openssl is missing."""

    def __init__(self, folder: Path) -> None:
        if shutil.which("openssl") is None:
            pytest.skip("OPENSSL NOT FOUND: install it to test TLS")
        self._folder = folder
        self.cert, self._key = folder / "ca.pem", folder / "ca.key"
        self._openssl(
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-keyout", self._key, "-out", self.cert, "-subj", "/CN=throwaway", "-days", "1"),
        )

    def sign(self, name: str, serial: int = 1) -> tuple[Path, Path]:
        """A certificate for localhost and its key, in PEM."""
        cert, key, asked = (self._folder / f"{name}.{suffix}" for suffix in ("pem", "key", "csr"))
        self._openssl(
            *("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-keyout", key, "-out", asked, "-subj", f"/CN={name}"),
        )
        names = self._folder / "names"
        names.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1")
        self._openssl(
            *("x509", "-req", "-in", asked, "-CA", self.cert, "-CAkey", self._key, "-days", "1"),
            *("-set_serial", serial, "-extfile", names, "-out", cert),
        )
        return cert, key

    @staticmethod
    def _openssl(*arguments: object) -> None:
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)
