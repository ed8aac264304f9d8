"""Logins as an attacker tries them: none, bad, expired, revoked, for another audience, with a confused algorithm, from
a web page, with the ids of others. Each gets the right status or code, and none has an effect on anybody else."""

import asyncio
import base64
import datetime
import hashlib
import hmac
import json
import signal
import time
from pathlib import Path
from typing import Any, Final

import jwt
import pytest
import websockets
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from websockets.typing import Origin

from tests.faults.raw_peer import TEXT, answer_to, frame, handshake
from tests.integration.peers import Peer, connected, eventually
from tests.processes import Broker, Programs

TOKENS: Final = {
    name: f"tfk_{name:x<43}" for name in ("caller", "other", "server", "thief", "operator", "late")
}
KEY: Final = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_KEY: Final = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PEM: Final = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
CLAIMS: Final = {
    "sub": "jane",
    "aud": "taskferry",
    "iss": "https://issuer.example",
    "taskferry": {"call": ["work"]},
}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def access_file(folder: Path, *gone: str) -> Path:
    """Everyone but `gone`."""
    expired = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=1)
    rights = {
        "caller": 'call = ["work"]',
        "other": 'call = ["work"]',
        "server": 'serve = ["work"]',
        "thief": 'serve = ["steal"]',
        "operator": 'roles = ["operator", "observer"]',
        "late": 'roles = ["admin"]',
    }
    (folder / "key.pem").write_bytes(PEM)
    lines = []
    for name, granted in rights.items():
        if name not in gone:
            digest = hashlib.sha256(TOKENS[name].encode()).hexdigest()
            ends = f", expires = {expired:%Y-%m-%dT%H:%M:%SZ}" if name == "late" else ""
            lines += [f"[identities.{name}]", granted, f'tokens = [{{ sha256 = "{digest}"{ends} }}]']
    lines += ["[jwt]", 'audience = "taskferry"', 'issuer = "https://issuer.example"', "leeway_s = 0"]
    lines += ["[jwt.keys.main]", 'algorithm = "RS256"', 'pem_file = "key.pem"']
    path = folder / "access.toml"
    path.write_text("\n".join(lines))
    return path


@pytest.fixture
def broker(programs: Programs, tmp_path: Path) -> Broker:
    return programs.start_broker("--access", str(access_file(tmp_path)))


def signed(key: Any = KEY, algorithm: str = "RS256", **changed: Any) -> str:
    claims = {**CLAIMS, "exp": time.time() + 60, **changed}
    return jwt.encode(
        {name: value for name, value in claims.items() if value is not None}, key, algorithm=algorithm
    )


def forged(header: dict[str, Any], secret: bytes | None) -> str:
    """A JWT as no library makes it: any header, and a signature with HMAC, or none."""

    def part(content: bytes) -> str:
        return base64.urlsafe_b64encode(content).rstrip(b"=").decode()

    claims = json.dumps({**CLAIMS, "exp": int(time.time()) + 60}).encode()
    body = f"{part(json.dumps(header).encode())}.{part(claims)}"
    signature = b"" if secret is None else hmac.digest(secret, body.encode(), "sha256")
    return f"{body}.{part(signature)}"


def bad_tokens() -> dict[str, str]:
    head, claims, signature = signed().split(".")
    return {
        "unknown": "tfk_" + "z" * 43,
        "one letter off": TOKENS["caller"][:-1] + "y",
        "the digest instead of the token": hashlib.sha256(TOKENS["caller"].encode()).hexdigest(),
        "expired": TOKENS["late"],
        "a JWT that has expired": signed(exp=time.time() - 1),
        "a JWT that is not yet valid": signed(nbf=time.time() + 60),
        "a JWT without an end": signed(exp=None),
        "a JWT for another audience": signed(aud="somebody-else"),
        "a JWT for no audience": signed(aud=None),
        "a JWT of another issuer": signed(iss="https://evil.example"),
        "a JWT signed by another key": signed(OTHER_KEY),
        "a JWT signed with the public key as a secret": forged({"alg": "HS256", "typ": "JWT"}, PEM),
        "the same without its last line end": forged({"alg": "HS256", "typ": "JWT"}, PEM.rstrip()),
        "a JWT that is not signed": forged({"alg": "none", "typ": "JWT"}, None),
        "a JWT that is not signed, differently spelled": forged({"alg": "nOnE"}, None),
        "a JWT that says it is RS256 and is not": forged({"alg": "RS256"}, b"secret"),
        "a JWT that brings its own key": forged(
            {"alg": "HS256", "jwk": {"kty": "oct", "k": "c2VjcmV0"}}, b"secret"
        ),
        "a JWT that names a file as its key": forged({"alg": "HS256", "kid": "/dev/null"}, b""),
        "a JWT with other claims": f"{head}.{claims[:-2]}AA.{signature}",
        "a JWT without a signature": f"{head}.{claims}.",
        "of another kind": "Zm9vOmJhcg==",
    }


