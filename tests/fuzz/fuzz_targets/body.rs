#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| claude_loadbalancer_fuzz::body(data));
