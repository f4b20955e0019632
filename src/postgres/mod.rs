//! A real PostgreSQL server: found, initialised, configured and supervised; and the client that talks to it.
