-- ALTER TABLE: sends the changes of the columns.

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
