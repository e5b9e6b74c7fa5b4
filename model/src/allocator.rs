//! How the C library keeps memory between passes: the tensors of one pass are as large as those of the next.

/// Lets freed memory stay with the process instead of going back to the system after every tensor.
///
/// By default glibc maps each large block anew and unmaps it when it is freed, so that every pass of a backbone faults
/// its activations in page by page: two fifths of the time of extracting features on two cores. Called once, by a
/// program before its first tensor; without glibc it does nothing. The process's resident memory stays at its peak.
#[cfg_attr(
    all(target_os = "linux", target_env = "gnu"),
    expect(unsafe_code, reason = "the allocator's settings have no safe interface")
)]
pub fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        const FOR_GOOD: libc::c_int = libc::c_int::MAX;
        const LARGEST_KEPT: libc::c_int = 1 << 30;
        // SAFETY: mallopt changes numbers under the allocator's own lock; a value that it refuses changes nothing.
        unsafe {
            libc::mallopt(libc::M_TRIM_THRESHOLD, FOR_GOOD);
            libc::mallopt(libc::M_MMAP_THRESHOLD, LARGEST_KEPT);
        }
    }
}
