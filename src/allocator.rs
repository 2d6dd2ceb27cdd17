//! The C library's allocator, told to give large blocks back.
//!
//! What is read from the broker and written to PostgreSQL passes through buffers as large as bodies, which grow by
//! doubling. glibc gives a large block a mapping of its own: that grows without a copy, takes no memory for what is not yet
//! filled, and is given back when it is freed. But each one that is freed raises the size from which on it does so, up to
//! 32 MiB; from then on they come from heaps, a copy lies beside its larger successor, and what is freed stays with the
//! process, in pieces. Setting the size fixes it.

/// Bytes from which on a block has a mapping of its own; glibc's initial value. A frame of the broker's is as large.
#[cfg(target_env = "gnu")]
const MAPPED: i32 = 128 << 10;

/// Sets it, before there is any other thread. Other C libraries have a fixed size anyway.
pub fn settle() {
    #[cfg(target_env = "gnu")]
    #[expect(unsafe_code, reason = "the only way to tell the allocator, and Rust's has none")]
    // SAFETY: it takes two numbers, and changes nothing but the allocator's own, under its lock.
    unsafe {
        // One that does not know it stays as it is.
        libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED);
    }
}
