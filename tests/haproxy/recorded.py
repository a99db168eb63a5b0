"""Replies of real HAProxys, recorded byte by byte in prompt mode, the prompts included.

`tests/integration/kit/record.py` records them. Each version has a folder under ``replies``, each
command a file in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

REPLIES = Path(__file__).parent / "replies"
VERSIONS = ("2.6", "3.0", "3.2", "3.4")

# In this order, on one connection.
COMMANDS: Mapping[str, str] = {
    "prompt": "prompt",
    "show-info": "show info",
    "show-info-typed": "show info typed",
    "show-stat-typed": "show stat web 4 1 typed",
    "show-stat-json": "show stat web 2 -1 json",
    "show-servers-state": "show servers state web",
    "show-servers-conn": "show servers conn web",
    "show-backend": "show backend",
    "show-sess": "show sess",
    "show-events": "show events",
    "show-errors": "show errors",
    "unknown-command": "bogus",
    "unknown-backend": "show servers state none",
    "add-server": "add server web/n 127.0.0.1:9 id 9",
    "add-server-again": "add server web/n 127.0.0.1:9 id 9",
    "set-address": "set server web/n addr 127.0.0.1 port 8",
    "set-weight": "set server web/n weight 3",
    "get-weight": "get weight web/n",
    "set-weight-refused": "set server web/n weight 300",
    "del-server": "del server web/n",
    "del-server-refused": "del server web/s1",
    "del-server-gone": "del server web/n",
    "set-fqdn": "set server web/named fqdn other.test",
    "set-ssl": "set server web/secure ssl off",
    "set-maxconn-refused": "set maxconn frontend none 5",
    "wait": "wait 1ms srv-removable web/s1",
    "show-map": "show map",
    "show-map-rows": "show map hosts.map",
    "get-map": "get map hosts.map /b",
    "get-map-none": "get map hosts.map /none",
    "add-map": "add map hosts.map <<\n/k v\n/prompt > + > v\n",
    "show-map-odd": "show map hosts.map",
    "set-map-none": "set map hosts.map /none v",
    "prepare-map": "prepare map hosts.map",
    "commit-map": "commit map @1 hosts.map",
    "unknown-map": "show map none.map",
    "show-acl": "show acl",
    "show-acl-patterns": "show acl deny.acl",
    "get-acl": "get acl deny.acl /x",
    "show-table": "show table",
    "set-table": "set table counts key a\\ b data.gpc0 5",
    "show-table-entries": "show table counts",
    "unknown-table": "show table none",
    "show-cert": "show ssl cert",
    "show-cert-one": "show ssl cert site.pem",
    "new-cert": "new ssl cert n.pem",
    "set-cert-refused": "set ssl cert n.pem <<\nnonsense\n",
    "abort-cert-none": "abort ssl cert n.pem",
    "commit-cert-none": "commit ssl cert n.pem",
    "del-cert": "del ssl cert n.pem",
    "del-cert-gone": "del ssl cert n.pem",
    "del-cert-used": "del ssl cert site.pem",
    "show-crt-list": "show ssl crt-list",
    "show-crt-list-lines": "show ssl crt-list -n certs.list",
    "add-crt-list": "add ssl crt-list certs.list <<\nsite.pem [alpn h2] n.test\n",
    "del-crt-list": "del ssl crt-list certs.list site.pem:3",
    "del-crt-list-default": "del ssl crt-list certs.list site.pem:1",
    "show-ca-file": "show ssl ca-file",
    "show-ca-file-one": "show ssl ca-file ca.pem",
    "new-ca-file": "new ssl ca-file n.pem",
    "del-ca-file": "del ssl ca-file n.pem",
    "new-crl-file": "new ssl crl-file r.pem",
    "show-crl-file": "show ssl crl-file",
    "show-sni": "show ssl sni",
    "get-var-none": "get var proc.none",
    "experimental-mode": "experimental-mode on",
    "set-var": "set var proc.x fmt a",
    "get-var": "get var proc.x",
    "add-backend": "add backend d from profile",
    "publish-backend": "publish backend d",
    "del-backend-refused": "del backend d",
    "unpublish-backend": "unpublish backend d",
    "del-backend": "del backend d",
    "severity": "set severity-output number",
    "severity-add-server": "add server web/n 127.0.0.1:9 id 9",
    "severity-add-server-again": "add server web/n 127.0.0.1:9 id 9",
    "severity-set-weight-refused": "set server web/n weight 300",
    "severity-set-address": "set server web/n addr 127.0.0.1 port 8",
    "severity-unknown-map": "show map none.map",
    "severity-prepare-map": "prepare map hosts.map",
    "severity-commit-cert-none": "commit ssl cert n.pem",
    "severity-del-crt-list": "del ssl crt-list certs.list none.pem",
    "severity-get-weight": "get weight web/s1",
    "severity-del-server": "del server web/n",
}


def raw(version: str, name: str) -> bytes:
    """As it came, up to and with the next prompt."""
    return (REPLIES / version / f"{name}.txt").read_bytes()


def text(version: str, name: str) -> str:
    """As `haproxy.protocol` hands it on."""
    return raw(version, name).removesuffix(b"\n> ").decode().strip("\n")
