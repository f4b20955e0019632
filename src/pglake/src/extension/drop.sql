-- DROP TABLE: takes an Iceberg table away before the statement runs.

-- Replaces an Iceberg table with an empty heap table, so that the DROP TABLE that is about to run
-- finds a table. `caller_path` is the caller's search_path, so that errors name dependent objects
-- as the caller knows them.
CREATE FUNCTION lake_engine.before_drop(relation regclass, cascade boolean, caller_path text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  name text := relation::text;
  owner name := (SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = relation);
BEGIN
  IF NOT pg_has_role(session_user, owner, 'USAGE') THEN
    RAISE EXCEPTION 'must be owner of foreign table %', (SELECT relname FROM pg_class WHERE oid = relation)
      USING ERRCODE = '42501';
  END IF;
  PERFORM set_config('search_path', caller_path, true);
  EXECUTE format('DROP FOREIGN TABLE %s %s', name, CASE WHEN cascade THEN 'CASCADE' ELSE '' END);
  PERFORM set_config('search_path', 'pg_catalog, pg_temp', true);
  EXECUTE format('CREATE TABLE %s () USING heap', name);
  EXECUTE format('ALTER TABLE %s OWNER TO %I', name, owner);
END
$$;
