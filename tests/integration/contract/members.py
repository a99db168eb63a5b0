"""Servers, backends, frontends, limits and variables."""

from __future__ import annotations

import pytest

from haproxy.calls import Client, Weight
from haproxy.capabilities import Feature
from haproxy.errors import CommandRejected, InvalidValue
from haproxy.model import State
from haproxy.tables import ServerState
from tests.integration.contract import call

NONE = "No such (server|backend)"


def server(client: Client, name: str, backend: str = "web") -> ServerState:
    (found,) = (row for row in client.servers.state(backend) if row.name == name)
    return found


def arrives(client: Client, name: str, socket: tuple[str, int]) -> None:
    """Since 3.0 an address changes after the answer."""
    for _ in range(1_000):
        found = server(client, name)
        if (found.address, found.port) == socket:
            return
    pytest.fail(f"{name} is at {found}")


@call("servers.add", apply=True)
def servers_add(client: Client) -> None:
    client.servers.add("web", "n", "fd00::1", 81, id=9, weight=7, keywords={"maxconn": "5"})
    found = server(client, "n")
    assert (found.id, found.address, found.port, found.weight) == (9, "fd00::1", 81, 7)
    assert found.state is State.MAINT
    with pytest.raises(CommandRejected, match="Already exists a server with the same name"):
        client.servers.add("web", "n", "127.0.0.1", 81)
    with pytest.raises(CommandRejected, match=NONE):
        client.servers.add("none", "n", "127.0.0.1", 81)
    with pytest.raises(InvalidValue):
        client.servers.add("web", "m", "127.0.0.1", 81, keywords={"bogus": ""})


@call("servers.delete", apply=True)
def servers_delete(client: Client) -> None:
    with pytest.raises(CommandRejected, match="Only servers in maintenance mode"):
        client.servers.delete("web", "s1")
    client.servers.set_state("web", "s1", State.MAINT)
    client.servers.delete("web", "s1", wait_s=5)
    assert "s1" not in {row.name for row in client.servers.state("web")}
    client.servers.delete("web", "s1")


@call("servers.set_address", apply=True)
def servers_set_address(client: Client) -> None:
    client.servers.set_address("web", "s1", "fd00::2", 82)
    arrives(client, "s1", ("fd00::2", 82))
    client.servers.set_address("web", "s1", "fd00::2", 82)
    with pytest.raises(CommandRejected, match=NONE):
        client.servers.set_address("web", "none", "127.0.0.1", 82)


@call("servers.weight")
def servers_weight(client: Client) -> None:
    assert client.servers.weight("web", "s1") == Weight(1, 1)
    with pytest.raises(CommandRejected, match=NONE):
        client.servers.weight("web", "none")


@call("servers.set_weight", apply=True)
def servers_set_weight(client: Client) -> None:
    client.servers.set_weight("web", "s1", 9)
    assert client.servers.weight("web", "s1") == Weight(9, 1)
    with pytest.raises(CommandRejected, match=NONE):
        client.servers.set_weight("web", "none", 9)


@call("servers.set_state", apply=True)
def servers_set_state(client: Client) -> None:
    for state in (State.DRAIN, State.MAINT, State.READY):
        client.servers.set_state("web", "s1", state)
        assert server(client, "s1").state is state
    with pytest.raises(CommandRejected, match=NONE):
        client.servers.set_state("web", "none", State.READY)


@call("servers.set_health")
def servers_set_health(client: Client) -> None:
    client.servers.set_health("web", "checked", "down")
    assert not server(client, "checked").running
    client.servers.set_health("web", "checked", "up")
    assert server(client, "checked").running
    client.servers.set_health("web", "checked", "stopping")
    assert server(client, "checked").operational == 3


@call("servers.set_agent")
def servers_set_agent(client: Client) -> None:
    client.servers.set_agent("web", "checked", "down")
    client.servers.set_agent("web", "checked", "up")
    with pytest.raises(CommandRejected, match="agent checks are not enabled"):
        client.servers.set_agent("web", "s1", "up")


