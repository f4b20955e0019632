-- CREATE TABLE: registers a foreign table, or converts a table that was created USING iceberg.

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
