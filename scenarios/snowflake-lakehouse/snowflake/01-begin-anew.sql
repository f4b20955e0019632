DROP POSTGRES INSTANCE IF EXISTS shop;
DROP DATABASE IF EXISTS shop_analytics;

-- pg_lake creates no table where files exist, and an instance's files stay when it is dropped.
SELECT 'shop-' || TO_CHAR(SYSDATE(), 'YYYYMMDD-HH24MISS') AS "lake";
