"""Content credentials, signed by a test authority and validated by c2pa's own reader."""

import datetime
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from outpaint_engine import OutpaintPipeline, OutputError, RequestError, SharedPipeline
from outpaint_engine.cli.outpaint import run
from outpaint_engine.images import encode
from outpaint_engine.images.credentials import MIME, Credentials
from outpaint_engine.service.painting import Painter

from ...conftest import toy_pipeline

c2pa = pytest.importorskip("c2pa", reason="needs the extra c2pa")
pytest.importorskip("cryptography", reason="makes the test authority")

SIZE = (96, 64)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[Credentials, str]:
    """Credentials of a certificate that a root of our own has signed, and that root."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    def named(name: str) -> x509.Name:
        organisation = x509.NameAttribute(NameOID.ORGANIZATION_NAME, "outpaint_engine tests")
        return x509.Name([organisation, x509.NameAttribute(NameOID.COMMON_NAME, name)])

    def certificate(subject: str, issuer: str, public: Any, signing: ec.EllipticCurvePrivateKey, root: bool) -> bytes:
        now = datetime.datetime.now(datetime.UTC)
        usage = dict.fromkeys(
            ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only"), False
        ) | {"decipher_only": False, "digital_signature": not root, "key_cert_sign": root, "crl_sign": root}
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key())
        builder = (
            x509.CertificateBuilder()
            .subject_name(named(subject))
            .issuer_name(named(issuer))
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=30))
            .add_extension(x509.BasicConstraints(ca=root, path_length=None), critical=True)
            .add_extension(x509.KeyUsage(**usage), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(identifier, critical=False)
        )
        if not root:
            purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
            builder = builder.add_extension(purpose, critical=False)
        return builder.sign(signing, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    root, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    anchor = certificate("root", "root", root.public_key(), root, True)
    leaf = certificate("signer", "root", key.public_key(), root, False)
    folder = tmp_path_factory.mktemp("authority")
    (folder / "chain.pem").write_bytes(leaf + anchor)
    plain = serialization.NoEncryption()
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    )
    return Credentials.read(folder / "chain.pem", folder / "key.pem"), anchor.decode()


def painted() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (*SIZE[::-1], 3), np.uint8))


def signed(credentials: Credentials, suffix: str) -> tuple[bytes, bytes]:
    """A file, and the same with credentials."""
    content, original = encode(painted(), suffix), encode(painted().crop((0, 0, 32, 32)), ".png")
    return content, credentials.sign(content, suffix, ("image/png", original), "1.2.3")


def read(content: bytes, suffix: str, anchor: str) -> tuple[str, dict[str, Any]]:
    """The validation state, and the active manifest."""
    settings = c2pa.Settings.from_dict({"trust": {"trust_anchors": anchor}, "verify": {"verify_trust": True}})
    kind, stream = MIME[suffix], io.BytesIO(content)
    with c2pa.Context(settings) as context, c2pa.Reader(kind, stream, context=context) as reader:
        return str(reader.get_validation_state()), dict(reader.get_active_manifest())


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_the_reader_trusts_what_was_signed_and_finds_the_original(
    authority: tuple[Credentials, str], suffix: str
) -> None:
    credentials, anchor = authority
    content, told = signed(credentials, suffix)
    state, manifest = read(told, suffix, anchor)
    assert state == "Trusted"
    said = json.dumps(manifest)
    assert "digitalsourcetype/compositeWithTrainedAlgorithmicMedia" in said
    assert [each["relationship"] for each in manifest["ingredients"]] == ["parentOf"]
    assert Image.open(io.BytesIO(told)).tobytes() == Image.open(io.BytesIO(content)).tobytes()


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_one_flipped_byte_of_the_picture_shows(authority: tuple[Credentials, str], suffix: str) -> None:
    credentials, anchor = authority
    _, told = signed(credentials, suffix)
    broken = bytearray(told)
    broken[-40] ^= 1
    state, _ = read(bytes(broken), suffix, anchor)
    assert state == "Invalid"


def test_the_command_signs_what_it_writes(
    authority: tuple[Credentials, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    credentials, anchor = authority
    (tmp_path / "chain.pem").write_text(credentials.certificates)
    (tmp_path / "key.pem").write_text(credentials.key)
    painted().save(tmp_path / "photo.bmp")
    pair = ["--sign-certificate", str(tmp_path / "chain.pem"), "--sign-key", str(tmp_path / "key.pem")]
    monkeypatch.setattr(OutpaintPipeline, "from_pretrained", lambda *_, **__: toy_pipeline())
    placed = [str(tmp_path / "photo.bmp"), str(tmp_path / "wide.jpg"), "--left", "32", "--steps", "2", "--seed", "1"]
    done = CliRunner().invoke(run, [*placed, *pair])
    assert done.exit_code == 0, done.output
    state, manifest = read((tmp_path / "wide.jpg").read_bytes(), ".jpg", anchor)
    assert state == "Trusted"
    assert [each["format"] for each in manifest["ingredients"]] == ["image/png"]
    assert "needs both" in CliRunner().invoke(run, [*placed, *pair[:2]]).output
    assert "leaves content credentials out" in CliRunner().invoke(run, [*placed, *pair, "--no-metadata"]).output


def test_the_service_signs_what_it_paints(authority: tuple[Credentials, str]) -> None:
    credentials, anchor = authority
    painter = Painter(SharedPipeline(toy_pipeline()), credentials=credentials)
    fields = {"width": 128, "height": 64, "num_inference_steps": 2}

    def whole() -> Iterator[Any]:
        done = yield from painter.paint(encode(painted(), ".png"), fields, ".webp")
        kept.append(done.picture)

    kept: list[bytes] = []
    list(whole())
    assert read(kept[0], ".webp", anchor)[0] == "Trusted"


def test_another_key_than_the_certificates_is_refused(authority: tuple[Credentials, str], tmp_path: Path) -> None:
    credentials, _ = authority
    with pytest.raises(OutputError, match="cannot be signed"):
        Credentials(credentials.certificates, "no key").sign(b"", ".png", ("image/png", b""), "1")
    with pytest.raises(OutputError, match=r"go into \.png"):
        credentials.sign(b"", ".tif", ("image/png", b""), "1")
    with pytest.raises(RequestError, match="cannot be read as PEM"):
        Credentials.read(tmp_path / "none.pem", tmp_path / "none.pem")
