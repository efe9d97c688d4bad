# SPDX-License-Identifier: GPL-2.0-or-later
"""How this machine reaches the archive and the package index, for a root of a release: apt, pip, certificates."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import ssl
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from gdb_lmb.core.errors import InfrastructureError
from gdb_lmb.kernels.apt import KEYRING, system_archive, system_settings

CA_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
HOME = "/root"
"""$HOME inside of a root."""

_SETTING = re.compile(r'(\S+) "(.*)";')
_ENVIRONMENT = re.compile(
    r"(?:https?|ftp|no|all)_proxy|SSL_CERT_(?:FILE|DIR)|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE|PIP_.*", re.IGNORECASE
)
# These say where this machine keeps things, or how this user likes pip.
_NOT_CARRIED = re.compile(r"PIP_(?:CACHE_DIR|TARGET|PREFIX|ROOT|LOG|SRC|USER|REQUIRE_VIRTUALENV|PYTHON|CONFIG_FILE)")
_PIP_PLACES = ("find-links", "index-url", "extra-index-url")


@dataclass
class Settings:
    """What a root needs to reach what this machine reaches."""

    archive: str
    """Where Debian's packages are."""

    files: dict[str, bytes] = field(default_factory=dict)
    """Files to be written, by their path inside. They may hold passwords."""

    environment: dict[str, str] = field(default_factory=dict)

    folders: list[str] = field(default_factory=list)
    """Folders of this machine that an index or the archive is in, needed at the same path inside, to be read only."""

    def copy(self, path: str) -> None:
        """Take a file of this machine, or all files in a folder, to the same place inside."""
        source = Path(path)
        if not source.is_absolute():
            return
        for file in sorted(source.rglob("*")) if source.is_dir() else [source]:
            if file.is_file():
                self.files[str(file)] = file.read_bytes()

    def wgetrc(self) -> str:
        """Return apt's settings as wget's, which debootstrap fetches with."""
        apt = dict(_SETTING.findall(self.files["/etc/apt/apt.conf.d/90machine"].decode()))
        names = {"Acquire::http::Proxy": "http_proxy", "Acquire::https::Proxy": "https_proxy",
                 "Acquire::https::CAInfo": "ca_certificate"}  # fmt: skip
        lines = [f"{wget} = {apt[name]}\n" for name, wget in names.items() if apt.get(name, "DIRECT") != "DIRECT"]
        if apt.get("Acquire::https::Verify-Peer") == "false":
            lines.append("check_certificate = off\n")
        return "".join(lines)

    def netrc(self) -> str:
        """Return apt's passwords in the format that wget reads: hosts without scheme, port and path."""
        text = "".join(data.decode() for path, data in self.files.items() if path.startswith("/etc/apt/auth.conf"))
        text = re.sub(r"#.*", "", text)
        return re.sub(r"\bmachine\s+(?:[a-z+]+://)?([^\s/:]+)\S*", r"machine \1", text)


def machine_settings(release: str) -> Settings:
    """Return the settings of this machine for a root of `release`."""
    settings = Settings(_archive())
    _add_apt(settings, release)
    _add_certificates(settings)
    _add_pip(settings)
    for name, value in os.environ.items():
        if _ENVIRONMENT.fullmatch(name) and not _NOT_CARRIED.fullmatch(name):
            settings.environment[name] = value
            if not name.startswith("PIP_FIND") and value != str(Path(CA_BUNDLE).parent):
                settings.copy(value)
    resolver = Path("/etc/resolv.conf")
    if resolver.exists():
        settings.files[str(resolver)] = resolver.read_bytes()
    return settings


def _archive() -> str:
    """Return the archive's address: of a list of mirrors, the first. Raises: InfrastructureError."""
    address = system_archive()
    if address is not None and address.startswith("mirror+file:"):
        listed = [line.split()[0] for line in Path(urlsplit(address).path).read_text().splitlines() if line.strip()]
        address = next((word for word in listed if "://" in word), None)
    if address is None:
        raise InfrastructureError("this machine's apt names no archive of Debian: add one to its sources")
    return address.rstrip("/")


