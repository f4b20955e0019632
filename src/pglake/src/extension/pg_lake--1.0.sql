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

-- The metadata files that the lake engine has committed. The engine writes a row just before the
-- local commit. The pending location becomes valid when the transaction pending_xid has committed.
CREATE TABLE lake_engine.locations (
  table_oid oid PRIMARY KEY,
  base_location text NOT NULL,
  metadata_location text,
  previous_metadata_location text,
  pending_metadata_location text,
  pending_xid xid8
);

-- Adds the epoch to a transaction id of 32 bits. Of all full ids that end in these bits it returns
-- the one nearest to the newest ended transaction, which may be older or newer than that.
CREATE FUNCTION lake_engine.full_xid(short xid) RETURNS xid8
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT (low + ((newest - low + 2147483648) >> 32 << 32))::text::xid8
  FROM (SELECT short::text::bigint AS low, pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS newest) x
$$;

CREATE FUNCTION lake_engine.current_locations()
RETURNS TABLE (table_oid oid, base_location text, metadata_location text, previous_metadata_location text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT table_oid, base_location,
         CASE WHEN landed THEN pending_metadata_location ELSE metadata_location END,
         CASE WHEN landed THEN metadata_location ELSE previous_metadata_location END
  FROM (SELECT *, coalesce(pg_xact_status(pending_xid) = 'committed', false) AS landed
        FROM lake_engine.locations) l
$$;

-- One row per Iceberg table. A writer locks the row (see lake_engine.before_write). The Iceberg
-- columns are those that the engine was last given.
CREATE TABLE lake_iceberg.tables_internal (
  table_name regclass PRIMARY KEY,
  writes bigint NOT NULL DEFAULT 0,
  columns jsonb NOT NULL DEFAULT '[]'
);
-- Every DROP TABLE reads this table, with the rights of the role that runs it.
GRANT SELECT ON lake_iceberg.tables_internal TO PUBLIC;

CREATE VIEW pg_catalog.iceberg_tables AS
  SELECT current_database()::text AS catalog_name,
         n.nspname::varchar(255) AS table_namespace,
         c.relname::varchar(255) AS table_name,
         l.metadata_location::varchar(1000) AS metadata_location,
         l.previous_metadata_location::varchar(1000) AS previous_metadata_location
  FROM lake_engine.current_locations() l
  JOIN pg_class c ON c.oid = l.table_oid AND c.relkind = 'f'
  JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE l.metadata_location IS NOT NULL;
GRANT SELECT ON pg_catalog.iceberg_tables TO PUBLIC;

CREATE FUNCTION lake_engine.refuse_catalog_write() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RAISE EXCEPTION 'writes to the % catalog are currently only supported via pg_lake_iceberg tables',
    CASE TG_OP WHEN 'INSERT' THEN NEW.catalog_name ELSE OLD.catalog_name END USING ERRCODE = '0A000';
END
$$;
CREATE TRIGGER refuse INSTEAD OF INSERT OR UPDATE OR DELETE ON pg_catalog.iceberg_tables
  FOR EACH ROW EXECUTE FUNCTION lake_engine.refuse_catalog_write();

CREATE FUNCTION lake_engine.call(request jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  answer text;
BEGIN
  SELECT r.response INTO STRICT answer FROM lake_engine.rpc r WHERE r.request = call.request::text;
  RETURN answer::jsonb;
END
$$;
REVOKE ALL ON FUNCTION lake_engine.call(jsonb) FROM PUBLIC;

CREATE FUNCTION lake_iceberg.metadata(location text) RETURNS jsonb
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT lake_engine.call(jsonb_build_object('op', 'metadata', 'location', location))
$$;

CREATE FUNCTION lake_iceberg.files(location text)
RETURNS TABLE (manifest_path text, content text, file_path text, file_format text, spec_id int, record_count bigint,
               file_size_in_bytes bigint)
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT f.* FROM jsonb_to_recordset(lake_engine.call(jsonb_build_object('op', 'files', 'location', location)))
    f(manifest_path text, content text, file_path text, file_format text, spec_id int, record_count bigint,
      file_size_in_bytes bigint)
$$;

CREATE FUNCTION lake_file.list(pattern text)
RETURNS TABLE (path text, file_size bigint, last_modified_time timestamptz, etag text)
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT f.* FROM jsonb_to_recordset(lake_engine.call(jsonb_build_object('op', 'list', 'pattern', pattern)))
    f(path text, file_size bigint, last_modified_time timestamptz, etag text)
$$;

-- Returns the columns of a table in order, as the engine needs them.
CREATE FUNCTION lake_engine.columns_of(relation oid) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT coalesce(jsonb_agg(jsonb_build_object(
           'attnum', a.attnum,
           'name', a.attname,
           'type', format_type(a.atttypid, a.atttypmod),
           'base', b.typname,
           'category', b.typtype,
           'element', e.typname,
           'precision', CASE WHEN b.typname = 'numeric' AND m.typmod >= 4 THEN ((m.typmod - 4) >> 16) & 65535 END,
           'scale', CASE WHEN b.typname = 'numeric' AND m.typmod >= 4
                         THEN (((m.typmod - 4) & 2047) # 1024) - 1024 END,
           'required', a.attnotnull) ORDER BY a.attnum), '[]')
  FROM pg_attribute a
  JOIN pg_type t ON t.oid = a.atttypid
  JOIN pg_type b ON b.oid = CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END
  CROSS JOIN LATERAL (SELECT CASE WHEN t.typtype = 'd' THEN t.typtypmod ELSE a.atttypmod END AS typmod) m
  LEFT JOIN pg_type e ON e.oid = b.typelem AND b.typcategory = 'A'
  WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped
$$;

CREATE FUNCTION lake_engine.is_lake_table(relation oid) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT EXISTS (
    SELECT FROM pg_foreign_table f JOIN pg_foreign_server s ON s.oid = f.ftserver
    WHERE f.ftrelid = relation AND s.srvname = 'pg_lake_iceberg' AND relation <> 'lake_engine.rpc'::regclass)
$$;

-- Encodes a name as one path segment of a location. Bytes outside the unreserved set of RFC 3986
-- are percent-encoded.
CREATE FUNCTION lake_engine.path_segment(name text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT coalesce(string_agg(
    CASE WHEN chr(get_byte(b, i)) ~ '[A-Za-z0-9._~-]' AND get_byte(b, i) < 128 THEN chr(get_byte(b, i))
         ELSE '%' || upper(encode(substring(b FROM i + 1 FOR 1), 'hex')) END, '' ORDER BY i), '')
  FROM (SELECT convert_to(name, 'UTF8') AS b) v, generate_series(0, length(b) - 1) i
$$;

-- Returns the location in the guide's layout:
-- <prefix>/frompg/tables/<database>/<schema>/<table>/<oid>.
CREATE FUNCTION lake_engine.default_location(relation oid) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  prefix text := coalesce(current_setting('pg_lake_iceberg.default_location_prefix', true), '');
BEGIN
  IF prefix = '' THEN
    RAISE EXCEPTION '"location" option is required for pg_lake_iceberg tables' USING
      ERRCODE = '42601',
      HINT = 'You can set the GUC pg_lake_iceberg.default_location_prefix to globally specify the location prefix.';
  ELSIF prefix !~ '^s3://[^/?]+' THEN
    RAISE EXCEPTION 'invalid value for parameter "pg_lake_iceberg.default_location_prefix": "%"', prefix USING
      ERRCODE = '22023',
      DETAIL = format('pg_lake_iceberg: unsupported URL for default location prefix: "%s"', prefix);
  ELSIF position('?' IN prefix) > 0 THEN
    RAISE EXCEPTION 'invalid value for parameter "pg_lake_iceberg.default_location_prefix": "%"', prefix USING
      ERRCODE = '22023',
      DETAIL = 'pg_lake_iceberg: s3 configuration parameters are not allowed in the default location prefix';
  END IF;
  RETURN (SELECT concat_ws('/', rtrim(prefix, '/'), 'frompg/tables',
                           lake_engine.path_segment(current_database()), lake_engine.path_segment(n.nspname),
                           lake_engine.path_segment(c.relname), c.oid)
          FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = relation);
END
$$;

-- Runs before every statement that writes an Iceberg table. The UPDATE makes a second writer wait
-- until the first transaction ends (SQLSTATE 40001 under REPEATABLE READ). It also assigns this
-- transaction the id under which the engine records its commit.
CREATE FUNCTION lake_engine.before_write() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  UPDATE lake_iceberg.tables_internal SET writes = writes + 1 WHERE table_name = TG_RELID;
  RETURN NULL;
END
$$;

-- Formats a row as PostgreSQL does in `Failing row contains …`.
CREATE FUNCTION lake_engine.row_description(relation oid, r text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  shown text;
BEGIN
  EXECUTE format('SELECT concat(''('', array_to_string(ARRAY[%s], '', '', ''null''), '')'') FROM (SELECT $1::%s AS r OFFSET 0) a',
    (SELECT string_agg(format('(r).%I::text', attname), ', ' ORDER BY attnum) FROM pg_attribute
     WHERE attrelid = relation AND attnum > 0 AND NOT attisdropped), relation::regclass)
  INTO shown USING r;
  RETURN shown;
END
$$;

-- Lists a table's generated columns with their expressions, each as a function of the row. The
-- functions are stored as parsed expressions, so they follow renames, and the columns that they
-- read cannot be dropped.
CREATE FUNCTION lake_engine.generated_columns(relation oid)
RETURNS TABLE (attnum smallint, attname name, expression regprocedure)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT a.attnum, a.attname, p.oid::regprocedure
  FROM pg_attribute a JOIN pg_proc p
    ON p.pronamespace = 'lake_engine'::regnamespace AND p.proname = format('generated_%s_%s', relation, a.attnum)::name
  WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped
$$;

CREATE FUNCTION lake_engine.add_generated(relation oid, column_name name, inputs name[], expression text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  target pg_attribute;
  function_name text;
BEGIN
  SELECT * INTO STRICT target FROM pg_attribute WHERE attrelid = relation AND attname = column_name;
  function_name := format('lake_engine.generated_%s_%s', relation, target.attnum);
  EXECUTE format('CREATE FUNCTION %s(r %s) RETURNS %s LANGUAGE sql STABLE RETURN (SELECT %s FROM (SELECT %s) a)',
    function_name, relation::regclass, format_type(target.atttypid, target.atttypmod), expression,
    coalesce((SELECT string_agg(format('(r).%1$I AS %1$I', input), ', ') FROM unnest(inputs) input), '1 AS none'));
  -- The function is dropped together with its column.
  INSERT INTO pg_depend (classid, objid, objsubid, refclassid, refobjid, refobjsubid, deptype)
  VALUES ('pg_proc'::regclass, function_name::regproc, 0, 'pg_class'::regclass, relation, target.attnum, 'a');
END
$$;

-- Computes the generated columns of a row, because postgres_fdw leaves them to the remote server.
-- DEFAULT arrives here as NULL.
CREATE FUNCTION lake_engine.generate_row() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  every_value text;
  given_value text;
  given name;
BEGIN
  SELECT string_agg(CASE WHEN g.attnum IS NULL THEN format('(n).%I', a.attname)
                         ELSE format('%s(n)', g.expression::oid::regproc) END, ', ' ORDER BY a.attnum),
         string_agg(format(CASE TG_OP WHEN 'INSERT' THEN 'WHEN (n).%1$I IS NOT NULL THEN %1$L'
                                      ELSE 'WHEN (n).%1$I IS NOT NULL AND (n).%1$I IS DISTINCT FROM (o).%1$I THEN %1$L' END,
                             a.attname), ' ')
           FILTER (WHERE g.attnum IS NOT NULL)
  INTO every_value, given_value
  FROM pg_attribute a LEFT JOIN lake_engine.generated_columns(TG_RELID) g USING (attnum)
  WHERE a.attrelid = TG_RELID AND a.attnum > 0 AND NOT a.attisdropped;
  EXECUTE format('SELECT CASE %s END FROM (SELECT $1::%2$s AS n, $2::%2$s AS o OFFSET 0) a', given_value, TG_RELID::regclass)
  INTO given USING NEW::text, CASE TG_OP WHEN 'INSERT' THEN NULL ELSE OLD::text END;
  IF given IS NOT NULL THEN
    RAISE EXCEPTION '%', format(CASE TG_OP WHEN 'INSERT' THEN 'cannot insert a non-DEFAULT value into column "%s"'
                                           ELSE 'column "%s" can only be updated to DEFAULT' END, given)
      USING ERRCODE = '428C9', DETAIL = format('Column "%s" is a generated column.', given);
  END IF;
  EXECUTE format('SELECT %s FROM (SELECT $1::%s AS n OFFSET 0) a', every_value, TG_RELID::regclass)
  INTO NEW USING NEW::text;
  RETURN NEW;
END
$$;

-- Checks the CHECK constraints of a row, because PostgreSQL leaves those of a foreign table to the
-- remote server.
CREATE FUNCTION lake_engine.check_row() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  violated record;
  holds boolean;
BEGIN
  FOR violated IN
    SELECT conname, pg_get_expr(conbin, conrelid) AS condition FROM pg_constraint
    WHERE conrelid = TG_RELID AND contype = 'c' ORDER BY conname
  LOOP
    EXECUTE format('SELECT %s FROM (SELECT (r).* FROM (SELECT $1::%s AS r OFFSET 0) a) b',
                   violated.condition, TG_RELID::regclass)
    INTO holds USING NEW::text;
    IF NOT holds THEN
      RAISE EXCEPTION 'new row for relation "%" violates check constraint "%"', TG_TABLE_NAME, violated.conname USING
        ERRCODE = '23514',
        DETAIL = format('Failing row contains %s.', lake_engine.row_description(TG_RELID, NEW::text));
    END IF;
  END LOOP;
  RETURN NEW;
END
$$;

-- Adds the row triggers that a table needs. With a row trigger postgres_fdw sends rows one by one,
-- so other tables get none. Triggers fire in the order of their names, so generated values are
-- checked too.
CREATE FUNCTION lake_engine.add_row_triggers(relation oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  wanted text;
BEGIN
  FOR wanted IN
    SELECT t.function_name
    FROM (SELECT 'check_row' WHERE EXISTS (SELECT FROM pg_constraint WHERE conrelid = relation AND contype = 'c')
          UNION ALL
          SELECT 'generate_row' WHERE EXISTS (SELECT FROM lake_engine.generated_columns(relation))) t (function_name)
    WHERE NOT EXISTS (SELECT FROM pg_trigger g
                      WHERE g.tgrelid = relation AND g.tgfoid = format('lake_engine.%s', t.function_name)::regproc)
  LOOP
    EXECUTE format('CREATE TRIGGER %I BEFORE INSERT OR UPDATE ON %s FOR EACH ROW EXECUTE FUNCTION lake_engine.%I()',
      CASE wanted WHEN 'generate_row' THEN 'pg_lake_1_generate_row' ELSE 'pg_lake_2_check_row' END,
      relation::regclass, wanted);
    UPDATE pg_trigger SET tgisinternal = true
    WHERE tgrelid = relation AND tgfoid = format('lake_engine.%s', wanted)::regproc;
  END LOOP;
END
$$;

-- Makes a foreign table an Iceberg table: registers it with the engine, which writes the first
-- metadata file at commit.
CREATE FUNCTION lake_engine.register(relation oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  columns jsonb := lake_engine.columns_of(relation);
  existing text[];
BEGIN
  SELECT coalesce(array_agg(split_part(o, '=', 1)), '{}') INTO existing
  FROM pg_foreign_table, unnest(ftoptions) o WHERE ftrelid = relation;
  IF cardinality(existing) > 0 THEN
    RAISE EXCEPTION 'invalid option "%"', existing[1] USING
      ERRCODE = 'HV00D',
      HINT = 'The embedded stand-in of icebox has no table options.';
  ELSIF EXISTS (SELECT FROM pg_attribute WHERE attrelid = relation AND attgenerated <> '') THEN
    RAISE EXCEPTION 'generated columns of CREATE FOREIGN TABLE are not supported by the embedded stand-in for pg_lake' USING
      ERRCODE = '0A000', HINT = 'Use CREATE TABLE ... USING iceberg.';
  END IF;
  EXECUTE format('ALTER FOREIGN TABLE %s OPTIONS (ADD schema_name ''pg_temp'', ADD table_name %L)',
                 relation::regclass, relation::text);
  EXECUTE format('CREATE TRIGGER pg_lake_before_write BEFORE INSERT OR UPDATE OR DELETE ON %s
                  FOR EACH STATEMENT EXECUTE FUNCTION lake_engine.before_write()', relation::regclass);
  -- Marked internal, so that \d shows the table as the user created it.
  UPDATE pg_trigger SET tgisinternal = true WHERE tgrelid = relation AND tgname = 'pg_lake_before_write';
  PERFORM lake_engine.add_row_triggers(relation);
  INSERT INTO lake_iceberg.tables_internal (table_name, columns) VALUES (relation, columns);
  PERFORM lake_engine.call(jsonb_build_object(
    'op', 'create_table', 'table', relation::bigint, 'columns', columns,
    'location', lake_engine.default_location(relation),
    'owner', (SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = relation)));
END
$$;

-- Replaces a table that was just created USING iceberg (so far a heap table) with an Iceberg table
-- of the same name and columns. Copies the rows of CREATE TABLE AS if it is `populated`.
CREATE FUNCTION lake_engine.convert(relation oid, populated boolean) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  source pg_class;
  refused text;
  definitions text;
  generated jsonb;
  sequences jsonb;
  sequence jsonb;
  name text;
  column_name text;
BEGIN
  SELECT * INTO STRICT source FROM pg_class WHERE oid = relation;
  refused := CASE
    WHEN source.relpersistence = 't' THEN 'temporary tables are not allowed for pg_lake_iceberg tables'
    WHEN source.relpersistence = 'u' THEN 'unlogged tables are not allowed for pg_lake_iceberg tables'
    WHEN source.relkind = 'm' THEN 'materialized views are not allowed as pg_lake_iceberg tables'
    WHEN source.relkind = 'p' THEN 'partitioned tables are not allowed for pg_lake_iceberg tables'
    WHEN EXISTS (SELECT FROM pg_inherits WHERE inhrelid = relation)
      THEN 'inheritance is not allowed for pg_lake_iceberg tables' END;
  IF refused IS NOT NULL THEN
    RAISE EXCEPTION 'pg_lake_table: %', refused USING ERRCODE = '0A000';
  END IF;
  SELECT CASE contype WHEN 'p' THEN 'primary key' WHEN 'u' THEN 'unique' WHEN 'f' THEN 'foreign key'
                      WHEN 'x' THEN 'exclusion' END INTO refused
  FROM pg_constraint WHERE conrelid = relation AND contype IN ('p', 'u', 'f', 'x') LIMIT 1;
  IF refused IS NOT NULL THEN
    RAISE EXCEPTION '% constraints are not supported on foreign tables', refused USING ERRCODE = '0A000';
  ELSIF EXISTS (SELECT FROM pg_index WHERE indrelid = relation) THEN
    RAISE EXCEPTION 'only basic "LIKE table" is supported; no "INCLUDING" clause support for iceberg tables'
      USING ERRCODE = '0A000';
  ELSIF source.reloptions IS NOT NULL THEN
    RAISE EXCEPTION 'invalid option "%"', split_part(source.reloptions[1], '=', 1) USING ERRCODE = 'HV00D';
  ELSIF EXISTS (SELECT FROM pg_attribute WHERE attrelid = relation AND attgenerated NOT IN ('', 's')) THEN
    RAISE EXCEPTION 'virtual generated columns are not supported' USING
      ERRCODE = '0A000', DETAIL = 'Iceberg tables do not support virtual generated columns.';
  END IF;

  SELECT coalesce(jsonb_agg(jsonb_build_object(
    'column', a.attname, 'expression', pg_get_expr(d.adbin, d.adrelid), 'inputs', (
      SELECT coalesce(jsonb_agg(input.attname), '[]') FROM pg_depend reads
      JOIN pg_attribute input ON input.attrelid = reads.refobjid AND input.attnum = reads.refobjsubid
      WHERE reads.classid = 'pg_attrdef'::regclass AND reads.objid = d.oid AND reads.refclassid = 'pg_class'::regclass
        AND reads.refobjid = relation AND reads.refobjsubid NOT IN (0, a.attnum)))), '[]')
  INTO generated
  FROM pg_attribute a JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
  WHERE a.attrelid = relation AND a.attgenerated <> '';

  FOR column_name IN
    SELECT attname FROM pg_attribute
    WHERE attrelid = relation AND attnum > 0 AND atttypid = 'numeric'::regtype
      AND (atttypmod < 4 OR ((atttypmod - 4) >> 16) & 65535 > 38)
  LOOP
    RAISE NOTICE 'column "%" has type that cannot be stored as an Iceberg decimal, converting to double precision',
      column_name USING HINT = 'Use numeric(P,S) with precision <= 38 to preserve exact decimal semantics.';
  END LOOP;

  SELECT string_agg(item, ', ' ORDER BY place) INTO definitions FROM (
    SELECT a.attnum::int AS place, concat_ws(' ', quote_ident(a.attname),
      CASE WHEN a.atttypid = 'numeric'::regtype AND (a.atttypmod < 4 OR ((a.atttypmod - 4) >> 16) & 65535 > 38)
           THEN 'double precision' ELSE format_type(a.atttypid, a.atttypmod) END,
      CASE WHEN a.attcollation <> t.typcollation
           THEN 'COLLATE ' || quote_ident(cn.nspname) || '.' || quote_ident(c.collname) END,
      CASE a.attidentity WHEN 'a' THEN 'GENERATED ALWAYS AS IDENTITY' WHEN 'd' THEN 'GENERATED BY DEFAULT AS IDENTITY' END
        || CASE WHEN s.seqrelid IS NOT NULL
                THEN format(' (START %s INCREMENT %s MINVALUE %s MAXVALUE %s CACHE %s%s)', s.seqstart, s.seqincrement,
                            s.seqmin, s.seqmax, s.seqcache, CASE WHEN s.seqcycle THEN ' CYCLE' ELSE '' END)
                ELSE '' END,
      CASE WHEN a.attgenerated = '' THEN 'DEFAULT ' || pg_get_expr(d.adbin, d.adrelid) END,
      CASE WHEN a.attnotnull THEN 'NOT NULL' END) AS item
    FROM pg_attribute a
    JOIN pg_type t ON t.oid = a.atttypid
    LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    LEFT JOIN pg_collation c ON c.oid = a.attcollation
    LEFT JOIN pg_namespace cn ON cn.oid = c.collnamespace
    LEFT JOIN pg_sequence s ON a.attidentity <> ''
      AND s.seqrelid = pg_get_serial_sequence(relation::regclass::text, a.attname)::regclass
    WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped
    UNION ALL
    SELECT 100000 + row_number() OVER (ORDER BY conname),
           format('CONSTRAINT %I %s', conname, pg_get_constraintdef(oid))
    FROM pg_constraint WHERE conrelid = relation AND contype = 'c') items;

  SELECT coalesce(jsonb_agg(jsonb_build_object('sequence', d.objid::regclass::text, 'column', a.attname)), '[]')
  INTO sequences
  FROM pg_depend d
  JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S'
  JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
  WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
    AND d.refobjid = relation AND d.deptype = 'a';

  name := relation::regclass::text;
  FOR sequence IN SELECT jsonb_array_elements(sequences) LOOP
    EXECUTE format('ALTER SEQUENCE %s OWNED BY NONE', sequence->>'sequence');
  END LOOP;
  IF populated THEN
    EXECUTE format('ALTER TABLE %s RENAME TO %I', relation::regclass, 'pg_lake_as_' || relation);
  ELSE
    EXECUTE format('DROP TABLE %s', relation::regclass);
  END IF;

  EXECUTE format('CREATE FOREIGN TABLE %s (%s) SERVER pg_lake_iceberg', name, definitions);
  EXECUTE format('ALTER FOREIGN TABLE %s OWNER TO %I', name, pg_get_userbyid(source.relowner));
  FOR sequence IN SELECT jsonb_array_elements(sequences) LOOP
    EXECUTE format('ALTER SEQUENCE %s OWNED BY %s.%I', sequence->>'sequence', name, sequence->>'column');
  END LOOP;
  PERFORM lake_engine.add_generated(name::regclass, g->>'column', ARRAY(SELECT jsonb_array_elements_text(g->'inputs')),
                                    g->>'expression')
  FROM jsonb_array_elements(generated) g;
  PERFORM lake_engine.register(name::regclass);
  IF populated THEN
    EXECUTE format('INSERT INTO %s SELECT * FROM %s', name, relation::regclass);
    EXECUTE format('DROP TABLE %s', relation::regclass);
  END IF;
END
$$;

-- Sends the changes that ALTER TABLE made to the columns to the engine.
CREATE FUNCTION lake_engine.altered(relation oid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  before jsonb := (SELECT columns FROM lake_iceberg.tables_internal WHERE table_name = relation);
  after jsonb := lake_engine.columns_of(relation);
  changes jsonb := '[]';
  old jsonb;
  new jsonb;
  refused text;
  default_value text;
BEGIN
  IF before IS NULL THEN
    RETURN;
  END IF;
  PERFORM lake_engine.add_row_triggers(relation);
  IF before = after THEN
    RETURN;
  END IF;
  FOR old, new IN
    SELECT o, n FROM jsonb_array_elements(before) o
    FULL JOIN jsonb_array_elements(after) n ON n->'attnum' = o->'attnum'
    ORDER BY coalesce(n->>'attnum', o->>'attnum')::int
  LOOP
    refused := NULL;
    IF new IS NULL THEN
      changes := changes || jsonb_build_object('drop', old->>'name');
    ELSIF old IS NULL THEN
      SELECT CASE
          WHEN EXISTS (SELECT FROM pg_depend WHERE refobjid = relation AND refobjsubid = a.attnum
                       AND classid = 'pg_class'::regclass AND deptype = 'a')
            THEN 'ALTER TABLE ADD COLUMN with SERIAL data types'
          WHEN (new->>'required')::boolean OR a.attidentity <> '' THEN 'ALTER TABLE ADD COLUMN with constraints'
          WHEN a.attgenerated <> '' THEN 'ALTER TABLE ADD COLUMN with default expression'
          WHEN d.adbin::text ~ ':(funcid|opfuncid) ' AND EXISTS (
                 SELECT FROM regexp_matches(d.adbin::text, ':(?:funcid|opfuncid) (\d+)', 'g') f
                 JOIN pg_proc p ON p.oid = f[1]::oid WHERE p.provolatile <> 'i')
            OR d.adbin::text ~ '\{(SQLVALUEFUNCTION|NEXTVALUEEXPR)'
            THEN 'ALTER TABLE ADD COLUMN with default expression' END,
        pg_get_expr(d.adbin, d.adrelid)
      INTO refused, default_value
      FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
      WHERE a.attrelid = relation AND a.attnum = (new->>'attnum')::int;
      IF default_value IS NOT NULL AND refused IS NULL THEN
        EXECUTE format('SELECT (%s)::%s::text', default_value, new->>'type') INTO default_value;
      END IF;
      changes := changes || jsonb_build_object('add', new || jsonb_build_object('default', default_value));
    ELSE
      IF old->>'type' <> new->>'type' THEN
        refused := 'ALTER TABLE ALTER COLUMN ... SET DATA TYPE';
      ELSIF (new->>'required')::boolean AND NOT (old->>'required')::boolean THEN
        refused := 'ALTER TABLE ALTER COLUMN ... SET NOT NULL';
      ELSIF (old->>'required')::boolean AND NOT (new->>'required')::boolean THEN
        changes := changes || jsonb_build_object('nullable', new->>'name');
      END IF;
      IF old->>'name' <> new->>'name' THEN
        changes := changes || jsonb_build_object('rename', jsonb_build_array(old->>'name', new->>'name'));
      END IF;
    END IF;
    IF refused IS NOT NULL THEN
      RAISE EXCEPTION '% command not supported for pg_lake_iceberg tables', refused USING ERRCODE = '0A000';
    END IF;
  END LOOP;
  UPDATE lake_iceberg.tables_internal SET columns = after, writes = writes + 1 WHERE table_name = relation;
  PERFORM lake_engine.call(jsonb_build_object(
    'op', 'alter_table', 'table', relation::bigint, 'changes', changes, 'columns', after));
END
$$;

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