@call("servers.set_agent_address")
def servers_set_agent_address(client: Client) -> None:
    client.servers.set_agent_address("web", "checked", "127.0.0.2", 7)
    assert "127.0.0.2" in client.execute(["show servers state web"])[0]
    with pytest.raises(CommandRejected, match="agent checks are not enabled"):
        client.servers.set_agent_address("web", "s1", "127.0.0.2")


@call("servers.set_agent_port")
def servers_set_agent_port(client: Client) -> None:
    client.servers.set_agent_port("web", "checked", 4711)
    assert " 4711" in client.execute(["show servers state web"])[0]


@call("servers.set_agent_send")
def servers_set_agent_send(client: Client) -> None:
    client.servers.set_agent_send("web", "checked", "a b;c")
    with pytest.raises(CommandRejected, match="agent checks are not enabled"):
        client.servers.set_agent_send("web", "s1", "x")


@call("servers.set_check_address", Feature.CHECK_ADDRESS)
def servers_set_check_address(client: Client) -> None:
    client.servers.set_check_address("web", "checked", "127.0.0.3", 4712)
    assert " 4712 127.0.0.3 " in client.execute(["show servers state web"])[0]


@call("servers.set_check_port")
def servers_set_check_port(client: Client) -> None:
    client.servers.set_check_port("web", "checked", 4713)
    assert " 4713 " in client.execute(["show servers state web"])[0]
    with pytest.raises(CommandRejected, match="health checks are not enabled"):
        client.servers.set_check_port("web", "s1", 80)


@call("servers.set_fqdn")
def servers_set_fqdn(client: Client) -> None:
    client.servers.set_fqdn("web", "named", "other.test")
    assert " other.test " in client.execute(["show servers state web"])[0]
    with pytest.raises(CommandRejected, match="no resolution is configured"):
        client.servers.set_fqdn("web", "s1", "other.test")


@call("servers.set_ssl")
def servers_set_ssl(client: Client) -> None:
    client.servers.set_ssl("web", "secure", False)
    client.servers.set_ssl("web", "secure", True)
    with pytest.raises(CommandRejected, match="cannot be set"):
        client.servers.set_ssl("web", "s1", True)


@call("servers.enable_health")
def servers_enable_health(client: Client) -> None:
    client.servers.add("web", "n", "127.0.0.1", 9, id=9, keywords={"check": "", "inter": "1h"})
    client.servers.enable_health("web", "n")
    with pytest.raises(CommandRejected, match="not configured on this server"):
        client.servers.enable_health("web", "s1")


@call("servers.disable_health")
def servers_disable_health(client: Client) -> None:
    client.servers.disable_health("web", "checked")
    client.servers.disable_health("web", "s1")


@call("servers.enable_agent")
def servers_enable_agent(client: Client) -> None:
    client.servers.enable_agent("web", "checked")
    with pytest.raises(CommandRejected, match="not configured on this server"):
        client.servers.enable_agent("web", "s1")


@call("servers.disable_agent")
def servers_disable_agent(client: Client) -> None:
    client.servers.disable_agent("web", "checked")


@call("servers.set_maxconn")
def servers_set_maxconn(client: Client) -> None:
    client.servers.set_maxconn("web", "s1", 7)
    (row,) = (row for row in client.stats.rows("web", only="server") if row.name == "s1")
    assert row.fields["slim"] == 7
    with pytest.raises(CommandRejected, match=NONE):
        client.servers.set_maxconn("web", "none", 7)


@call("servers.shutdown_sessions")
def servers_shutdown_sessions(client: Client) -> None:
    client.servers.shutdown_sessions("web", "s1")
    with pytest.raises(CommandRejected, match=NONE):
        client.servers.shutdown_sessions("web", "none")


