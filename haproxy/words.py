"""The words of a command line: checked, and escaped so that each stays one word.

Source: management.txt, "Unix Socket commands"; tried on 2.6.12, 3.0.11, 3.2.26 and 3.4.7.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address
from itertools import accumulate

from haproxy.errors import InvalidValue

_NAME = re.compile(r"[A-Za-z0-9_.:-]{1,255}")
_OPTION = re.compile(r"[A-Za-z0-9_.:/,-]{1,255}")
_FILE = re.compile(r"[A-Za-z0-9_./*-]{1,400}")
_WHITE_OR_CONTROL = re.compile(r"[\x00-\x20\x7f]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_PLAIN_KEYS = re.compile(r"(?:(?!#)[!-~]++\n)*+")
_PLAIN_VALUES = re.compile(r"(?:[!-~]++(?: ++[!-~]++)*+\n)*+")
_SPECIAL = re.compile(r"[\\; <]")  # a last word that ends in << would open a payload


def escaped(text: str) -> str:
    return _SPECIAL.sub(lambda match: "\\" + match[0], text)


def name_word(field: str, value: str) -> str:
    """The name of a proxy, a server, a profile."""
    if not _NAME.fullmatch(value):
        raise InvalidValue(field, value, "1 to 255 of A-Z a-z 0-9 _ . : -")
    return value


def server_word(backend: str, server: str) -> str:
    return f"{name_word('backend', backend)}/{name_word('server', server)}"


def option_word(word: str) -> str:
    if not _OPTION.fullmatch(word):
        raise InvalidValue("option of a server", word, "1 to 255 of A-Z a-z 0-9 _ . : / , -")
    return word


def text_word(field: str, value: str) -> str:
    """Any printable text, escaped; the value itself stays out of the error."""
    if not value or _CONTROL.search(value):
        raise InvalidValue(field, "...", "text without control characters")
    return escaped(unicode_text(field, value))


def number_word(field: str, value: int, least: int, most: int) -> int:
    if not least <= int(value) <= most:
        raise InvalidValue(field, str(value), f"{least} to {most}")
    return int(value)


def _ip(address: str) -> IPv4Address | IPv6Address:
    try:
        parsed = ip_address(address)
    except ValueError:
        raise InvalidValue("address", address, "an IPv4 or IPv6 address") from None
    if isinstance(parsed, IPv6Address) and parsed.scope_id is not None:
        raise InvalidValue("address", address, "an address without a scope")
    return parsed


def address_word(address: str) -> str:
    return str(_ip(address))


def socket_word(address: str, port: int) -> str:
    """``ADDRESS:PORT``, an IPv6 address in brackets."""
    ip, number = _ip(address), number_word("port", port, 1, 65535)
    return f"[{ip}]:{number}" if ip.version == 6 else f"{ip}:{number}"


def map_word(name: str) -> str:
    if not name or name[0] in "#@" or _WHITE_OR_CONTROL.search(name):
        raise InvalidValue("map", name, "a file name without white space")
    return escaped(name)


def file_word(name: str) -> str:
    if not _FILE.fullmatch(name):
        raise InvalidValue("crt-list", name, "a file name, or a DNS name or a wildcard of one")
    return name


def key_text(key: str) -> str:
    # HAProxy takes #... for the address of a row in memory.
    if not key or key.startswith("#") or _WHITE_OR_CONTROL.search(key):
        raise InvalidValue("key of a map", key, "text without white space that starts not with #")
    return unicode_text("key of a map", key)


def value_text(value: str) -> str:
    # The value itself stays out of the error: it may be a secret.
    if not value or value != value.strip() or _CONTROL.search(value):
        allowed = "text without control characters or white space at its ends"
        raise InvalidValue("value of a map row", "...", allowed)
    return unicode_text("value of a map row", value)


def row_lines(rows: Mapping[str, str]) -> list[str]:
    """Rows of a map as the lines of a payload: `key_text`, a space and `value_text`.

    Plain ASCII, as nearly all of it is, is checked in one go: that costs a tenth.
    """
    keys, values = "\n".join([*rows, ""]), "\n".join([*rows.values(), ""])
    single = keys.count("\n") == values.count("\n") == len(rows)
    if not (single and _PLAIN_KEYS.fullmatch(keys) and _PLAIN_VALUES.fullmatch(values)):
        for key, value in rows.items():
            key_text(key), value_text(value)
    return [f"{key} {value}\n" for key, value in rows.items()]


def unicode_text(field: str, value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidValue(field, "...", "text that is valid Unicode") from None
    return value


def payloads(lines: Iterable[str], limit_bytes: int) -> Iterator[str]:
    """*lines*, each with its newline, gathered into payloads of at most *limit_bytes*.

    A line that is longer goes alone.
    """
    rows = tuple(lines)
    sizes = [len(row) if row.isascii() else len(row.encode()) for row in rows]
    ends, begin, before = list(accumulate(sizes)), 0, 0
    while begin < len(rows):
        stop = max(begin + 1, bisect_right(ends, before + limit_bytes, begin))
        yield "".join(rows[begin:stop])
        begin, before = stop, ends[stop - 1]
