DROP POSTGRES INSTANCE IF EXISTS shop;
DROP DATABASE IF EXISTS shop_analytics;

-- pg_lake writes no table where files are, and what an instance has written stays when it is dropped.
SELECT 'shop-' || TO_CHAR(SYSDATE(), 'YYYYMMDD-HH24MISS') AS "lake";
