"""Model a running HAProxy, compare it with what should run, and get there without a reload."""
