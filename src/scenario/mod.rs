//! The runner of `scenarios/`: stories as data.
