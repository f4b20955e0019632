//! The engine `containers`, on a real container engine with substitute images: `just test-containers` makes them and sets
//! `ICEBOX_TEST_CONTAINERS`. Without it, every test here says that it is skipped.

mod choice;
mod instances;
mod lab;
mod library;
mod life_cycle;
mod trouble;
