//! A Linux kernel with ESP, in a virtual machine: the most widely used peer, with nothing of ours in it.
//!
//! qemu emulates the processor, for nested virtualisation is rarely to be had; it needs no root unless
//! its wire is a tap. The guest is up within about 8 seconds of processor time. One guest runs at a
//! time on a machine.

mod archive;

use super::{Unavailable, kept, lock, require_tools, source};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// The guest's MAC address, on `eth0`.
pub const GUEST_MAC: [u8; 6] = [0x52, 0x54, 0, 0, 0, 2];

/// How long an emulated guest may take to come up on a loaded machine.
const BOOT_LIMIT: Duration = Duration::from_secs(120);

/// How long one command in the guest may take.
const COMMAND_LIMIT: Duration = Duration::from_secs(60);

/// What the guest's `eth0` is plugged into.
pub enum Link<'a> {
    /// The test itself, by [`Guest::send`] and [`Guest::receive`]: no privileges needed.
    Test,
    /// A tap device, made if missing, in a network namespace: needs root.
    Tap {
        /// The name as `ip netns` knows it.
        namespace: &'a str,
        /// The device's name.
        device: &'a str,
    },
}

/// A running guest; it ends when dropped. A test that fails leaves the kernel's log behind.
pub struct Guest {
    qemu: Child,
    console: BufReader<UnixStream>,
    wire: UnixDatagram,
    /// Sockets and log. Not under `target`: socket paths are short.
    folder: PathBuf,
    name: String,
    _turn: File,
}

