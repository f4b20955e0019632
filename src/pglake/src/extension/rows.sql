-- What happens to rows on their way to the lake engine: locks, generated columns and checks.

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
