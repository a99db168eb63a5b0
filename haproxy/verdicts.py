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
        (r"set server \S+ fqdn ", r".* changed its FQDN from .*|no need to change .*", r"(?!)"),
        (r"set server \S+ ssl ", r"server ssl setting updated\.", r"(?!)"),
        (r"prepare (map|acl) ", r"New version created: \d+", r"(?!)"),
        (r"del (map|acl) ", r"|Key not found\.", r"(?!)"),
        (r"new ssl cert ", r"New empty certificate store .*|.* already exists!", r"(?!)"),
        (r"set ssl cert ", r"Transaction (created|updated) for certificate .*!", r"(?!)"),
        (r"new ssl (ca|crl)-file ", r"New (CA|CRL) file created .*|.* already exists!", r"(?!)"),
        (r"(set|add) ssl (ca|crl)-file ", r"[Tt]ransaction (created|updated) for .*!", r"(?!)"),
        (r"(commit ssl \S+|add ssl crt-list) ", r"Success!", r"(?!)"),
        (r"abort ssl ", r"Transaction aborted for .*!|No ongoing transaction!", r"(?!)"),
        (r"show |get |echo ", r".*", r"(?!)"),
        (r"del ssl crt-list ", r"Entry .* deleted in crtlist .*!", r"(?!)"),
        (
            r"del ssl cert ",
            r"Certificate .* deleted!|.*certificate '.*' doesn't exist!",
            r".* in use, can't be deleted!",
        ),
        (
            r"del ssl (ca|crl)-file ",
            r"(CA|CRL) file .* deleted!|.*file '.*' doesn't exist!",
            r".* in use, can't be deleted!",
        ),
        (r"wait ", r"Done\.", r"Wait delay expired.*"),
    )
)


# In front of messages where a socket has `severity-output number` or `string`.
_SEVERITY = re.compile(
    r"^\[([0-7]|emerg|alert|crit|err(or)?|warning|notice|info|debug)\]: ", re.IGNORECASE
)


def message(reply: str) -> str:
    """*reply* without the severity that a socket may be set to show."""
    return _SEVERITY.sub("", reply, count=1)


def judge(command: str, reply: str) -> Status:
    """What *reply* says about *command*.

    Deleting what is already gone is done. Commands that are not in the table succeed in silence.
    """
    said = message(reply.strip().rpartition("\n")[2].strip())
    for pattern, done, busy in _VERDICTS:
        if pattern.match(command):
            return "done" if done.fullmatch(said) else "busy" if busy.match(said) else "refused"
    return "refused" if said else "done"
