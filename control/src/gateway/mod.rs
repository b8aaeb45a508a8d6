//! The gateway: everything that control knows and does, short of the loop that drives it ([`crate::daemon`]).

mod acquires;
mod ike;
mod network;
mod plane;
mod policies;
mod reload;
mod startup;

use std::collections::{HashMap, VecDeque};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use adit_abi::message::{Setup, ToDataplane};
use adit_abi::{SaKey, Selector, Side};
use adit_vici::Message;

use crate::config::Config;
use crate::host::protected_routes::ProtectedRoutes;
use crate::ike::Ike;
use crate::netlink::Follower;
use crate::plane::Plane;
use crate::plane::events::Events;
use crate::plane::session::Session;
use crate::sadb::Sadb;
use crate::steer::Steer;
use crate::vici::Ticket;

pub use reload::{ReloadError, Reloaded};
pub use startup::StartupError;

/// A port in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayPort {
    /// Port number.
    pub number: u8,
    /// The kernel's interface number.
    pub ifindex: u32,
    /// Interface name.
    pub name: String,
    /// Which side of the gateway.
    pub side: Side,
    /// Receive queues that are served.
    pub queues: u16,
}

/// Everything that control knows.
pub struct Gateway {
    pub(crate) config: Config,
    pub(crate) sadb: Sadb,
    pub(crate) follower: Follower,
    pub(crate) steer: Steer,
    pub(crate) plane: Plane,
    pub(crate) session: Session,
    pub(crate) ports: Vec<GatewayPort>,
    pub(crate) started: Instant,
    pub(crate) events: Events,
    pub(crate) ike: Ike,
    setup: Setup,
    pub(crate) routes: ProtectedRoutes,
    /// What the steering program could not be told, if the last try failed.
    pub(crate) steering_refused: Option<String>,
    notify: Arc<OwnedFd>,
    tun: Option<Arc<OwnedFd>>,
    /// Whether a data plane has come, so that it is known what an earlier control left behind.
    settled: bool,
    waiting: HashMap<SaKey, Ticket>,
    initiations: Vec<ike::Initiation>,
    answers: VecDeque<(Ticket, Message)>,
    notices: VecDeque<(&'static str, Message)>,
    /// SAs that were asked for lately.
    asked: HashMap<(u32, Selector), Instant>,
    limit: crate::rate_limit::RateLimit,
}

impl Gateway {
    /// An answer to a command that had to wait, if there is one.
    pub fn poll_answer(&mut self) -> Option<(Ticket, Message)> {
        self.answers.pop_front()
    }

    /// An event for those who registered for it, if there is one: its name and its message.
    pub fn poll_notice(&mut self) -> Option<(&'static str, Message)> {
        self.notices.pop_front()
    }

    /// The descriptor that becomes readable when the kernel's tables change.
    pub fn netlink_fd(&self) -> BorrowedFd<'_> {
        self.follower.fd()
    }

    /// Remembers what an event says about the link to the data plane; returns whether it was about that.
    pub fn plane_ready(&mut self, event: &mio::event::Event) -> bool {
        self.plane.ready(event)
    }

    /// How long nothing is due that no socket announces. `boot` is `CLOCK_BOOTTIME` in nanoseconds.
    pub fn timeout(&self, now: Instant, boot: u64) -> Option<Duration> {
        let plane = self
            .plane
            .deadline()
            .map(|at| at.saturating_duration_since(now));
        let expiry = self
            .next_expiry()
            .map(|at| Duration::from_nanos(at.saturating_sub(boot)));
        let ike = self.ike.timeout(adit_ike::time::Instant(boot));
        let initiations = self.initiations_timeout(now);
        [plane, expiry, ike, initiations]
            .into_iter()
            .flatten()
            .min()
    }

    /// The descriptor that becomes readable when the data plane pushed an event.
    pub fn notify(&self) -> &OwnedFd {
        &self.notify
    }

    /// The command of this ticket is answered when the SA is in the table.
    pub(crate) fn wait_for(&mut self, key: SaKey, ticket: Ticket) {
        self.waiting.insert(key, ticket);
    }

    /// Whether it is known what an earlier control left behind: a data plane has come.
    pub fn is_settled(&self) -> bool {
        self.settled
    }

    /// When something is due that no socket announces, `CLOCK_BOOTTIME` nanoseconds.
    pub fn next_expiry(&self) -> Option<u64> {
        self.sadb.next_expiry()
    }

    /// Does what is due.
    pub fn expire(&mut self, now: u64) {
        self.sadb.expire(now);
        self.forward_sadb();
    }

    /// Tells the data plane that the SPD or forwarding changed; it would notice by itself, only later.
    pub(crate) fn tell_changed(&mut self) {
        self.plane.send(&ToDataplane::Changed, &[]);
    }
}
