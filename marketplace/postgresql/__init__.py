"""Django's PostgreSQL backend, with a server of our own where no DATABASE_URL names another."""
