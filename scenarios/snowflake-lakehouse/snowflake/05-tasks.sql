CREATE OR REPLACE STORAGE INTEGRATION shop_reads TYPE = EXTERNAL_STAGE STORAGE_PROVIDER = 'S3' ENABLED = TRUE
  STORAGE_AWS_ROLE_ARN = '${role_arn}' STORAGE_ALLOWED_LOCATIONS = ('s3://${bucket}/${lake}/');

CREATE STAGE metadata_of_transactions URL = 's3://${bucket}/${lake}/${transactions_folder}' STORAGE_INTEGRATION = shop_reads DIRECTORY = (ENABLE = TRUE);
CREATE STREAM new_metadata_of_transactions ON STAGE metadata_of_transactions;

CREATE PROCEDURE refresh_transactions() RETURNS VARCHAR LANGUAGE SQL AS $$
DECLARE
  newest VARCHAR;
BEGIN
  SELECT relative_path INTO :newest FROM DIRECTORY(@metadata_of_transactions)
    WHERE relative_path LIKE '%.metadata.json' ORDER BY last_modified DESC LIMIT 1;
  EXECUTE IMMEDIATE 'ALTER ICEBERG TABLE iceberg_transactions REFRESH ''${transactions_folder}' || newest || '''';
  -- Reading the stream into a table takes its changes away, so that the next run has something to do only if there is news.
  CREATE OR REPLACE TEMPORARY TABLE seen_of_transactions AS SELECT * FROM new_metadata_of_transactions;
  RETURN newest;
END;
$$;

CREATE TASK look_for_transactions WAREHOUSE = COMPUTE_WH SCHEDULE = '10 SECONDS' AS ALTER STAGE metadata_of_transactions REFRESH;
CREATE TASK bring_transactions WAREHOUSE = COMPUTE_WH AFTER look_for_transactions WHEN SYSTEM$STREAM_HAS_DATA('new_metadata_of_transactions')
  AS CALL refresh_transactions();
ALTER TASK bring_transactions RESUME;
ALTER TASK look_for_transactions RESUME;

CREATE STAGE metadata_of_items URL = 's3://${bucket}/${lake}/${items_folder}' STORAGE_INTEGRATION = shop_reads DIRECTORY = (ENABLE = TRUE);
CREATE STREAM new_metadata_of_items ON STAGE metadata_of_items;

CREATE PROCEDURE refresh_items() RETURNS VARCHAR LANGUAGE SQL AS $$
DECLARE
  newest VARCHAR;
BEGIN
  SELECT relative_path INTO :newest FROM DIRECTORY(@metadata_of_items)
    WHERE relative_path LIKE '%.metadata.json' ORDER BY last_modified DESC LIMIT 1;
  EXECUTE IMMEDIATE 'ALTER ICEBERG TABLE iceberg_transaction_items REFRESH ''${items_folder}' || newest || '''';
  -- Reading the stream into a table takes its changes away, so that the next run has something to do only if there is news.
  CREATE OR REPLACE TEMPORARY TABLE seen_of_items AS SELECT * FROM new_metadata_of_items;
  RETURN newest;
END;
$$;

CREATE TASK look_for_items WAREHOUSE = COMPUTE_WH SCHEDULE = '10 SECONDS' AS ALTER STAGE metadata_of_items REFRESH;
CREATE TASK bring_items WAREHOUSE = COMPUTE_WH AFTER look_for_items WHEN SYSTEM$STREAM_HAS_DATA('new_metadata_of_items')
  AS CALL refresh_items();
ALTER TASK bring_items RESUME;
ALTER TASK look_for_items RESUME;
