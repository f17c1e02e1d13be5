"""C2PA manifests by the standard's own library, c2pa-python, an extra. The network is never touched: nothing is fetched, not even what would be free.

No trust list is shipped: lists change, and one that is out of date says "untrusted" of the wrong signers. Who has one passes it; without, a signature
that holds is ``signed-untrusted``.
"""

from __future__ import annotations

import hashlib
import io
import json
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from realgrain.evidence.claims import Claim, Trust, TrustListFacts

MAX_LIST = 2**24  # bytes of a trust list (our choice)
MAX_MANIFESTS = 20  # that are followed through ingredients
MISSING = "C2PA manifest present but not read: pip install 'realgrain[provenance]'"

_TYPES = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "WEBP": "image/webp",
    "AVIF": "image/avif",
    "HEIC": "image/heic",
    "TIFF": "image/tiff",
    "GIF": "image/gif",
}
_OFFLINE = {
    "verify": {"verify_after_reading": True, "verify_trust": True, "remote_manifest_fetch": False, "ocsp_fetch": False},
    "core": {"allowed_network_hosts": [], "decode_identity_assertions": False},  # CAWG's issuers would have to be asked over the network
}
_REASONS = {
    "assertion.dataHash.mismatch": "the file was changed after signing",
    "assertion.boxesHash.mismatch": "the file was changed after signing",
    "assertion.bmffHash.mismatch": "the file was changed after signing",
    "assertion.hashedURI.mismatch": "the manifest was changed after signing",
    "claimSignature.mismatch": "the signature does not fit the manifest",
    "claimSignature.outsideValidity": "signed outside the certificate's time",
    "signingCredential.expired": "the certificate has expired",
    "signingCredential.invalid": "the certificate may not sign such manifests",
    "signingCredential.revoked": "the certificate was revoked",
}


class TrustListError(ValueError):
    """A trust list cannot be used; names the file and the reason."""


@dataclass(frozen=True)
class TrustList:
    """Certificates whose signatures are trusted, in PEM, and which list it is."""

    pem: str = field(repr=False)
    facts: TrustListFacts


def read_trust_list(path: Path) -> TrustList:
    """Read certificates in PEM, such as the list that the C2PA publishes.

    Raises:
        TrustListError: it cannot be read, is larger than 16 MiB, holds no certificate, or one that is cut or broken.
    """
    try:
        changed = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        with path.open("rb") as file:
            data = file.read(MAX_LIST + 1)
    except OSError as error:
        raise TrustListError(f"{path}: the trust list cannot be read: {error.strerror or error}") from None
    count = data.count(b"-----BEGIN CERTIFICATE-----")
    if not count or len(data) > MAX_LIST:
        reason = f"larger than {MAX_LIST:,} bytes" if count else "no certificate in PEM"
        raise TrustListError(f"{path}: not a trust list: {reason}")
    try:
        # Comments between certificates are in whatever alphabet; certificates are not.
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=data.decode("ascii", "backslashreplace"))
    except ssl.SSLError as error:
        raise TrustListError(f"{path}: not a whole trust list: of its {count} certificates one is cut or broken: {error.reason or error}") from None
    facts = TrustListFacts(name=path.name, sha256=hashlib.sha256(data).hexdigest(), certificates=count, date=f"{changed:%Y-%m-%d}")
    return TrustList(data.decode("utf-8", "replace"), facts)


def claims(data: bytes, kind: str, place: str, trust_list: TrustList | None) -> tuple[list[Claim], list[str]]:
    """What a file's manifest store says, and notes.

    The active manifest's claims come first, then those of the manifests of its ingredients. The latter are never called trusted: they came with other
    files, whose bytes are not there to be checked.

    Args:
        data: the file, with a manifest store at its proper place.
        kind: its format.
        place: of the store, in words.
        trust_list: None: nobody is trusted.
    """
    try:
        from c2pa import C2paError, Context, Reader
    except ImportError:
        return [], [MISSING]
    settings: dict[str, Any] = dict(_OFFLINE)
    if trust_list is not None:
        settings["trust"] = {"trust_anchors": trust_list.pem}
    try:
        with Context.from_dict(settings) as context, Reader(_TYPES[kind], io.BytesIO(data), context=context) as reader:
            store = json.loads(reader.json())
    except (C2paError, ValueError, RecursionError) as error:
        return [Claim(kind="c2pa", place=place, trust="invalid", reason=f"cannot be read: {error}")], []
    reasons = _failures(store)
    trust: Trust = "invalid"
    if store.get("validation_state") in ("Trusted", "Valid"):  # where the signer of an ingredient is not on the list, a trusted store is only valid
        trust = "signed-trusted" if trust_list is not None and "signingCredential.trusted" in _codes(store, "success") else "signed-untrusted"
    reason = ("; ".join(reasons) or "the signature does not hold") if trust == "invalid" else None
    return list(_walk(store, place, trust, reason)), []


