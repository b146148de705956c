"""Tokens: who may call what, from a file that may change while the server runs."""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.errors import PermissionDenied, Unauthenticated
from service.host.access import Access, AccessError, Permission, digest, permission_for

AUGMENT = "/kindling.v1.AugmentService/Augment"
ACTIVATE = "/kindling.v1.AdminService/ActivateModel"


def write(path: Path, *entries: tuple[str, str, list[str]]) -> Path:
    """A tokens file of (client, token, permissions)."""
    rows = [
        {"client": client, "sha256": digest(token), "permissions": permissions}
        for client, token, permissions in entries
    ]
    path.write_text(yaml.safe_dump(rows))
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write(tmp_path / "tokens.yaml", ("shop", "s3cret", ["augment"]), ("ops", "0ps", ["admin"]))


def bearer(token: str) -> list[tuple[str, str | bytes]]:
    """Metadata that carries `token`."""
    return [("user-agent", "test"), ("authorization", f"Bearer {token}")]


def test_a_token_stands_for_its_client(path: Path) -> None:
    assert Access(path).grant(AUGMENT, bearer("s3cret")).client == "shop"
    assert Access(path).grant(ACTIVATE, bearer("0ps")).client == "ops"


@pytest.mark.parametrize("metadata", [[], bearer("guess"), bearer(""), [("authorization", "Basic s3cret")]])
def test_without_a_known_token_nothing_is_granted(path: Path, metadata: Any) -> None:
    with pytest.raises(Unauthenticated, match="authorization"):
        Access(path).grant(AUGMENT, metadata)


def test_a_token_is_good_for_its_permissions_alone(path: Path) -> None:
    with pytest.raises(PermissionDenied, match="'shop' lacks the permission 'admin'"):
        Access(path).grant(ACTIVATE, bearer("s3cret"))
    with pytest.raises(PermissionDenied, match="'augment'"):
        Access(path).grant(AUGMENT, bearer("0ps"))


@pytest.mark.parametrize(
    ("method", "permission"),
    [
        (AUGMENT, Permission.AUGMENT),
        (ACTIVATE, Permission.ADMIN),
        ("/kindling.v1.ExplainService/Explain", Permission.EXPLAIN),
        ("/feast.serving.ServingService/GetOnlineFeatures", Permission.FEAST),
        ("/GrpcFeatureServer/GetOnlineFeatures", Permission.FEAST),
        ("/kindling.v2.Unheard/Of", Permission.ADMIN),
    ],
)
def test_each_service_is_a_permission_and_an_unknown_one_the_highest(
    method: str, permission: Permission
) -> None:
    assert permission_for(method) is permission


def test_tokens_change_while_the_server_runs(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.host.access._LOOK_EVERY_S", 0.0)
    access = Access(path)
    write(path, ("film", "n3w", ["augment", "explain"]))
    os.utime(path, ns=(1, 1))
    assert access.grant(AUGMENT, bearer("n3w")).client == "film"
    with pytest.raises(Unauthenticated):
        access.grant(AUGMENT, bearer("s3cret"))
    path.write_text("{broken")
    assert access.grant(AUGMENT, bearer("n3w")).client == "film"
    path.unlink()
    assert access.grant(AUGMENT, bearer("n3w")).client == "film"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("- {client: shop}", "sha256"),
        ("- {client: shop, sha256: abc, permissions: [augment]}", "no SHA-256"),
        (f"- {{client: shop, sha256: {digest('x')}, permissions: [fly]}}", "fly"),
        (f"- {{client: shop, token: x, sha256: {digest('x')}, permissions: []}}", "token"),
        ("\n".join(f"- {{client: {c}, sha256: {digest('x')}, permissions: []}}" for c in "ab"), "share"),
    ],
)
def test_a_malformed_file_is_refused_with_what_is_wrong(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "tokens.yaml"
    path.write_text(text)
    with pytest.raises(AccessError, match=problem):
        Access(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AccessError, match="setting tokens"):
        Access(tmp_path / "none.yaml")