impl Guest {
    /// Boots a guest and runs the shell script `setup` in it.
    ///
    /// # Errors
    /// If a tool is missing, or the guest's kernel cannot be fetched.
    ///
    /// # Panics
    /// If the guest does not come up or `setup` fails.
    pub fn boot(name: &str, link: &Link<'_>, setup: &str) -> Result<Self, Unavailable> {
        require_tools(&["qemu-system-x86_64", "setpriv"])?;
        let built = kept("guest");
        let turn = lock(&built, "lock");
        build(&built)?;

        let folder = std::env::temp_dir().join(format!("adit-guest-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        let wire = UnixDatagram::bind(folder.join("test")).expect("binding the wire's own end");
        let initrd = folder.join("initrd.cpio");
        let mut image = fs::read(built.join("base.cpio")).expect("the guest was built");
        archive::append(&mut image, "etc/setup", setup.as_bytes());
        fs::write(&initrd, image).expect("writing the guest's files");

        let mut command = qemu(&built, &folder, &initrd, link);
        let mut qemu = command
            .stdin(Stdio::null())
            .spawn()
            .unwrap_or_else(|e| panic!("{command:?}: {e}"));
        let console = connect(&mut qemu, &folder.join("console"));
        let mut guest = Self {
            qemu,
            console: BufReader::new(console),
            wire,
            folder,
            name: name.to_owned(),
            _turn: turn,
        };
        let ready = guest.read_line(BOOT_LIMIT);
        assert_eq!(
            ready,
            "ready 0",
            "setup failed in the guest: {}",
            guest.log()
        );
        Ok(guest)
    }

    /// Runs a shell script in the guest, whatever its exit status; output and errors together.
    pub fn run(&mut self, script: &str) -> (u8, String) {
        let request = format!("{}\n{script}", script.len());
        self.console
            .get_mut()
            .write_all(request.as_bytes())
            .expect("the guest's console is open");
        let answer = self.read_line(COMMAND_LIMIT);
        let parts = answer.split_once(' ');
        let (status, len) = parts.expect("an exit status and a length from the guest");
        let status = status.parse().expect("an exit status from the guest");
        let mut output = vec![0; len.parse().expect("a length from the guest")];
        self.console
            .read_exact(&mut output)
            .expect("the guest's output");
        (status, String::from_utf8_lossy(&output).into_owned())
    }

    /// Runs a shell script that must succeed; its output.
    pub fn must(&mut self, script: &str) -> String {
        let (status, output) = self.run(script);
        assert_eq!(status, 0, "in the guest: {script}\n{output}");
        output
    }

    /// Puts an Ethernet frame on the wire of [`Link::Test`].
    pub fn send(&self, frame: &[u8]) {
        self.wire
            .send_to(frame, self.folder.join("guest"))
            .expect("qemu takes the frame");
    }

    /// The next Ethernet frame on the wire of [`Link::Test`]; `None` after the deadline.
    pub fn receive(&self, deadline: Instant) -> Option<Vec<u8>> {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = left.max(Duration::from_millis(1));
        self.wire.set_read_timeout(Some(left)).expect("not zero");
        let mut frame = vec![0; 65_536];
        match self.wire.recv(&mut frame) {
            Ok(len) => {
                frame.truncate(len);
                Some(frame)
            }
            Err(e) if timed_out(&e) => None,
            Err(e) => panic!("the guest's wire: {e}"),
        }
    }

    /// What the guest's kernel has logged so far.
    pub fn log(&self) -> String {
        let log = fs::read(self.folder.join("log")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    fn read_line(&mut self, limit: Duration) -> String {
        let deadline = Instant::now() + limit;
        let mut line = Vec::new();
        while line.pop_if(|octet| *octet == b'\n').is_none() {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "the guest is silent; {}", self.log());
            let socket = self.console.get_ref();
            socket.set_read_timeout(Some(left)).expect("not zero");
            match self.console.read_until(b'\n', &mut line) {
                Ok(0) => panic!("the guest is gone; {}", self.log()),
                Ok(_) => {}
                Err(e) if timed_out(&e) => {}
                Err(e) => panic!("the guest's console: {e}"),
            }
        }
        String::from_utf8(line).expect("text from the guest")
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // Nothing in the guest outlives it, so there is nothing to shut down in order.
        let _ = self.console.get_ref().shutdown(Shutdown::Both);
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
        if thread::panicking() {
            let saved = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}.log", self.name));
            if fs::copy(self.folder.join("log"), &saved).is_ok() {
                eprintln!("the guest's kernel log: {}", saved.display());
            }
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Builds the guest's kernel and files, unless they are there.
fn build(folder: &Path) -> Result<(), Unavailable> {
    let script = source().join("guest/build.sh");
    let Output { status, stderr, .. } = Command::new("sh")
        .arg(&script)
        .arg(folder)
        .output()
        .unwrap_or_else(|e| panic!("{}: {e}", script.display()));
    let complaint = String::from_utf8_lossy(&stderr);
    match status.code() {
        Some(0) => Ok(()),
        Some(2) => Err(Unavailable(format!("no guest: {}", complaint.trim_end()))),
        _ => panic!("{} failed: {complaint}", script.display()),
    }
}

fn qemu(built: &Path, folder: &Path, initrd: &Path, link: &Link<'_>) -> Command {
    let at = |name: &str| folder.join(name).display().to_string();
    let mut arguments: Vec<String> = Vec::new();
    let netdev = match link {
        Link::Test => format!(
            "dgram,id=wire,local.type=unix,local.path={},remote.type=unix,remote.path={}",
            at("guest"),
            at("test")
        ),
        Link::Tap { namespace, device } => {
            arguments.extend(["ip", "netns", "exec", namespace].map(String::from));
            format!("tap,id=wire,ifname={device},script=no,downscript=no,vnet_hdr=off")
        }
    };
    let mac = GUEST_MAC.map(|octet| format!("{octet:02x}")).join(":");
    let console = format!("unix:{},server=on,wait=off", at("console"));
    let log = format!("file:{}", at("log"));
    let device = format!("virtio-net-pci,netdev=wire,mac={mac},romfile=");
    let (kernel, initrd) = (built.join("vmlinuz"), initrd.display().to_string());
    // If this thread goes without dropping its guest, the kernel kills qemu.
    arguments.extend(["setpriv", "--pdeathsig", "KILL", "qemu-system-x86_64"].map(String::from));
    arguments.extend(["-M", "q35", "-cpu", "max", "-m", "256"].map(String::from));
    arguments.extend(["-nodefaults", "-display", "none", "-no-reboot"].map(String::from));
    arguments.extend(["-append", "console=ttyS0 loglevel=5 panic=-1"].map(String::from));
    let kernel = kernel.display().to_string();
    for (option, value) in [
        ("-kernel", kernel),
        ("-initrd", initrd),
        ("-serial", log),
        ("-serial", console),
        ("-netdev", netdev),
        ("-device", device),
    ] {
        arguments.extend([option.to_owned(), value]);
    }
    let mut command = Command::new(&arguments[0]);
    command.args(&arguments[1..]);
    command
}

/// Connects to the console as soon as qemu has it.
fn connect(qemu: &mut Child, path: &Path) -> UnixStream {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        match UnixStream::connect(path) {
            Ok(console) => return console,
            Err(e) => {
                let ended = qemu.try_wait().expect("qemu is our child");
                assert!(ended.is_none(), "qemu ended: {ended:?}");
                if Instant::now() > deadline {
                    let _ = qemu.kill();
                    let _ = qemu.wait();
                    panic!("qemu has no console: {e}");
                }
                thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

fn timed_out(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), Interrupted | TimedOut | WouldBlock)
}
