//! Snowflake's read side: tables registered by metadata location, queried with DataFusion.
