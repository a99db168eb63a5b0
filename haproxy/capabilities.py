"""What a HAProxy of a given version can do at runtime.

One table; the plan and the client both read it. Versions are those of the release lines that
the tests run: 2.6, 3.0, 3.2, 3.4. A line in between has what the line before it has.
"""

from __future__ import annotations

import re
from typing import Self

from attrs import frozen

from haproxy.errors import InvalidValue

OLDEST = (2, 6)


@frozen
class Capabilities:
    """What one HAProxy can do.

    version: (major, minor).
    reload_verdict: the master's ``reload`` answers when done, with Success=0 or 1 (2.7).
    dynamic_backends: ``add backend NAME from PROFILE`` (3.4).
    """

    version: tuple[int, int]

    @classmethod
    def of(cls, version: str) -> Self:
        """From a version text such as ``2.6.12-1+deb12u4`` or ``3.4``.

        Raises `InvalidValue` when it is no version, or one older than 2.6.
        """
        match = re.match(r"([0-9]{1,3})\.([0-9]{1,3})(?![0-9])", version)
        if not match or (number := (int(match[1]), int(match[2]))) < OLDEST:
            raise InvalidValue("HAProxy version", version, "2.6 and later")
        return cls(number)

    @property
    def reload_verdict(self) -> bool:
        return self.version >= (2, 7)

    @property
    def dynamic_backends(self) -> bool:
        return self.version >= (3, 4)

    def __str__(self) -> str:
        return f"{self.version[0]}.{self.version[1]}"
