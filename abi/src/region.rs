//! A memfd mapped as words: the one place of this crate that touches raw memory.
#![allow(unsafe_code)]

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;

use rustix::fs::{
    MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, fstat, ftruncate, memfd_create,
};
use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mlock, mmap, munmap};
use thiserror::Error;

use crate::layout::LayoutError;
use crate::sync::AtomicU64;

/// Why a region could not be made or mapped.
#[derive(Debug, Error)]
pub enum RegionError {
    /// The kernel refused.
    #[error("{call}: {errno}")]
    System {
        /// The system call.
        call: &'static str,
        /// Its error.
        errno: Errno,
    },
    /// The descriptor is not sealed against shrinking, so reading it could kill this process.
    #[error("the memory is not sealed against shrinking and growing")]
    NotSealed,
    /// The content is not a region this program can use.
    #[error(transparent)]
    Layout(#[from] LayoutError),
}

fn system(call: &'static str) -> impl Fn(Errno) -> RegionError {
    move |errno| RegionError::System { call, errno }
}

/// A shared memory file, mapped whole. Its pages hold SA keys: not dumped, locked where the limit allows it.
pub struct Region {
    base: NonNull<AtomicU64>,
    words: usize,
    fd: OwnedFd,
}

// SAFETY: the mapping is only ever reached as `&[AtomicU64]`, which may be shared between threads, and it
// lives until the one owner drops it.
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}

impl Region {
    /// Makes a zeroed file of `words` words, mapped writable; its size is sealed.
    ///
    /// With `future_write`, no mapping made after this one can be writable, not even by its maker.
    ///
    /// # Errors
    /// When the kernel refuses one of the calls.
    pub fn create(name: &str, words: usize, future_write: bool) -> Result<Self, RegionError> {
        let fd = memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)
            .map_err(system("memfd_create"))?;
        ftruncate(&fd, (words * 8) as u64).map_err(system("ftruncate"))?;
        fcntl_add_seals(&fd, SealFlags::SHRINK | SealFlags::GROW).map_err(system("F_ADD_SEALS"))?;
        let region = Self::map(fd, words, true)?;
        let last = if future_write {
            SealFlags::FUTURE_WRITE | SealFlags::SEAL
        } else {
            SealFlags::SEAL
        };
        fcntl_add_seals(&region.fd, last).map_err(system("F_ADD_SEALS"))?;
        Ok(region)
    }

    /// Maps a file that another process made.
    ///
    /// # Errors
    /// When it is not sealed in size, or the kernel refuses to map it.
    pub fn open(fd: OwnedFd, writable: bool) -> Result<Self, RegionError> {
        let seals = fcntl_get_seals(&fd).map_err(system("F_GET_SEALS"))?;
        if !seals.contains(SealFlags::SHRINK | SealFlags::GROW) {
            return Err(RegionError::NotSealed);
        }
        let bytes = fstat(&fd).map_err(system("fstat"))?.st_size;
        let words = usize::try_from(bytes).unwrap_or(0) / 8;
        Self::map(fd, words, writable)
    }

    fn map(fd: OwnedFd, words: usize, writable: bool) -> Result<Self, RegionError> {
        let needed = crate::layout::HEADER_WORDS * 8;
        if words * 8 < needed {
            return Err(LayoutError::Size {
                found: words * 8,
                needed,
            }
            .into());
        }
        let protection = if writable {
            ProtFlags::READ | ProtFlags::WRITE
        } else {
            ProtFlags::READ
        };
        // SAFETY: a new shared mapping of a file whose size is sealed, so no page of it can vanish.
        let base = unsafe {
            mmap(
                std::ptr::null_mut(),
                words * 8,
                protection,
                MapFlags::SHARED,
                &fd,
                0,
            )
        }
        .map_err(system("mmap"))?;
        // SAFETY: the range is the mapping just made. A refusal (memory-lock limit) only means that the
        // pages may be swapped; huge pages are a wish.
        unsafe {
            let _ = madvise(base, words * 8, Advice::LinuxDontDump);
            let _ = madvise(base, words * 8, Advice::LinuxHugepage);
            if words * 8 <= 64 << 20 {
                let _ = mlock(base, words * 8);
            }
        }
        let base = NonNull::new(base.cast()).ok_or(RegionError::System {
            call: "mmap",
            errno: Errno::NOMEM,
        })?;
        Ok(Self { base, words, fd })
    }

    /// The file, for passing on or for keeping.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// All words. On a read-only mapping only loads are allowed: a store would kill the process.
    #[inline]
    pub(crate) fn words(&self) -> &[AtomicU64] {
        // SAFETY: `base` is page-aligned and covers `words` words for as long as `self` lives; atomics may be
        // shared with other writers, other processes included, and any bit pattern is valid.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr(), self.words) }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours and nothing borrows from it any more.
        unsafe {
            let _ = munmap(self.base.as_ptr().cast(), self.words * 8);
        }
    }
}
