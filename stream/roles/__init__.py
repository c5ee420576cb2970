"""The roles put together: settings become clients, clients a worker, and a worker runs in its loop."""
