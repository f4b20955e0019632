//! The engine `containers`, tested on a real container engine with substitute images. `just
//! test-containers` builds the images and sets `ICEBOX_TEST_CONTAINERS`; without that variable
//! every test prints that it is skipped.

mod choice;
mod failures;
mod instances;
mod library;
mod life_cycle;
mod sandbox;
