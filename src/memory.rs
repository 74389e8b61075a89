//! Memory that is kept for later, by glibc's allocator and by threads.
//!
//! The only `unsafe` in the program: calls that have no safe wrapper. Nothing depends on what they do.

use std::ptr;

/// A request of Claude Code's size takes and gives back some 200 KiB, a long session's 3 MiB. With glibc's defaults
/// (128 KiB) each one returns its memory to the kernel and faults it in again. And all threads share one heap, where
/// glibc would make eight a core: each would keep what its own busiest moment took, as [`give_back`] can give back the
/// end of the first one only, and memory would creep up for half an hour. The one lock costs 8 % of CPU where two cores
/// do nothing but small requests, and nothing that could be measured where they stream.
pub fn keep_a_requests_worth() {
    #[cfg(target_env = "gnu")]
    // SAFETY: called once, before any other thread is started.
    unsafe {
        nix::libc::mallopt(nix::libc::M_TRIM_THRESHOLD, 8 << 20);
        nix::libc::mallopt(nix::libc::M_MMAP_THRESHOLD, 4 << 20);
        nix::libc::mallopt(nix::libc::M_ARENA_MAX, 1);
    }
}

/// How far below a worker's waiting its deep calls reach, or a little more: ureq connects from 36 KiB below.
const DEEP: usize = 64 << 10;
/// Left alone below [`give_stack_back`], for the call that it makes.
const NEAR: usize = 1 << 10;

/// Gives back to the kernel what deep calls have left of a worker's stack, when it is about to be shallow for long. That
/// costs a system call, and a page fault for each page that is used again.
#[inline(never)]
pub fn give_stack_back() {
    let here = 0_u8;
    // SAFETY: what is given back lies below all frames, so nobody looks at it again. It is stack all the same: a worker
    // has 256 KiB, and is less than 64 KiB deep where it waits.
    unsafe {
        let page = usize::try_from(nix::libc::sysconf(nix::libc::_SC_PAGESIZE)).unwrap_or(DEEP);
        let end = ((&raw const here).addr() - NEAR) & !(page - 1);
        let start = ptr::without_provenance_mut(end - DEEP);
        nix::libc::madvise(start, DEEP, nix::libc::MADV_DONTNEED);
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
