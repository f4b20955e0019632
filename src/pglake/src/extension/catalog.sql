-- The catalog: the metadata file of each table, which counts once its transaction has committed.

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