def _add_apt(settings: Settings, release: str) -> None:
    carried = []
    for line in (system_settings() if shutil.which("apt-config") else "").splitlines():
        name, value = _SETTING.findall(line)[0] if _SETTING.match(line) else ("", "")
        if re.search("Proxy-?Auto-?Detect$", name, re.IGNORECASE):
            # The program that is asked for a proxy is this machine's: ask it here.
            if value:
                asked = subprocess.run([value, settings.archive], check=False, text=True, capture_output=True)
                if asked.stdout.strip():
                    carried.append(f'Acquire::{urlsplit(settings.archive).scheme}::Proxy "{asked.stdout.strip()}";')
        else:
            carried.append(line)
            settings.copy(value)
    # What a root does not need is not fetched; and a root need not survive a loss of power.
    carried += ['Acquire::Languages "none";', 'Acquire::GzipIndexes "true";', 'Dpkg::Options:: "--force-unsafe-io";']
    settings.files["/etc/apt/apt.conf.d/90machine"] = "".join(f"{line}\n" for line in carried).encode()
    line = f"deb [signed-by={KEYRING}] {settings.archive} {release} main\n"
    settings.files["/etc/apt/sources.list"] = line.encode()
    for path in ("/etc/apt/auth.conf", "/etc/apt/auth.conf.d"):
        settings.copy(path)
    if urlsplit(settings.archive).scheme in ("file", "copy"):
        settings.folders.append(unquote(urlsplit(settings.archive).path))


def _add_certificates(settings: Settings) -> None:
    settings.copy("/usr/local/share/ca-certificates")
    bundle = next(
        (path for path in (CA_BUNDLE, ssl.get_default_verify_paths().cafile) if path and _is_file(path)), None
    )
    if bundle is not None:
        settings.files[CA_BUNDLE] = Path(bundle).read_bytes()


def _is_file(path: str) -> bool:
    return Path(path).is_file()


def _add_pip(settings: Settings) -> None:
    home = Path.home()
    user = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
    pairs = [
        (Path("/etc/xdg/pip/pip.conf"), "/etc/xdg/pip/pip.conf"),
        (Path("/etc/pip.conf"), "/etc/pip.conf"),
        (home / ".pip" / "pip.conf", f"{HOME}/.pip/pip.conf"),
        (user / "pip" / "pip.conf", f"{HOME}/.config/pip/pip.conf"),
        (home / ".netrc", f"{HOME}/.netrc"),
    ]
    named = os.environ.get("PIP_CONFIG_FILE")
    if named:
        pairs.append((Path(named), "/etc/gdb-lmb-pip.conf"))
        settings.environment["PIP_CONFIG_FILE"] = "/etc/gdb-lmb-pip.conf"
    places = [os.environ.get(f"PIP_{name.replace('-', '_').upper()}", "") for name in _PIP_PLACES]
    for source, inside in pairs:
        if not source.is_file():
            continue
        settings.files[inside] = source.read_bytes()
        config = configparser.RawConfigParser(strict=False)
        if source.suffix == ".conf":
            config.read_string(settings.files[inside].decode())
        for section in config.sections():
            places += [config.get(section, name, fallback="") for name in _PIP_PLACES]
            # Certificates, constraints and whatever else a setting may name.
            for word in " ".join(config[section].values()).split():
                if Path(word).is_file():
                    settings.copy(word)
    settings.folders += sorted({folder for word in " ".join(places).split() for folder in _local_folder(word)})


def _local_folder(place: str) -> list[str]:
    """Return the folder of an index or of packages that is a place on this machine and exists.

    An index refers to files beside itself, so all of what lies around it is needed.
    """
    path = Path(unquote(urlsplit(place).path) if place.startswith("file:") else place)
    if not path.is_absolute() or "://" in place.removeprefix("file://"):
        return []
    if path.name == "simple" and path.parent != Path("/"):
        path = path.parent
    return [str(path)] if path.is_dir() else []
