"""Kubernetes Ingress on HAProxy: from objects to a configuration that changes while it runs.

Everything that is public is here; `examples/embed_controller.py` is where to begin.
"""

from haproxy_ingress.controller import Controller
from haproxy_ingress.diagnostics import Diagnostic, Level, Ref, Why
from haproxy_ingress.journal import Cause, Decision, Journal
from haproxy_ingress.parsing import expand, parse
from haproxy_ingress.pipeline import Pipeline, compile_config
from haproxy_ingress.resources import (
    Endpoint,
    EndpointSlice,
    Ingress,
    IngressClass,
    Meta,
    Path,
    PathType,
    Resource,
    ResourceTarget,
    Rule,
    Service,
    ServicePort,
    ServiceTarget,
    SlicePort,
    Tls,
)
from haproxy_ingress.selfsigned import self_signed
from haproxy_ingress.sources import Change, Source
from haproxy_ingress.sources.manifests import ManifestsSource, read_paths
from haproxy_ingress.sources.memory import MemorySource
from haproxy_ingress.translate import Settings

__all__ = [
    "Cause",
    "Change",
    "Controller",
    "Decision",
    "Diagnostic",
    "Endpoint",
    "EndpointSlice",
    "Ingress",
    "IngressClass",
    "Journal",
    "Level",
    "ManifestsSource",
    "MemorySource",
    "Meta",
    "Path",
    "PathType",
    "Pipeline",
    "Ref",
    "Resource",
    "ResourceTarget",
    "Rule",
    "Service",
    "ServicePort",
    "ServiceTarget",
    "Settings",
    "SlicePort",
    "Source",
    "Tls",
    "Why",
    "compile_config",
    "expand",
    "parse",
    "read_paths",
    "self_signed",
]
