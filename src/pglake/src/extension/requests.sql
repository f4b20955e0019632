-- Requests to the lake engine, and the functions that users call for its answers.

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
