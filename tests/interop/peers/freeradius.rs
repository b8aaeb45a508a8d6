//! FreeRADIUS on the loopback, with one client, EAP-MSCHAPv2 and a file of users.

use super::{Unavailable, require_tools};
use adit::lab::process::Daemon;
use adit::lab::wait::{Look, until};
use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// What it shares with us.
pub const SECRET: &[u8] = b"a shared secret";

/// A server that runs until the value is dropped.
pub struct FreeRadius {
    /// Where it authenticates.
    pub authentication: SocketAddr,
    /// Where it keeps accounts.
    pub accounting: SocketAddr,
    folder: PathBuf,
    _daemon: Daemon,
}

impl FreeRadius {
    /// Starts one that knows these users, worded as in its `users` file.
    ///
    /// # Errors
    /// If FreeRADIUS is not installed.
    pub fn start(name: &str, users: &str) -> Result<Self, Unavailable> {
        require_tools(&["freeradius"])?;
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("a folder");
        let [authentication, accounting] = free_ports();
        let configuration = configuration(&folder, authentication, accounting);
        fs::write(folder.join("radiusd.conf"), configuration).expect("its configuration");
        fs::write(folder.join("users"), users).expect("its users");
        let mut command = Command::new("freeradius");
        command
            .args(["-f", "-l", "stdout", "-n", "radiusd"])
            .args(["-D", "/usr/share/freeradius"])
            .arg("-d")
            .arg(&folder);
        let log = folder.join("log");
        let mut daemon = Daemon::start(name, &log, &mut command).expect("starting freeradius");
        until("freeradius to be ready", Duration::from_secs(10), || {
            daemon.check_alive()?;
            Ok(Look::at(daemon.log_text().contains("Ready to process")))
        })
        .expect("freeradius");
        Ok(Self {
            authentication,
            accounting,
            folder,
            _daemon: daemon,
        })
    }

    /// The accounts it has written so far.
    pub fn accounts(&self) -> String {
        fs::read_to_string(self.folder.join("accounts")).unwrap_or_default()
    }
}

/// Two ports of the loopback that nobody has.
fn free_ports() -> [SocketAddr; 2] {
    let sockets = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").expect("a port"));
    sockets.map(|socket| socket.local_addr().expect("its address"))
}

fn configuration(folder: &Path, authentication: SocketAddr, accounting: SocketAddr) -> String {
    let folder = folder.display();
    let secret = String::from_utf8_lossy(SECRET);
    let (authentication, accounting) = (authentication.port(), accounting.port());
    format!(
        r#"
prefix = /usr
name = radius
confdir = {folder}
logdir = {folder}
run_dir = {folder}
libdir = /usr/lib/freeradius
max_requests = 1024
log {{
    destination = stdout
    auth = yes
}}
client lab {{
    ipaddr = 127.0.0.1
    secret = "{secret}"
    require_message_authenticator = yes
}}
thread pool {{
    start_servers = 1
    max_servers = 1
    min_spare_servers = 0
    max_spare_servers = 1
    max_requests_per_server = 0
}}
modules {{
    eap {{
        default_eap_type = mschapv2
        timer_expire = 60
        max_sessions = 1024
        mschapv2 {{
        }}
    }}
    mschap {{
    }}
    files {{
        filename = {folder}/users
    }}
    detail {{
        filename = {folder}/accounts
    }}
}}
server lab {{
    listen {{
        type = auth
        ipaddr = 127.0.0.1
        port = {authentication}
    }}
    listen {{
        type = acct
        ipaddr = 127.0.0.1
        port = {accounting}
    }}
    authorize {{
        files
        eap
    }}
    authenticate {{
        mschap
        eap
    }}
    accounting {{
        detail
    }}
}}
"#
    )
}
