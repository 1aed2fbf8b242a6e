//! What one operation costs, in nanoseconds and in allocations, without a network between.
//!
//! `cargo bench --bench micro [-- NAME]`; `-- --help` has the rest. Times include what it costs to count the
//! allocations, some nanoseconds each. Figures that a user would feel are those of `benches/compare`.
//!
//! Owns: the allocator that counts. Each file beside it measures one layer, through what the library makes public.

use divan::AllocProfiler;

mod disk;
mod fan_out;
mod json;
mod timers;

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}
