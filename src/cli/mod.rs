//! The command line: what was asked for, and what it asks for beside serving.

mod answer;
pub mod arguments;
pub mod check;
pub mod output;
pub mod probe;
