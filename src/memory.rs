//! Heap and stack tuning: less resident memory, fewer page faults.
//!
//! The only `unsafe` in the program: calls that have no safe wrapper. Nothing depends on what they do.

use std::cell::Cell;
use std::ptr;

/// A request of Claude Code's size takes and gives back some 200 KiB, a long session's 3 MiB. With glibc's defaults
/// (128 KiB) each one returns its memory to the kernel and faults it in again. And all threads share one heap, where
/// glibc would make eight a core: each would keep what its own busiest moment took, as [`give_back`] can give back the
/// end of the first one only, and memory would creep up for half an hour. The one lock costs 8 % of CPU where two cores
/// do nothing but small requests, and nothing that could be measured where they stream.
pub fn tune() {
    #[cfg(target_env = "gnu")]
    // SAFETY: called once, before any other thread is started.
    unsafe {
        nix::libc::mallopt(nix::libc::M_TRIM_THRESHOLD, 8 << 20);
        nix::libc::mallopt(nix::libc::M_MMAP_THRESHOLD, 4 << 20);
        nix::libc::mallopt(nix::libc::M_ARENA_MAX, 1);
    }
}

/// Left alone below [`give_stack_back`], for the call that it makes.
const NEAR: usize = 1 << 10;

thread_local! {
    /// The lowest address of this thread's stack that may be given back; 0 where it is not known.
    static STACK_END: Cell<usize> = const { Cell::new(0) };
}

/// Notes where this thread's stack ends, so that [`give_stack_back`] may give back what lies between.
pub fn note_stack(size: usize) {
    let here = (&raw const size).addr();
    // What lies above this frame (thread start, a few hundred bytes) and the guard page are left out.
    STACK_END.set(here.saturating_sub(size - SPARE));
}

/// Left alone at a stack's end: what lies above the frame that notes it, rounded up, and a page to round to.
const SPARE: usize = 16 << 10;

/// Gives back to the kernel what deep calls have left of this thread's stack, when it is about to be shallow for long. That
/// costs a system call, and a page fault for each page that is used again. Does nothing where [`note_stack`] was not called.
#[inline(never)]
pub fn give_stack_back() {
    let here = 0_u8;
    let lowest = STACK_END.get();
    // SAFETY: what is given back lies below all frames and above the stack's noted end, so nobody looks at it again, and it is this
    // thread's own.
    unsafe {
        let page = usize::try_from(nix::libc::sysconf(nix::libc::_SC_PAGESIZE)).unwrap_or(4096);
        let end = ((&raw const here).addr() - NEAR) & !(page - 1);
        let start = lowest.next_multiple_of(page);
        if lowest > 0 && start < end {
            let start_ptr = ptr::without_provenance_mut(start);
            nix::libc::madvise(start_ptr, end - start, nix::libc::MADV_DONTNEED);
        }
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
