//! What the C library's allocator keeps for later.
//!
//! The only `unsafe` in the program: two calls that have no safe wrapper. Elsewhere than on glibc they are not there,
//! and nothing depends on them.

/// A request of Claude Code's size takes and gives back some 200 KiB, a long session's 3 MiB. With glibc's defaults
/// (128 KiB) each one returns its memory to the kernel and faults it in again.
pub fn keep_a_requests_worth() {
    #[cfg(target_env = "gnu")]
    // SAFETY: called once, before any other thread is started.
    unsafe {
        nix::libc::mallopt(nix::libc::M_TRIM_THRESHOLD, 8 << 20);
        nix::libc::mallopt(nix::libc::M_MMAP_THRESHOLD, 4 << 20);
    }
}

/// Gives back what a flood of requests has left behind.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it looks at the allocator's own lists, under their locks, and touches no memory in use.
    unsafe {
        nix::libc::malloc_trim(0);
    }
}
