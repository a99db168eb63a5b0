"""Kubernetes Ingress on HAProxy: from objects to a configuration that changes while it runs."""
