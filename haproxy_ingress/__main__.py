"""``python -m haproxy_ingress`` is the command ``haproxy-ingress``."""

from haproxy_ingress.cli import main

main()
