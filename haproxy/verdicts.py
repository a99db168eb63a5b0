"""What HAProxy's replies mean. No IO.

Source: management.txt, "Unix Socket commands"; every text here tried on 2.6.12, 3.0.11, 3.2.26
and 3.4.7. A reply counts as success only when it is one that is known to mean it.
"""

from __future__ import annotations

import re
from typing import Literal

Status = Literal["done", "busy", "refused"]

# Command, its replies that mean success, those that mean "not yet". A message may follow log
# lines that have nothing to do with it (seen on 3.4), so its last line counts.
_VERDICTS = tuple(
    (re.compile(command), re.compile(done), re.compile(busy))
    for command, done, busy in (
        (r"add server ", r"New server registered\.", r"(?!)"),
        (
            r"del server ",
            r"Server deleted\.|No such server\.|No such backend\.",
            r"Server still has connections attached.*",
        ),
        (
            r"set server \S+ addr ",
            r"(IP changed from|port changed from|no need to change|nothing changed).*",
            r"(?!)",
        ),
        (r"add backend ", r"New backend registered\b.*", r"(?!)"),
        (r"publish backend ", r"Backend published\.", r"(?!)"),
        (r"unpublish backend ", r"Backend unpublished\.|No such backend\.", r"(?!)"),
        (
            r"del backend ",
            r"Backend deleted\.|No such backend\.",
            r"Backend still has attached streams.*|Only a backend without server can be deleted\.",
        ),
        (r"prepare map ", r"New version created: \d+", r"(?!)"),
        (r"del map ", r"|Key not found\.", r"(?!)"),
        (r"new ssl cert ", r"New empty certificate store .*|.* already exists!", r"(?!)"),
        (r"set ssl cert ", r"Transaction (created|updated) for certificate .*!", r"(?!)"),
        (r"(commit ssl cert|add ssl crt-list) ", r"Success!", r"(?!)"),
        (r"show ssl crt-list ", r".*", r"(?!)"),
        (r"del ssl crt-list ", r"Entry .* deleted in crtlist .*!", r"(?!)"),
        (
            r"del ssl cert ",
            r"Certificate .* deleted!|.*certificate '.*' doesn't exist!",
            r".* in use, can't be deleted!",
        ),
    )
)


def judge(command: str, reply: str) -> Status:
    """What *reply* says about *command*.

    Deleting what is already gone is done. Commands that are not in the table succeed in silence.
    """
    message = reply.strip().rpartition("\n")[2].strip()
    for pattern, done, busy in _VERDICTS:
        if pattern.match(command):
            return (
                "done" if done.fullmatch(message) else "busy" if busy.match(message) else "refused"
            )
    return "refused" if message else "done"
