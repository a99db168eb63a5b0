"""Certificates, crt-lists, CA files and CRL files."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from haproxy.calls import Authority, Client, CrtListLine
from haproxy.capabilities import Feature
from haproxy.errors import CommandRejected, InvalidValue
from tests.integration.contract import call
from tests.integration.kit.certs import pair
from tests.integration.kit.real import CA, CERTIFICATE, CRT_LIST

LINES = (
    CrtListLine(CERTIFICATE, 1),
    CrtListLine(CERTIFICATE, 2, "alpn h2,http/1.1", ("*.w.test", "!x.w.test")),
)


def pem(*hosts: str) -> str:
    made = pair(*hosts)
    return f"{made.chain}\n\r\n{made.key}\n"  # with empty lines, as people write them


def serial(text: str) -> str:
    return f"{x509.load_pem_x509_certificate(text.encode()).serial_number:X}"


def revocations() -> str:
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "ca.test")])
    builder = x509.CertificateRevocationListBuilder().issuer_name(name).last_update(now)
    made = builder.next_update(now + timedelta(days=1)).sign(key, hashes.SHA256())
    return made.public_bytes(Encoding.PEM).decode()


@call("certificates.names", apply=True)
def certificates_names(client: Client) -> None:
    assert client.certificates.names() == (CERTIFICATE,)


@call("certificates.show", apply=True)
def certificates_show(client: Client) -> None:
    shown = client.certificates.show(CERTIFICATE)
    assert (shown.name, shown.status) == (CERTIFICATE, "Used")
    assert shown.names == ("a.test", "www.a.test")
    assert shown.not_after is not None
    assert shown.not_before is not None
    assert timedelta(days=28) < shown.not_after - datetime.now(UTC) < timedelta(days=31)
    assert len(shown.fingerprint) == 40
    assert shown.subject == shown.issuer == "/CN=a.test"
    with pytest.raises(CommandRejected, match="Not found"):
        client.certificates.show("none.pem")


@call("certificates.served_names", Feature.SERVED_NAMES)
def certificates_served_names(client: Client) -> None:
    found = client.certificates.served_names()
    assert {"a.test", "*.w.test"} & {one.name for one in found}
    assert {one.certificate for one in found} == {CERTIFICATE}


@call("certificates.new", apply=True)
def certificates_new(client: Client) -> None:
    client.certificates.new("n.pem")
    assert client.certificates.show("n.pem").status == "Empty"
    client.certificates.new("n.pem")


@call("certificates.set", apply=True)
def certificates_set(client: Client) -> None:
    client.certificates.set(CERTIFICATE, pem("b.test"))
    assert client.certificates.show(CERTIFICATE).names == ("a.test", "www.a.test")
    client.certificates.new("n.pem")
    with pytest.raises(CommandRejected):  # there is one transaction at a time
        client.certificates.set("n.pem", pem("c.test"))
    with pytest.raises(CommandRejected):
        client.certificates.set("none.pem", pem("c.test"))
    with pytest.raises(CommandRejected):
        client.certificates.set(CERTIFICATE, "nonsense\n")
    with pytest.raises(InvalidValue, match="at most"):
        client.certificates.set(CERTIFICATE, pem("c.test") * 200)


@call("certificates.commit", apply=True)
def certificates_commit(client: Client) -> None:
    client.certificates.set(CERTIFICATE, pem("b.test"))
    client.certificates.commit(CERTIFICATE)
    assert client.certificates.show(CERTIFICATE).names == ("b.test",)
    with pytest.raises(CommandRejected, match="No ongoing transaction"):
        client.certificates.commit(CERTIFICATE)


@call("certificates.abort", apply=True)
def certificates_abort(client: Client) -> None:
    client.certificates.set(CERTIFICATE, pem("b.test"))
    client.certificates.abort(CERTIFICATE)
    client.certificates.abort(CERTIFICATE)
    with pytest.raises(CommandRejected, match="No ongoing transaction"):
        client.certificates.commit(CERTIFICATE)


@call("certificates.replace", apply=True)
def certificates_replace(client: Client) -> None:
    text = pem("b.test")
    client.certificates.replace(CERTIFICATE, text)
    assert client.certificates.show(CERTIFICATE).serial == serial(text).zfill(40)
    with pytest.raises(CommandRejected):
        client.certificates.replace(CERTIFICATE, pair("c.test", key=2).chain + pair("d.test").key)
    client.certificates.replace(CERTIFICATE, pem("e.test"))
    assert client.certificates.show(CERTIFICATE).names == ("e.test",)


@call("certificates.delete", apply=True)
def certificates_delete(client: Client) -> None:
    client.certificates.new("n.pem")
    client.certificates.delete("n.pem")
    assert client.certificates.names() == (CERTIFICATE,)
    client.certificates.delete("n.pem")
    with pytest.raises(CommandRejected, match="in use"):
        client.certificates.delete(CERTIFICATE)


@call("crt_lists.names")
def crt_lists_names(client: Client) -> None:
    assert client.crt_lists.names() == (CRT_LIST,)


@call("crt_lists.lines", apply=True)
def crt_lists_lines(client: Client) -> None:
    assert client.crt_lists.lines(CRT_LIST) == LINES
    with pytest.raises(CommandRejected, match="didn't find"):
        client.crt_lists.lines("none.list")


@call("crt_lists.add", apply=True)
def crt_lists_add(client: Client) -> None:
    client.certificates.new("n.pem")
    with pytest.raises(CommandRejected, match="is empty"):
        client.crt_lists.add(CRT_LIST, "n.pem")
    client.certificates.replace("n.pem", pem("n.test"))
    client.crt_lists.add(CRT_LIST, "n.pem", options="alpn h2", filters=("*.n.test", "!x.n.test"))
    client.crt_lists.add(CRT_LIST, "n.pem")
    added = client.crt_lists.lines(CRT_LIST)[2:]
    assert [(one.certificate, one.options, one.filters) for one in added] == [
        ("n.pem", "alpn h2", ("*.n.test", "!x.n.test")),
        ("n.pem", "", ()),
    ]
    with pytest.raises(CommandRejected, match="does not exist"):
        client.crt_lists.add("none.list", CERTIFICATE)


@call("crt_lists.delete", apply=True)
def crt_lists_delete(client: Client) -> None:
    with pytest.raises(CommandRejected, match="several entries"):
        client.crt_lists.delete(CRT_LIST, CERTIFICATE)
    client.crt_lists.delete(CRT_LIST, CERTIFICATE, 2)
    assert client.crt_lists.lines(CRT_LIST) == LINES[:1]
    with pytest.raises(CommandRejected, match="default certificate"):
        client.crt_lists.delete(CRT_LIST, CERTIFICATE)


@call("ca_files.list")
def ca_files_list(client: Client) -> None:
    assert Authority(CA, 1) in client.ca_files.list()


@call("ca_files.show")
def ca_files_show(client: Client) -> None:
    (shown,) = client.ca_files.show(CA)
    assert (shown.name, shown.names) == (CA, ("ca.test",))
    with pytest.raises(CommandRejected, match="Not found"):
        client.ca_files.show("none.pem")


@call("ca_files.text")
def ca_files_text(client: Client) -> None:
    assert "ca.test" in client.ca_files.text(CA)


@call("ca_files.new")
def ca_files_new(client: Client) -> None:
    client.ca_files.new("n.pem")
    assert Authority("n.pem", 0) in client.ca_files.list()
    client.ca_files.new("n.pem")


@call("ca_files.set")
def ca_files_set(client: Client) -> None:
    client.ca_files.set(CA, pair("b.test").chain)
    assert client.ca_files.show(CA)[0].names == ("ca.test",)
    with pytest.raises(CommandRejected):
        client.ca_files.set("none.pem", pair("b.test").chain)
    client.ca_files.abort(CA)
    bundle = "".join(pair(f"{number}.test").chain for number in range(150))
    if not client.can.has(Feature.ADD_CA_FILE):
        with pytest.raises(InvalidValue, match=r"payload of set ssl ca-file.*bytes"):
            client.ca_files.set(CA, bundle)
        return
    client.ca_files.set(CA, bundle)
    client.ca_files.commit(CA)
    assert [one.names for one in client.ca_files.show(CA)] == [(f"{n}.test",) for n in range(150)]


@call("ca_files.add", Feature.ADD_CA_FILE)
def ca_files_add(client: Client) -> None:
    client.ca_files.add(CA, pair("b.test").chain)
    client.ca_files.commit(CA)
    assert {one.names[0] for one in client.ca_files.show(CA)} == {"ca.test", "b.test"}


@call("ca_files.commit")
def ca_files_commit(client: Client) -> None:
    client.ca_files.set(CA, pair("b.test").chain)
    client.ca_files.commit(CA)
    assert client.ca_files.show(CA)[0].names == ("b.test",)
    with pytest.raises(CommandRejected, match="No ongoing transaction"):
        client.ca_files.commit(CA)


@call("ca_files.abort")
def ca_files_abort(client: Client) -> None:
    client.ca_files.set(CA, pair("b.test").chain)
    client.ca_files.abort(CA)
    client.ca_files.abort(CA)
    assert client.ca_files.show(CA)[0].names == ("ca.test",)


@call("ca_files.replace")
def ca_files_replace(client: Client) -> None:
    client.ca_files.replace(CA, pair("b.test").chain)
    assert client.ca_files.show(CA)[0].names == ("b.test",)
    with pytest.raises(CommandRejected):
        client.ca_files.replace(CA, "nonsense\n")


@call("ca_files.delete")
def ca_files_delete(client: Client) -> None:
    client.ca_files.new("n.pem")
    client.ca_files.delete("n.pem")
    assert "n.pem" not in {one.name for one in client.ca_files.list()}
    client.ca_files.delete("n.pem")


def filled(client: Client) -> None:
    client.crl_files.new("r.pem")
    client.crl_files.replace("r.pem", revocations())


@call("crl_files.list")
def crl_files_list(client: Client) -> None:
    assert client.crl_files.list() == ()
    client.crl_files.new("r.pem")
    assert client.crl_files.list() == (Authority("r.pem", None),)


@call("crl_files.text")
def crl_files_text(client: Client) -> None:
    filled(client)
    assert "/CN=ca.test" in client.crl_files.text("r.pem")


@call("crl_files.new")
def crl_files_new(client: Client) -> None:
    client.crl_files.new("r.pem")
    client.crl_files.new("r.pem")


@call("crl_files.set")
def crl_files_set(client: Client) -> None:
    client.crl_files.new("r.pem")
    client.crl_files.set("r.pem", revocations())
    with pytest.raises(CommandRejected):
        client.crl_files.set("none.pem", revocations())


@call("crl_files.commit")
def crl_files_commit(client: Client) -> None:
    client.crl_files.new("r.pem")
    client.crl_files.set("r.pem", revocations())
    client.crl_files.commit("r.pem")
    assert "Empty" not in client.crl_files.text("r.pem")


@call("crl_files.abort")
def crl_files_abort(client: Client) -> None:
    client.crl_files.new("r.pem")
    client.crl_files.set("r.pem", revocations())
    client.crl_files.abort("r.pem")
    client.crl_files.abort("r.pem")
    assert "Empty" in client.crl_files.text("r.pem")


@call("crl_files.replace")
def crl_files_replace(client: Client) -> None:
    filled(client)
    with pytest.raises(CommandRejected):
        client.crl_files.replace("r.pem", "nonsense\n")


@call("crl_files.delete")
def crl_files_delete(client: Client) -> None:
    client.crl_files.new("r.pem")
    client.crl_files.delete("r.pem")
    client.crl_files.delete("r.pem")
    assert client.crl_files.list() == ()