@call("backends.add", Feature.DYNAMIC_BACKENDS, apply=True)
def backends_add(client: Client) -> None:
    client.backends.add("dynamic", "profile", guid="g-1")
    client.backends.add("plain", "profile-tcp", mode="tcp")
    assert {"dynamic", "plain"} <= set(client.backends.names())
    with pytest.raises(CommandRejected, match="already used by other proxy"):
        client.backends.add("dynamic", "profile")
    with pytest.raises(CommandRejected, match="Cannot find default proxy"):
        client.backends.add("more", "none")
    with pytest.raises(CommandRejected, match="Mode is required"):
        client.backends.add("more", "profile-tcp")


@call("backends.publish", Feature.DYNAMIC_BACKENDS, apply=True)
def backends_publish(client: Client) -> None:
    client.backends.add("dynamic", "profile")
    client.backends.publish("dynamic")
    with pytest.raises(CommandRejected, match=NONE):
        client.backends.publish("none")


@call("backends.unpublish", Feature.DYNAMIC_BACKENDS, apply=True)
def backends_unpublish(client: Client) -> None:
    client.backends.add("dynamic", "profile")
    client.backends.publish("dynamic")
    client.backends.unpublish("dynamic")
    client.backends.unpublish("none")


@call("backends.delete", Feature.DYNAMIC_BACKENDS, apply=True)
def backends_delete(client: Client) -> None:
    client.backends.add("dynamic", "profile")
    client.backends.publish("dynamic")
    with pytest.raises(CommandRejected, match="must be unpublished"):
        client.backends.delete("dynamic")
    client.backends.unpublish("dynamic")
    client.servers.add("dynamic", "s", "127.0.0.1", 9, id=1)
    with pytest.raises(CommandRejected, match="without server"):
        client.backends.delete("dynamic")
    client.servers.delete("dynamic", "s", wait_s=5)
    client.backends.delete("dynamic", wait_s=5)
    assert "dynamic" not in client.backends.names()
    client.backends.delete("dynamic")


@call("frontends.set_maxconn")
def frontends_set_maxconn(client: Client) -> None:
    client.frontends.set_maxconn("front", 77)
    (row,) = client.stats.rows("front", only="frontend")
    assert row.fields["slim"] == 77
    with pytest.raises(CommandRejected, match="No such frontend"):
        client.frontends.set_maxconn("none", 7)


@call("frontends.disable")
def frontends_disable(client: Client) -> None:
    client.frontends.disable("other")
    with pytest.raises(CommandRejected, match="No such frontend"):
        client.frontends.disable("none")


@call("frontends.enable")
def frontends_enable(client: Client) -> None:
    client.frontends.disable("other")
    client.frontends.enable("other")
    (row,) = client.stats.rows("other", only="frontend")
    assert row.fields["status"] == "OPEN"


@call("frontends.shutdown")
def frontends_shutdown(client: Client) -> None:
    client.frontends.shutdown("other")
    with pytest.raises(CommandRejected, match="previously shut down"):
        client.frontends.enable("other")


@call("settings.set_maxconn")
def settings_set_maxconn(client: Client) -> None:
    client.settings.set_maxconn(50)
    assert client.stats.process()["Maxconn"] == 50


@call("settings.set_rate")
def settings_set_rate(client: Client) -> None:
    client.settings.set_rate("connections", 1001)
    client.settings.set_rate("sessions", 1002)
    client.settings.set_rate("ssl-sessions", 1003)
    client.settings.set_rate("http-compression", 4)
    found = client.stats.process()
    names = ("ConnRateLimit", "SessRateLimit", "SslRateLimit", "CompressBpsRateLim")
    assert [found[name] for name in names] == [1001, 1002, 1003, 4096]


@call("variables.get")
def variables_get(client: Client) -> None:
    assert client.variables.get("proc.none") is None
    with pytest.raises(InvalidValue):
        client.variables.get("txn.x")


@call("variables.set")
def variables_set(client: Client) -> None:
    if client.relayed:
        with pytest.raises(InvalidValue, match="through the master"):
            client.variables.set("proc.x", "a")
        return
    client.variables.set("proc.x", "a b;%[x] \\")
    assert client.variables.get("proc.x") == "a b;%[x] \\"
