//! What the command line asks for beside serving.

pub mod probe;
