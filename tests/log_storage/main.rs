//! The log on a simulated disk: what it promises, and that it keeps it when things break.

mod amend;
mod basics;
mod damage;
mod epochs;
mod faults;
mod inspect;
mod model;
mod power;
mod retention;
mod support;