BAD_NAMES: Final = tuple(bad_tokens())


async def status_of(url: str, **options: Any) -> int:
    """The status that refuses a handshake."""
    with pytest.raises(websockets.InvalidStatus) as caught:
        await websockets.connect(url, **options)
    return caught.value.response.status_code


def view(broker: Broker, path: str = "/api/status") -> Any:
    status, body = broker.get(path, bearer(TOKENS["operator"]))
    assert status == 200, body
    return json.loads(body)


async def test_whoever_does_not_prove_who_it_is_stays_out_of_every_port(broker: Broker) -> None:
    urls = (broker.requester_url, broker.worker_url)
    tokens = bad_tokens()
    for url in urls:
        assert await status_of(url) == 401
    assert (await asyncio.to_thread(broker.get, "/metrics"))[0] == 401
    for name in BAD_NAMES[:9]:  # an address has 20 failures before it is slowed down
        assert await status_of(urls[0], additional_headers=bearer(tokens[name])) == 401, name
    async with connected(
        urls[0], additional_headers=bearer(signed())
    ) as jane:  # all good ones pass meanwhile
        assert (await jane.call("work"))["code"] == "no_available_workers"
    assert view(broker)["submitted_count"] == 1, "that one alone"


@pytest.mark.parametrize("names", [BAD_NAMES[9:], BAD_NAMES[:9]], ids=["1", "2"])
async def test_no_bad_token_opens_a_port(broker: Broker, names: tuple[str, ...]) -> None:
    tokens = bad_tokens()
    for number, name in enumerate(names):
        url = (broker.requester_url, broker.worker_url)[number % 2]
        assert await status_of(url, additional_headers=bearer(tokens[name])) == 401, name
    for name in names[:3]:
        assert (await asyncio.to_thread(broker.get, "/api/workers", bearer(tokens[name])))[0] == 401, name
    for token in tokens.values():
        assert token not in broker.stderr


async def test_a_brute_force_is_slowed_down_and_shuts_nobody_else_out(broker: Broker) -> None:
    statuses = [
        await status_of(broker.requester_url, additional_headers=bearer(f"tfk_{number:043}"))
        for number in range(40)
    ]
    assert statuses.count(401) < 30
    assert statuses[-1] == 429
    async with connected(broker.requester_url, additional_headers=bearer(TOKENS["caller"])) as caller:
        assert (await caller.call("work"))["code"] == "no_available_workers"
    assert broker.stderr.count("\n") < 20, "these lines fold"


@pytest.mark.parametrize("where", ["query", "cookie", "basic", "path"])
async def test_a_token_anywhere_else_does_not_count(broker: Broker, where: str) -> None:
    token = TOKENS["caller"]
    url, headers = broker.requester_url, {}
    match where:
        case "query":
            url = f"{url}/?token={token}&access_token={token}"
        case "path":
            url = f"{url}/{token}"
        case "cookie":
            headers = {"Cookie": f"token={token}"}
        case "basic":
            headers = {"Authorization": "Basic " + base64.b64encode(f"caller:{token}".encode()).decode()}
    assert await status_of(url, additional_headers=headers) in {400, 401}
    assert token not in broker.stderr


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://localhost.evil.example", "file://"]
)
async def test_a_web_page_from_elsewhere_stays_out_with_a_good_token_too(broker: Broker, origin: str) -> None:
    for url, name in ((broker.requester_url, "caller"), (broker.worker_url, "server")):
        headers = bearer(TOKENS[name])
        assert await status_of(url, additional_headers=headers, origin=Origin(origin)) == 403
    headers = bearer(TOKENS["operator"]) | {"Origin": origin}
    assert (await asyncio.to_thread(broker.get, "/api/workers", headers))[0] == 403


def test_a_name_that_was_rebound_stays_out(broker: Broker) -> None:
    head = handshake("", f"Authorization: Bearer {TOKENS['caller']}")
    for host in (b"evil.example", b"127.0.0.1.evil.example", b"localhost:80@evil.example"):
        answer = answer_to(broker.requester_url, head.replace(b"Host: 127.0.0.1", b"Host: " + host))
        assert answer.startswith((b"HTTP/1.1 403 ", b"HTTP/1.1 400 ")), answer


