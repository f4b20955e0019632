-- The SQL side of icebox's stand-in for pg_lake.
--
-- An Iceberg table is a foreign table of the server pg_lake_iceberg, as it is in pg_lake itself.
-- The server is icebox's lake engine on a private unix socket, reached through postgres_fdw. Tables
-- are addressed by OID (`pg_temp."<oid>"` in remote queries), so that a rename changes no options.
-- postgres_fdw does not transmit DDL, nor which transaction writes. The event triggers and the
-- statement trigger below do that.

SET LOCAL allow_system_table_mods = on;

CREATE SCHEMA lake_engine;
CREATE SCHEMA lake_iceberg;
CREATE SCHEMA lake_file;
GRANT USAGE ON SCHEMA lake_engine, lake_iceberg, lake_file TO PUBLIC;

CREATE ACCESS METHOD iceberg TYPE TABLE HANDLER heap_tableam_handler;
CREATE ACCESS METHOD pg_lake_iceberg TYPE TABLE HANDLER heap_tableam_handler;
COMMENT ON ACCESS METHOD iceberg IS 'marks a table that becomes an Iceberg table';

CREATE FOREIGN DATA WRAPPER pg_lake_iceberg HANDLER postgres_fdw_handler VALIDATOR postgres_fdw_validator;

-- The engine's address comes from the same setting as in pg_lake itself. It is a connection string
-- with a host, whose value may be quoted, and a port.
-- The application name tells the engine which backend it serves. With a high cost per transferred
-- row the planner pushes whole aggregates and joins to the engine.
DO $do$
DECLARE
  engine text := coalesce(nullif(current_setting('pg_lake_engine.host', true), ''), '@ENGINE_HOST@');
  host text[] := regexp_match(engine, $$\mhost\s*=\s*(?:'((?:[^'\\]|\\.)*)'|(\S+))$$);
  port text := coalesce((regexp_match(engine, $$\mport\s*=\s*'?(\d+)$$))[1], '5332');
BEGIN
  IF host IS NULL THEN
    RAISE EXCEPTION 'the setting pg_lake_engine.host has no host: %', engine USING
      ERRCODE = '22023', HINT = 'It is a connection string such as ''host=/tmp port=5332''.';
  END IF;
  EXECUTE format(
    $$CREATE SERVER pg_lake_iceberg FOREIGN DATA WRAPPER pg_lake_iceberg OPTIONS (
        host %L, port %L, dbname %L, application_name 'fdw %%p',
        batch_size '4000', fetch_size '10000', fdw_startup_cost '1', fdw_tuple_cost '100')$$,
    regexp_replace(coalesce(host[1], host[2]), $$\\(.)$$, $$\1$$, 'g'), port, current_database());
END
$do$;
GRANT USAGE ON FOREIGN SERVER pg_lake_iceberg TO PUBLIC;
-- One mapping for all roles: so a local transaction has one connection to the engine, and one
-- remote transaction.
CREATE USER MAPPING FOR PUBLIC SERVER pg_lake_iceberg OPTIONS (user 'lake', password_required 'false');

-- Requests to the lake engine inside the caller's transaction. One scan of this table is one
-- request.
CREATE FOREIGN TABLE lake_engine.rpc (request text, response text)
  SERVER pg_lake_iceberg OPTIONS (schema_name 'pg_temp', table_name 'rpc');
