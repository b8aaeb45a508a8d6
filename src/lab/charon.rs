//! strongSwan's daemon in the place of a gateway: IKE and ESP of another make.
//!
//! Its ESP runs in its own process (`kernel-libipsec`), always encapsulated in UDP, so it needs nothing of the kernel but a TUN device.

use std::path::{Path, PathBuf};
use std::time::Duration;

use adit_vici::{Client, ClientError, Message};

use super::process::{self, Daemon};
use super::wait::{self, Look};
use super::{LabError, Side, Topology};

/// The program, where Debian's package `strongswan-charon` puts it.
const PROGRAM: &str = "/usr/lib/ipsec/charon";
/// How long it may take to answer on its socket, and to an `initiate`.
const LIMIT: Duration = Duration::from_secs(20);
/// What it is made of: this and no more, in this order. `kernel-libipsec` must come before the kernel's own.
const PLUGINS: &str = "random nonce openssl pem pkcs1 pkcs8 x509 revocation constraints pubkey curve25519 aes sha1 sha2 hmac gcm ccm \
    ctr cmac xcbc chapoly kdf kernel-libipsec kernel-netlink socket-default vici eap-identity counters";

/// A running daemon. Dropping the value kills it.
#[derive(Debug)]
pub struct Charon {
    daemon: Option<Daemon>,
    socket: PathBuf,
    side: Side,
}

impl Charon {
    /// Whether it is installed.
    ///
    /// # Errors
    /// [`LabError::Usage`] names the package.
    pub fn require() -> Result<(), LabError> {
        let ipsec = "/usr/lib/ipsec/plugins/libstrongswan-kernel-libipsec.so";
        for (path, package) in [
            (PROGRAM, "strongswan-charon"),
            (ipsec, "libcharon-extra-plugins"),
        ] {
            if !Path::new(path).exists() {
                return Err(LabError::Usage(format!(
                    "{path} is not there; install the Debian package {package}"
                )));
            }
        }
        process::require("unshare", "util-linux")
    }

    /// Starts it in the gateway of one side, whose kernel forwards from here on.
    ///
    /// # Errors
    /// [`LabError`] if it does not start or does not answer in time.
    pub fn start(topology: &Topology, side: Side) -> Result<Self, LabError> {
        let dir = topology.dir().join(format!("{}-charon", side.gateway()));
        std::fs::create_dir_all(&dir)
            .map_err(|e| LabError::io(format!("make {}", dir.display()), e))?;
        let socket = dir.join("charon.vici");
        let config = dir.join("strongswan.conf");
        std::fs::write(&config, configuration(&socket))
            .map_err(|e| LabError::io(format!("write {}", config.display()), e))?;
        let namespace = topology.gateway(side);
        namespace.sysctl(&[
            ("net/ipv4/ip_forward", "1"),
            ("net/ipv6/conf/all/forwarding", "1"),
        ])?;
        // A /run of its own: it writes its process number there, and finds no other daemon's. The lab's own files lie
        // under /run as well and must stay to be seen.
        let script = "mount --bind \"$1\" /mnt && mount -t tmpfs tmpfs /run && mkdir -p \"$1\" \
                      && mount --bind /mnt \"$1\" && exec \"$0\"";
        let mut command = namespace.command("unshare");
        command
            .args(["--mount", "sh", "-c", script, PROGRAM])
            .arg(&dir)
            .env("STRONGSWAN_CONF", &config);
        let log = dir.join("charon.log");
        let name = format!("charon of {}", side.gateway());
        let mut charon = Self {
            daemon: Some(Daemon::start(name, &log, &mut command)?),
            socket,
            side,
        };
        wait::until("charon to answer", LIMIT, || {
            charon.check_alive()?;
            Ok(match charon.request("version", &Message::new()) {
                Ok(_) => Look::Ready(()),
                Err(e) => Look::NotYet(e.to_string()),
            })
        })?;
        Ok(charon)
    }

    /// Its VICI socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Asks it something.
    ///
    /// # Errors
    /// [`LabError::Control`] with its own words if it refuses.
    pub fn request(&self, command: &str, arguments: &Message) -> Result<Message, LabError> {
        let ask = || -> Result<Message, ClientError> {
            let mut client = Client::connect(&self.socket)?;
            client.set_timeout(Some(LIMIT))?;
            client.request(command, arguments)
        };
        ask().map_err(|source| LabError::Control {
            gateway: format!("charon of {}", self.side.gateway()),
            source,
        })
    }

    /// Fails if it has ended.
    ///
    /// # Errors
    /// [`LabError::Died`] with the end of its log.
    pub fn check_alive(&mut self) -> Result<(), LabError> {
        self.daemon.as_mut().map_or(Ok(()), Daemon::check_alive)
    }
}

impl Drop for Charon {
    fn drop(&mut self) {
        if let Some(daemon) = self.daemon.take() {
            daemon.kill();
        }
    }
}

/// Its `strongswan.conf`.
fn configuration(socket: &Path) -> String {
    format!(
        "charon {{
  load = {PLUGINS}
  retransmit_timeout = 1
  retransmit_tries = 3
  filelog {{
    stderr {{
      default = 1
      ike = 2
      flush_line = yes
    }}
  }}
  plugins {{
    vici {{
      socket = unix://{}
    }}
  }}
}}
",
        socket.display()
    )
}
