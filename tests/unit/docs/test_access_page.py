"""docs/access.md has the keys, roles, limits and numbers of the code, and its files are valid."""

import itertools
import re
from dataclasses import fields
from pathlib import Path

from taskferry.broker.access import addresses, rules
from taskferry.broker.access.rights import ROLES, RULES_COUNT_MAX, Action
from taskferry.broker.access.usage import BURST_S
from taskferry.broker.identity import access_file, jwt_login, key_urls, keys, tables
from taskferry.broker.settings import BROKER, BrokerSettings
from taskferry.configuration.sources import Sources
from taskferry.protocol.limits import EXPIRY_NOTICE_S

from tests.each_case import each_case
from tests.unit.docs.pages import page

PAGE = page("docs/access.md")
PROSE = " ".join(PAGE.text.split())
DEFAULTS = BrokerSettings()
FACTS = [
    f"at most {access_file.IDENTITIES_COUNT_MAX:,} identities",
    f"{access_file.FILE_SIZE_BYTES_MAX // 2**20} MiB (`FILE_SIZE_BYTES_MAX`)",
    f"at most {tables.TOKENS_COUNT_MAX} tokens",
    f"{tables.CERTIFICATES_COUNT_MAX} certificates (`CERTIFICATES_COUNT_MAX`)",
    f"at most {RULES_COUNT_MAX:,} (`RULES_COUNT_MAX`), of 1 to {rules.PATTERN_LENGTH_MAX} characters",
    f"at most {rules.OTHERS_COUNT_MAX} with a wildcard before their end",
    f"at most {access_file.KEYS_COUNT_MAX} keys (`KEYS_COUNT_MAX`)",
    f"`exp` (at most {jwt_login.LIFETIME_S_MAX / 86400:.0f} days ahead)",
    f"{tables.LEEWAY_S_DEFAULT:.0f}, at most {tables.LEEWAY_S_MAX:.0f}",
    f"at least {keys.SECRET_SIZE_BYTES_MIN} bytes",
    f"`RS256` (from {keys.RSA_SIZE_BITS_MIN:,} bits)",
    f"fetched every {key_urls.REFRESH_INTERVAL_S / 60:.0f} minutes",
    f"at most every {key_urls.HURRY_INTERVAL_S_MIN:.0f} s",
    f"after {addresses.FAILED_LOGINS_COUNT_MAX} failed logins",
    f"{EXPIRY_NOTICE_S:.0f} s before a login runs out",
    f"hold {BURST_S:.0f} s' worth, those of handshakes {addresses.HANDSHAKES_BURST_S:.0f} s'",
    f"with {addresses.HANDSHAKES_BURST_S:.0f} s' worth at once, "
    f"{addresses.HANDSHAKES_BURST_S * DEFAULTS.address_handshakes_per_s:,.0f} clients",
    f"the /{addresses.IPV6_PREFIX_LENGTH} network",
]


@each_case("fact", FACTS)
def test_a_number_is_the_codes(fact: str) -> None:
    assert fact in PROSE


def rows(heading: str) -> dict[str, str]:
    """The rows of the table with this first heading: the first cell and the second."""
    (table,) = re.findall(
        rf"^\| {re.escape(heading)} \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", PAGE.text, re.MULTILINE
    )
    cells = (line.split("|")[1:3] for line in table.splitlines())
    return {first.strip(): second.strip() for first, second in cells}


def names_in(cells: list[str]) -> set[str]:
    return {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}


def test_every_key_of_the_access_file_has_its_row() -> None:
    assert names_in(list(rows("key of an identity"))) == set(tables.IdentityTable.__struct_fields__)
    assert names_in(list(rows("key of `[jwt]`"))) == set(tables.JwtTable.__struct_fields__) - {"keys"}
    assert names_in(list(rows("key of `[jwt.keys.NAME]`"))) == set(tables.KeyTable.__struct_fields__)


def test_every_right_and_every_role_has_its_row() -> None:
    assert names_in(list(rows("right"))) == {action.value for action in Action}
    assert names_in(list(rows("role"))) == set(ROLES)


def test_every_limit_has_its_row_with_its_default() -> None:
    listed = rows("setting")
    named = {field.name for field in fields(BrokerSettings) if re.match("(address|account)_", field.name)}
    assert names_in(list(listed)) == named
    for name in named:
        default = getattr(DEFAULTS, name)
        texts = {f"{default:,}", f"{default / 2**20:.0f} MiB", "0: none" if default == 0 else ""}
        assert listed[f"`{name}`"] in texts, name


def test_its_access_files_and_its_settings_are_valid(tmp_path: Path) -> None:
    texts = [block.text for block in PAGE.blocks if block.language == "toml"]
    files = [text for text in texts if "[identities." in text]
    assert len(files) == len(texts) - 1
    for text in files:
        shortened = itertools.count()
        whole = re.sub(r"[0-9a-f]{4}\.\.\.", lambda _: f"{next(shortened):064x}", text)  # noqa: B023  called here
        assert access_file.parsed(whole.encode(), tmp_path / "access.toml").identities
    (settings,) = (text for text in texts if "[broker]" in text)
    (tmp_path / "broker.toml").write_text(settings)
    Sources((BROKER,), tmp_path / "broker.toml").read().settings(BROKER)
