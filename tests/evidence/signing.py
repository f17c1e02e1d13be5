"""C2PA manifests signed by certificates made on the spot. Importing this makes none."""

import io
import json
from datetime import UTC, datetime, timedelta

import c2pa
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from dressing import SOURCE_TYPE

MIMES = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp", "AVIF": "image/avif", "TIFF": "image/tiff", "GIF": "image/gif"}
USAGES = "digital_signature content_commitment key_encipherment data_encipherment key_agreement key_cert_sign crl_sign encipher_only decipher_only"
CREATED = {"action": "c2pa.created", "digitalSourceType": SOURCE_TYPE, "softwareAgent": {"name": "Toy Model", "version": "7"}}


def manifest(*actions: dict, tool: str = "Toy Maker") -> dict:
    label = {"label": "c2pa.actions.v2", "data": {"actions": list(actions or (CREATED,))}}
    return {"claim_generator_info": [{"name": tool, "version": "2.1"}], "title": "a picture", "assertions": [label]}


class Authority:
    """A root certificate, and a signer whose certificate it signed."""

    def __init__(self, organisation: str = "Toy Press") -> None:
        root, leaf = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        issuer = self._name("Toy Root", "root")
        head = self._start(issuer, issuer, root).add_extension(x509.BasicConstraints(True, None), True)
        self._root = head.add_extension(self._usage("key_cert_sign", "crl_sign"), True).sign(root, hashes.SHA256())
        head = self._start(self._name(organisation, "camera desk"), issuer, leaf).add_extension(x509.BasicConstraints(False, None), True)
        head = head.add_extension(self._usage("digital_signature"), True)
        head = head.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), False)
        head = head.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root.public_key()), False)
        pem = serialization.Encoding.PEM
        self.root = self._root.public_bytes(pem).decode()
        self._chain = head.sign(root, hashes.SHA256()).public_bytes(pem) + self.root.encode()
        self._key = leaf.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())

    def sign(self, data: bytes, kind: str, said: dict | None = None, ingredient: bytes | None = None, trusted: str = "") -> bytes:
        """The file with a manifest in it, which says of the ingredient what who trusts these certificates finds."""
        signer = c2pa.Signer.from_info(c2pa.C2paSignerInfo(alg=b"es256", sign_cert=self._chain, private_key=self._key, ta_url=None))
        settings = {"builder": {"thumbnail": {"enabled": False}}, "verify": {"verify_after_sign": False}, "core": {"allowed_network_hosts": []}}
        settings |= {"trust": {"trust_anchors": trusted}} if trusted else {}
        out = io.BytesIO()
        with c2pa.Context.from_dict(settings) as context, c2pa.Builder(json.dumps(said or manifest()), context=context) as builder, signer:
            if ingredient is not None:
                builder.add_ingredient(
                    json.dumps({"title": "old.jpg", "relationship": "parentOf", "label": "old"}), "image/jpeg", io.BytesIO(ingredient)
                )
            builder.sign(signer, MIMES[kind], io.BytesIO(data), out)
        return out.getvalue()

    @staticmethod
    def _name(organisation: str, name: str) -> x509.Name:
        parts = {NameOID.COUNTRY_NAME: "XX", NameOID.ORGANIZATION_NAME: organisation, NameOID.COMMON_NAME: name}
        return x509.Name([x509.NameAttribute(oid, value) for oid, value in parts.items()])

    @staticmethod
    def _start(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number(), now - timedelta(1), now + timedelta(300))
        return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)

    @staticmethod
    def _usage(*allowed: str) -> x509.KeyUsage:
        return x509.KeyUsage(**{usage: usage in allowed for usage in USAGES.split()})
