"""Node.js and the official JavaScript SDKs: pinned by package-lock.json, installed on the way."""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import ssl
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

HERE = Path(__file__).parent
OnLine = Callable[[str], None]
LIMIT_S = 30.0


def is_required() -> bool:
    """Where this is set nothing is left out: without Node.js the tests fail."""
    return bool(os.environ.get("PARLEY_REQUIRE_NODE"))


def is_missing() -> bool:
    return shutil.which("node") is None or shutil.which("npm") is None


def install() -> None:
    """What package-lock.json names, once; processes that do it at the same time wait for each other."""
    lock = HERE / "package-lock.json"
    with (HERE / ".installing").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        done = HERE / "node_modules" / ".parley-lock.json"
        if done.exists() and done.read_bytes() == lock.read_bytes():
            return
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        subprocess.run(command, cwd=HERE, check=True, timeout=300)
        shutil.copyfile(lock, done)


async def run(script: str, *arguments: str, on_line: OnLine, **environment: str) -> None:
    """A script of this folder, to its end; it asserts by itself."""
    node = await asyncio.create_subprocess_exec(
        "node",
        script,
        *arguments,
        cwd=HERE,
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert node.stdout is not None
    assert node.stderr is not None
    stderr = asyncio.create_task(node.stderr.read())
    try:
        async with asyncio.timeout(LIMIT_S):
            async for line in node.stdout:
                on_line(line.decode().strip())
            code = await node.wait()
        assert code == 0, (await stderr).decode()
    finally:
        if node.returncode is None:
            node.kill()
            await node.wait()
        await stderr


@dataclass(frozen=True, slots=True)
class Certificate:
    """Of this machine, for an hour: the package `openai` dials `wss://` only."""

    path: Path
    context: ssl.SSLContext


def certificate(directory: Path) -> Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = signed.public_bytes(serialization.Encoding.PEM)
    secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path, both = directory / "localhost.pem", directory / "localhost.both.pem"
    path.write_bytes(pem)
    both.write_bytes(pem + secret)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(both)
    return Certificate(path, context)
