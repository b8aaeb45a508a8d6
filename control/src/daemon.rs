//! The loop: one thread that waits for sockets, signals and the next deadline.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use signal_hook::consts::{SIGINT, SIGTERM};
use thiserror::Error;
use tracing::{error, info};

use crate::clock;
use crate::config::Config;
use crate::gateway::{Gateway, StartupError};
use crate::plane::Plane;
use crate::vici::{Access, BindError, Server};

const SIGNAL: Token = Token(0);
const NETLINK: Token = Token(1);
const NOTIFY: Token = Token(2);
const PLANE: usize = 3;
const VICI: usize = PLANE + Plane::TOKENS;
/// Beyond the tokens of any number of clients.
const IKE: usize = 1 << 40;

/// How long commands wait after the start for a running data plane to bring the table back: until then, nothing
/// could be listed, and what is added might be there already.
const GRACE: Duration = Duration::from_millis(300);

/// Why the process ends with an error.
#[derive(Debug, Error)]
pub enum DaemonError {
    /// The control socket.
    #[error(transparent)]
    Vici(#[from] BindError),
    /// The gateway.
    #[error(transparent)]
    Startup(#[from] StartupError),
    /// The loop itself.
    #[error("{0}: {1}")]
    System(&'static str, #[source] io::Error),
}

fn system(what: &'static str) -> impl Fn(io::Error) -> DaemonError {
    move |e| DaemonError::System(what, e)
}

/// Runs until a signal says stop.
///
/// # Errors
/// When the gateway cannot start or the loop fails.
pub fn run(config: Config) -> Result<(), DaemonError> {
    let mut poll = Poll::new().map_err(system("epoll"))?;
    let registry = poll.registry().try_clone().map_err(system("epoll"))?;
    let (signals, _keep) = signal_pipe().map_err(system("signals"))?;
    let register = |fd: i32, token| {
        registry
            .register(&mut SourceFd(&fd), token, Interest::READABLE)
            .map_err(system("epoll"))
    };
    register(signals.as_raw_fd(), SIGNAL)?;
    // The control socket first: it tells when another control runs, before anything is touched.
    let settings = &config.gateway;
    for path in [&settings.control_socket, &settings.dataplane_socket] {
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir).map_err(system("the sockets' directory"))?;
        }
    }
    let access = Access {
        mode: settings.control_socket_mode,
        group: settings.control_socket_group,
    };
    let mut server = Server::bind(&settings.control_socket, access, &registry, VICI)?;
    let mut gateway = Gateway::start(config, &registry, PLANE, IKE)?;
    register(gateway.netlink_fd().as_raw_fd(), NETLINK)?;
    register(gateway.notify().as_raw_fd(), NOTIFY)?;
    info!("ready for a data plane");

    let mut events = Events::with_capacity(256);
    let serve_from = Instant::now() + GRACE;
    let mut again = true;
    loop {
        let now = Instant::now();
        let serving = gateway.is_settled() || now >= serve_from;
        let timeout = if again {
            Some(Duration::ZERO)
        } else {
            let grace = (!serving).then(|| serve_from - now);
            let due = gateway.timeout(now, clock::now());
            [grace, due].into_iter().flatten().min()
        };
        match poll.poll(&mut events, timeout) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(DaemonError::System("epoll", e)),
        }
        let mut stop = false;
        for event in &events {
            match event.token() {
                SIGNAL => stop = true,
                NETLINK | NOTIFY => {}
                _ => {
                    let _ = gateway.plane_ready(event)
                        || gateway.ike_ready(event)
                        || server.ready(event);
                }
            }
        }
        if stop {
            gateway.stop();
            return Ok(());
        }
        // Everything has a turn each time round: a look at an idle socket costs a system call, and edges that
        // came in between are not missed.
        again = gateway.follow_network().unwrap_or_else(|e| {
            error!("netlink failed: {e}");
            false
        });
        again |= gateway.serve_plane(&registry);
        again |= gateway.handle_events();
        again |= gateway.serve_ike();
        gateway.expire(clock::now());
        if serving {
            again |= server.turn(&registry, &mut gateway);
        }
        while let Some((ticket, answer)) = gateway.poll_answer() {
            server.complete(ticket, &answer);
            again = true;
        }
        while let Some((event, notice)) = gateway.poll_notice() {
            server.raise(event, &notice);
            again = true;
        }
    }
}

/// The end of a pipe that becomes readable when a signal asks the process to end.
fn signal_pipe() -> io::Result<(UnixStream, [signal_hook::SigId; 2])> {
    let (read, write) = UnixStream::pair()?;
    read.set_nonblocking(true)?;
    write.set_nonblocking(true)?;
    let term = signal_hook::low_level::pipe::register(SIGTERM, OwnedFd::from(write.try_clone()?))?;
    let int = signal_hook::low_level::pipe::register(SIGINT, OwnedFd::from(write))?;
    Ok((read, [term, int]))
}
