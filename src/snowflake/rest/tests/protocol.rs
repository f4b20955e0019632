//! What drivers are promised.
