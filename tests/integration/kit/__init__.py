"""What the integration tests are made with: pods, a name server, the daemon, clients.

Nothing here imports the packages under test: the tests look from outside, as a user does.
"""
