//! Opening the TUN device: control makes it and hands it over, and the data plane's port reads it.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags, open};
use rustix::ioctl::{Updater, ioctl, opcode};

const TUNSETIFF: u32 = opcode::write::<i32>(b'T', 202);
const IFF_TUN: u16 = 0x0001;
const IFF_NO_PI: u16 = 0x1000;

/// `struct ifreq` with flags in its union.
#[repr(C)]
struct Request {
    name: [u8; 16],
    flags: u16,
    rest: [u8; 22],
}

/// Opens the TUN device `name`, making it if it is not there, in the network namespace of the calling thread: bare IP packets, non-blocking.
/// It lasts as long as any process holds its descriptor.
///
/// # Errors
/// [`io::ErrorKind::InvalidInput`] for a name of no or more than 15 bytes, [`io::ErrorKind::ResourceBusy`] if somebody else holds it;
/// what the kernel says otherwise (CAP_NET_ADMIN is needed).
pub fn open_tun(name: &str) -> io::Result<OwnedFd> {
    let mut request = Request {
        name: [0; 16],
        flags: IFF_TUN | IFF_NO_PI,
        rest: [0; 22],
    };
    let bytes = name.as_bytes();
    if bytes.is_empty() || bytes.len() >= request.name.len() || bytes.contains(&0) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the name of an interface has 1 to 15 bytes",
        ));
    }
    request.name[..bytes.len()].copy_from_slice(bytes);
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let fd = open("/dev/net/tun", flags, Mode::empty())?;
    // SAFETY: TUNSETIFF reads and writes one `struct ifreq`, which `Request` is: 40 bytes, name first; it
    // lives until the call returns.
    unsafe { ioctl(&fd, Updater::<TUNSETIFF, Request>::new(&mut request)) }?;
    Ok(fd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_no_interface_can_have_is_refused() {
        for name in ["", "sixteen-bytes-ab", "nul\0"] {
            let error = open_tun(name).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        }
    }
}
