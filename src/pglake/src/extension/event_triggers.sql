-- The event triggers, which call the functions of the parts before.

-- Returns the statement that fired the calling event trigger: the innermost SQL statement of a
-- function, or else the client's.
CREATE FUNCTION lake_engine.statement_text(context text) RETURNS text
LANGUAGE sql STABLE AS $$
  SELECT coalesce(pg_catalog.substring(context, '\nSQL statement "(.*?)"(?:\n(?:PL/pgSQL|SQL) function|$)'),
                  pg_catalog.current_query())
$$;

-- This function has neither SECURITY DEFINER nor a search_path of its own, so that names resolve as
-- in the statement.
CREATE FUNCTION lake_engine.on_ddl_start() RETURNS event_trigger
LANGUAGE plpgsql AS $$
DECLARE
  context text;
  statement text;
  seen int;
  key text;
  dropped jsonb;
  item text;
  relation pg_catalog.regclass;
BEGIN
  IF pg_catalog.current_setting('lake_engine.nested', true) OPERATOR(pg_catalog.=) 'on' THEN
    RETURN;
  END IF;
  GET DIAGNOSTICS context = PG_CONTEXT;
  statement := lake_engine.statement_text(context);
  IF tg_tag OPERATOR(pg_catalog.<>) 'DROP TABLE' THEN
    IF statement OPERATOR(pg_catalog.~*) '\yusing\s+"?(pg_lake_)?iceberg"?\s+with\s*\(' THEN
      RAISE EXCEPTION 'WITH (…) options of Iceberg tables are not supported by the embedded stand-in for pg_lake' USING
        ERRCODE = '0A000',
        HINT = 'Set pg_lake_iceberg.default_location_prefix for the location; partitioning needs the native or containers engine.';
    END IF;
    RETURN;
  END IF;
  -- Most statements name no Iceberg table and need no further check.
  IF NOT EXISTS (
    SELECT FROM lake_iceberg.tables_internal t JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) t.table_name
    WHERE pg_catalog.strpos(pg_catalog.lower(statement), pg_catalog.lower(pg_catalog.replace(c.relname, '"', '""')))
          OPERATOR(pg_catalog.>) 0)
  THEN
    RETURN;
  END IF;
  -- A message of several statements is one text. This counts its DROP TABLEs, to find the one that
  -- fired the trigger.
  key := pg_catalog.md5(pg_catalog.concat(pg_catalog.statement_timestamp(), statement));
  seen := CASE WHEN pg_catalog.split_part(pg_catalog.current_setting('lake_engine.drops', true), ' ', 1)
                    OPERATOR(pg_catalog.=) key
               THEN pg_catalog.split_part(pg_catalog.current_setting('lake_engine.drops', true), ' ', 2)::pg_catalog.int4
               ELSE 0 END;
  PERFORM pg_catalog.set_config('lake_engine.drops',
                                pg_catalog.concat(key, ' ', seen OPERATOR(pg_catalog.+) 1), false);
  dropped := lake_engine.drop_statement(statement, seen);
  PERFORM pg_catalog.set_config('lake_engine.nested', 'on', true);
  FOR item IN SELECT pg_catalog.jsonb_array_elements_text(dropped OPERATOR(pg_catalog.->) 'names') LOOP
    relation := pg_catalog.to_regclass(item);
    IF relation IS NOT NULL AND lake_engine.is_lake_table(relation) THEN
      PERFORM lake_engine.before_drop(
        relation, (dropped OPERATOR(pg_catalog.->>) 'cascade')::pg_catalog.bool,
        pg_catalog.current_setting('search_path'));
    END IF;
  END LOOP;
  PERFORM pg_catalog.set_config('lake_engine.nested', 'off', true);
END
$$;

-- Returns the names of the DROP TABLE number `place` (from 0) in a text of statements, and whether
-- it has CASCADE.
CREATE FUNCTION lake_engine.drop_statement(statements text, place int) RETURNS jsonb
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT lake_engine.call(jsonb_build_object('op', 'drop_statements', 'sql', statements))->place
$$;

CREATE FUNCTION lake_engine.on_ddl_end() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  command record;
BEGIN
  IF current_setting('lake_engine.nested', true) = 'on' THEN
    RETURN;
  END IF;
  -- A CREATE TABLE with a foreign key also reports an ALTER TABLE here. So the statement's own tag
  -- decides.
  FOR command IN
    SELECT DISTINCT c.oid, c.relkind, am.amname IN ('iceberg', 'pg_lake_iceberg') AS uses_iceberg
    FROM pg_event_trigger_ddl_commands() d
    JOIN pg_class c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid
    LEFT JOIN pg_am am ON am.oid = c.relam
    WHERE c.relkind IN ('r', 'm', 'p', 'f')
  LOOP
    PERFORM set_config('lake_engine.nested', 'on', true);
    IF command.relkind = 'f' THEN
      IF lake_engine.is_lake_table(command.oid) THEN
        IF tg_tag LIKE 'ALTER%' THEN
          PERFORM lake_engine.altered(command.oid);
        ELSE
          PERFORM lake_engine.register(command.oid);
        END IF;
      END IF;
    ELSIF command.uses_iceberg THEN
      IF tg_tag LIKE 'ALTER%' THEN
        RAISE EXCEPTION 'ALTER TABLE ... SET ACCESS METHOD iceberg is not supported' USING
          ERRCODE = '0A000', HINT = 'Use CREATE TABLE ... USING iceberg AS SELECT ....';
      END IF;
      PERFORM lake_engine.convert(command.oid, tg_tag IN ('CREATE TABLE AS', 'SELECT INTO'));
    END IF;
    PERFORM set_config('lake_engine.nested', 'off', true);
  END LOOP;
END
$$;

CREATE FUNCTION lake_engine.on_drop() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  DELETE FROM lake_iceberg.tables_internal
  WHERE table_name::oid IN (SELECT objid FROM pg_event_trigger_dropped_objects() WHERE object_type = 'foreign table');
END
$$;

CREATE EVENT TRIGGER pg_lake_ddl_start ON ddl_command_start
  WHEN TAG IN ('DROP TABLE', 'CREATE TABLE', 'CREATE TABLE AS')
  EXECUTE FUNCTION lake_engine.on_ddl_start();
CREATE EVENT TRIGGER pg_lake_ddl_end ON ddl_command_end
  WHEN TAG IN ('CREATE TABLE', 'CREATE TABLE AS', 'SELECT INTO', 'CREATE MATERIALIZED VIEW', 'CREATE FOREIGN TABLE',
               'CREATE SCHEMA', 'ALTER TABLE', 'ALTER FOREIGN TABLE')
  EXECUTE FUNCTION lake_engine.on_ddl_end();
CREATE EVENT TRIGGER pg_lake_drop ON sql_drop EXECUTE FUNCTION lake_engine.on_drop();
