//! The guide's retail data: schema, seed and transaction simulator.
