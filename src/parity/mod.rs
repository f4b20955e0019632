//! The analytics queries, and the exact comparison of their answers from different sources.