async def test_acting_before_the_login_has_no_effect(broker: Broker) -> None:
    call = frame(TEXT, b'{"request_id": "r", "command": "work"}')
    join = frame(TEXT, b'{"type": "connect", "data": {"name": "w", "commands": ["work"]}}')
    for url, sent in ((broker.requester_url, call), (broker.worker_url, join)):
        for head in (handshake(), handshake("", "Authorization: Bearer tfk_" + "z" * 43)):
            answer = await asyncio.to_thread(answer_to, url, head + sent * 100)
            assert answer.startswith(b"HTTP/1.1 401 ")
            assert answer.count(b"HTTP/1.1") == 1
    seen = await asyncio.to_thread(view, broker)
    assert (seen["submitted_count"], seen["worker_count"]) == (0, 0)
    async with connected(broker.worker_url, additional_headers=bearer(TOKENS["server"])) as worker:
        await worker.send(
            {"type": "response", "msg_id": "1", "data": {"success": True}}
        )  # before it has joined
        assert (await worker.receive())["data"]["code"] == "bad_message"


async def closed_after_reload(broker: Broker, peer: Peer) -> int | None:
    broker.send_signal(signal.SIGHUP)
    async with asyncio.timeout(5):
        code, _ = await peer.wait_closed()
    return code


async def test_what_was_revoked_cannot_be_replayed(broker: Broker, tmp_path: Path) -> None:
    headers = bearer(TOKENS["other"])
    async with (
        connected(broker.requester_url, additional_headers=headers) as other,
        connected(broker.requester_url, additional_headers=bearer(TOKENS["caller"])) as caller,
    ):
        access_file(tmp_path, "other")
        assert await closed_after_reload(broker, other) == 4401
        assert await status_of(broker.requester_url, additional_headers=headers) == 401
        await caller.send({"type": "auth", "token": TOKENS["other"]})
        answer = await caller.receive()
        assert (answer["type"], answer["success"]) == ("auth", False)
        assert (await caller.call("work"))["code"] == "no_available_workers"  # still who it was


async def test_nobody_becomes_somebody_else_on_an_open_link(broker: Broker) -> None:
    async with connected(broker.requester_url, additional_headers=bearer(TOKENS["caller"])) as caller:
        await caller.send({"type": "auth", "token": TOKENS["operator"]})
        answer = await caller.receive()
        assert (answer["type"], answer["success"]) == ("auth", False)
        assert (await caller.call("steal"))["code"] == "forbidden"


async def test_ids_of_others_are_worth_nothing(broker: Broker) -> None:
    async with (
        connected(broker.worker_url, additional_headers=bearer(TOKENS["server"])) as worker,
        connected(broker.worker_url, additional_headers=bearer(TOKENS["thief"])) as thief,
        connected(broker.requester_url, additional_headers=bearer(TOKENS["caller"])) as caller,
        connected(broker.requester_url, additional_headers=bearer(TOKENS["other"])) as other,
    ):
        await worker.join("w", "work", concurrency=10)
        await thief.join("t", "steal", concurrency=10)
        await caller.send({"request_id": "r", "command": "work"})
        assignment = await worker.receive_assignment()

        await other.send({"type": "cancel", "request_id": "r"})  # not its own: nothing happens
        await other.send({"request_id": "r", "command": "work"})  # a request of its own, under the same id
        own = await worker.receive_assignment()
        assert own["msg_id"] != assignment["msg_id"]
        for msg_id in (assignment["msg_id"], own["msg_id"]):
            stolen = {"success": True, "result": "stolen"}
            await thief.send({"type": "response", "msg_id": msg_id, "data": stolen})
            answer = await thief.receive()
            assert answer["data"]["code"] == "unknown_assignment", answer
            await thief.send({"type": "cancel", "msg_id": msg_id, "data": {}})
            assert (await thief.receive())["type"] == "error"
        await worker.respond(own, "for other")
        assert (await other.receive())["data"] == "for other"
        await worker.respond(assignment, "for caller")
        assert (await caller.receive())["data"] == "for caller"

        async with connected(broker.worker_url, additional_headers=bearer(TOKENS["thief"])) as impostor:
            refusal = await impostor.join("w", "steal")  # the name of another identity's worker
            assert (refusal["type"], refusal["data"]["code"]) == ("error", "worker_id_taken")
        await caller.send({"request_id": "again", "command": "work"})
        await worker.respond(await worker.receive_assignment(), "still")
        assert (await caller.receive())["data"] == "still"
    await eventually(lambda: view(broker)["worker_count"] == 0, "all have left")
    seen = view(broker)
    assert seen["submitted_count"] == sum(seen["outcomes"].values()) == 3