def _codes(said: Mapping[str, Any], outcome: str) -> list[str]:
    """What was checked of the active manifest of a store, or of an ingredient as its user found it, with ``success`` or ``failure``."""
    results = said.get("validation_results") or {}
    return [str(status.get("code")) for status in (results.get("activeManifest") or {}).get(outcome) or []]


def _failures(said: Mapping[str, Any]) -> list[str]:
    """Why a store, or an ingredient as its user found it, does not hold, each reason once; that nobody trusts it is none."""
    results = said.get("validation_results") or {}
    statuses = []
    for ingredient in results.get("ingredientDeltas") or []:
        statuses += (ingredient.get("validationDeltas") or {}).get("failure") or []
    if not results:  # the older form
        statuses += said.get("validation_status") or []
    codes = [*_codes(said, "failure"), *(str(status.get("code")) for status in statuses)]
    return list(dict.fromkeys(_REASONS.get(code, code) for code in codes if code != "signingCredential.untrusted"))[:5]


def _walk(store: Mapping[str, Any], place: str, trust: Trust, reason: str | None) -> Iterator[Claim]:
    manifests = store.get("manifests") or {}
    waiting, seen = [(store.get("active_manifest"), place, trust, reason)], set()
    while waiting and len(seen) < MAX_MANIFESTS:
        label, where, of_this, why = waiting.pop(0)
        if label in seen or label not in manifests:
            continue
        seen.add(label)
        said = manifests[label]
        signature = said.get("signature_info") or {}
        both = [signature.get("issuer"), signature.get("common_name")]
        signer = " / ".join(dict.fromkeys(str(name) for name in both if name)) or None
        common = {"kind": "c2pa", "place": where, "trust": of_this, "signer": signer, "reason": why}
        yield Claim.model_validate({**common, "software": _tool(said), "time": signature.get("time")})
        for action in _actions(said):
            details = {"action": action.get("action"), "source_type": action.get("digitalSourceType"), "time": action.get("when")}
            yield Claim.model_validate({**common, **details, "software": _named(action.get("softwareAgent"))})
        for ingredient in said.get("ingredients") or []:
            title = str(ingredient.get("title") or ingredient.get("instance_id") or "without a title")
            yield Claim.model_validate({**common, "ingredient": f"{title} ({ingredient.get('relationship', 'ingredient')})"})
            failed = "; ".join(_failures(ingredient)) or None
            its: Trust = "invalid" if failed or of_this == "invalid" else "signed-untrusted"
            waiting.append((ingredient.get("active_manifest"), f"C2PA manifest of the ingredient {title}", its, failed or why))


def _actions(manifest: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for assertion in manifest.get("assertions") or []:
        if str(assertion.get("label")).startswith("c2pa.actions"):
            data = assertion.get("data")
            actions = data.get("actions") if isinstance(data, dict) else None
            yield from (action for action in actions or [] if isinstance(action, dict))


def _tool(manifest: Mapping[str, Any]) -> str | None:
    """Which program made the claim: named with its version in version 2 of claims, in one text before."""
    tools = manifest.get("claim_generator_info") or []
    named = ", ".join(filter(None, map(_named, tools if isinstance(tools, list) else [tools])))
    return named or _named(manifest.get("claim_generator"))


def _named(tool: object) -> str | None:
    if isinstance(tool, dict):
        return " ".join(str(tool[key]) for key in ("name", "version") if tool.get(key)) or None
    return tool if isinstance(tool, str) else None
