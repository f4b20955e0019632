-- What a table is to the lake engine: its columns and its location.

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
