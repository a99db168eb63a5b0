"""Calls that only read, and streams."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from haproxy.calls import Client
from haproxy.capabilities import Feature
from haproxy.errors import CommandRejected, InvalidValue
from haproxy.runtime import RuntimeClient
from tests.integration.contract import call


@call("info", apply=True)
def info(client: Client) -> None:
    found = client.info()
    assert found.pid > 1
    assert found.version.startswith(str(client.can))
    assert found.description == "structure-1"


@call("stats.process")
def stats_process(client: Client) -> None:
    found = client.stats.process()
    assert found["Name"] == "HAProxy"
    assert found["Pid"] == client.info().pid


@call("stats.process_json")
def stats_process_json(client: Client) -> None:
    found = client.stats.process_json()
    assert found["Pid"] == client.info().pid
    assert found.keys() == client.stats.process().keys()


@call("stats.rows")
def stats_rows(client: Client) -> None:
    rows = client.stats.rows()
    assert {("frontend", "front", "FRONTEND"), ("backend", "web", "BACKEND")} <= {
        (row.kind, row.proxy, row.name) for row in rows
    }
    (server,) = (row for row in client.stats.rows("web", only="server") if row.name == "s1")
    assert server.id == 1
    assert server.fields["weight"] == 1
    assert server.fields["status"] == "no check"
    with pytest.raises(CommandRejected, match="No such proxy"):
        client.stats.rows("none")


@call("stats.rows_json")
def stats_rows_json(client: Client) -> None:
    rows, typed = client.stats.rows_json("web"), client.stats.rows("web")
    names = [(row.kind, row.proxy, row.name, row.proxy_id, row.id) for row in rows]
    assert names == [(row.kind, row.proxy, row.name, row.proxy_id, row.id) for row in typed]
    assert [row.fields.keys() for row in rows] == [row.fields.keys() for row in typed]
    with pytest.raises(CommandRejected, match="No such proxy"):
        client.stats.rows_json("none")


@call("stats.clear")
def stats_clear(client: Client) -> None:
    client.stats.clear()
    assert client.stats.rows("web")


@call("servers.state", apply=True)
def servers_state(client: Client) -> None:
    names = {(row.backend, row.name, row.id) for row in client.servers.state()}
    assert {("web", "s1", 1), ("web", "checked", 2)} <= names
    assert client.servers.state("web")[0].address == "127.0.0.1"
    with pytest.raises(CommandRejected, match="Can't find backend"):
        client.servers.state("none")


@call("servers.connections")
def servers_connections(client: Client) -> None:
    first = client.servers.connections("web")[0]
    assert (first.backend, first.name, first.address, first.port) == ("web", "s1", "127.0.0.1", 9)
    assert (first.used, first.idle, first.purge_delay_ms) == (0, 0, 5000)
    assert len(first.idle_per_thread) == client.stats.process()["Nbthread"]
    assert len(client.servers.connections()) == 4
    with pytest.raises(CommandRejected, match="Can't find backend"):
        client.servers.connections("none")


@call("backends.names")
def backends_names(client: Client) -> None:
    assert client.backends.names() == ("web", "counts")


@call("sessions.streams")
def sessions_streams(client: Client) -> None:
    streams = client.sessions.streams()
    assert any(stream.frontend == "GLOBAL" or not stream.frontend for stream in streams)
    assert all(0 <= stream.age_s < 600 for stream in streams)
    assert all(stream.id.startswith("0x") for stream in streams)


@call("sessions.details")
def sessions_details(client: Client) -> None:
    with pytest.raises(InvalidValue):
        client.sessions.details("all")
    if isinstance(client, RuntimeClient):  # through a master every command is a stream of its own
        with another(client) as stream:
            assert stream in client.sessions.details(stream)


@call("sessions.shutdown")
def sessions_shutdown(client: Client) -> None:
    with pytest.raises(CommandRejected, match="No such session"):
        client.sessions.shutdown("0x1")
    if isinstance(client, RuntimeClient):
        with another(client) as stream:
            client.sessions.shutdown(stream)
            assert gone(client, stream)


@contextmanager
def another(client: RuntimeClient) -> Iterator[str]:
    """The id of a stream that stays as long as this lasts."""
    own = alone(client)
    with RuntimeClient(client.address) as other:
        other.info()
        (new,) = {stream.id for stream in client.sessions.streams()} - {own}
        yield new


def alone(client: Client) -> str:
    """The id of the client's own stream, once those of connections that ended are gone."""
    for _ in range(1_000):
        own, *others = client.sessions.streams()
        if not others:
            return own.id
    pytest.fail("streams that do not end")


def gone(client: Client, stream: str) -> bool:
    return any(stream not in {one.id for one in client.sessions.streams()} for _ in range(1_000))


@call("events.sinks")
def events_sinks(client: Client) -> None:
    found = {sink.name: sink for sink in client.events.sinks()}
    assert found["events"].type == "buffer"
    assert found["events"].dropped == 0


@call("events.read")
def events_read(client: Client) -> None:
    client.execute(["set server web/s1 state maint"])
    assert any("web/s1" in line for line in client.events.read("events"))
    with pytest.raises(CommandRejected, match="No such event sink"):
        client.events.read("none")


@call("events.follow")
def events_follow(client: Client) -> None:
    if client.relayed:
        with pytest.raises(InvalidValue, match="through the master"):
            next(client.events.follow("events", 1))
        return
    client.execute(["set server web/s1 state maint"])
    events = client.events.follow("events", 10)
    assert any("web/s1" in line for line in events)
    client.execute(["set server web/s1 state ready"])
    assert any("web/s1" in line for line in events)
    assert list(client.events.follow("events", 0.05, new_only=True)) == []
    with pytest.raises(CommandRejected, match="No such event sink"):
        list(client.events.follow("none", 1))


@call("errors")
def errors(client: Client) -> None:
    assert client.errors().startswith("Total events captured on [")


@call("startup_log")
def startup_log(client: Client) -> None:
    assert isinstance(client.startup_log(), str)


@call("echo", Feature.ECHO)
def echo(client: Client) -> None:
    assert client.echo("hello") == "hello"


@call("wait", Feature.WAIT)
def wait(client: Client) -> None:
    if client.relayed:
        with pytest.raises(InvalidValue, match="through the master"):
            client.wait(0.01)
        return
    assert client.wait(0.01)
    with pytest.raises(CommandRejected, match="Failed"):
        client.wait(5, server=("web", "s1"))
    client.execute(["set server web/s1 state maint"])
    assert client.wait(5, server=("web", "s1"))


@call("batch", apply=True)
def batch(client: Client) -> None:
    replies = client.batch(["set server web/s1 weight 2", "set server web/s1 state drain"])
    assert replies == ("", "")
    with pytest.raises(CommandRejected):
        client.batch(["set server web/none weight 2"])
