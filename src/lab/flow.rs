//! A paced UDP flow with sequence numbers, from one host to another: it tells exactly which packets were lost, and for how long.
//!
//! Every payload starts with [`MARKER`], so that a packet of the flow is recognised on the outside wire if it ever gets there in clear.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::namespace::Namespace;
use super::wait::{self, Look};
use super::{Family, LabError, Side, Topology};

/// What every payload starts with.
pub const MARKER: &[u8; 16] = b"adit-lab-clear-\n";
/// Marker and sequence number.
const HEADER: usize = 24;
/// The UDP port that sinks listen on unless a plan says otherwise.
pub const PORT: u16 = 4242;
/// The sink's socket buffer in octets: a tenth of a second at the rates a lab reaches.
const SINK_BUFFER: usize = 32 << 20;
/// How much sending a late source makes up for at once.
const CATCH_UP: Duration = Duration::from_millis(5);
/// Within how long a packet that was sent has arrived or is lost.
const SETTLE: Duration = Duration::from_millis(300);

/// What a flow is made of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FlowPlan {
    /// From the host of this side to the other.
    pub from: Side,
    /// IPv4 or IPv6.
    pub family: Family,
    /// Packets a second.
    pub rate: u32,
    /// UDP payload octets, at least 24.
    pub size: usize,
    /// UDP port of the sink: flows that run side by side to one host have one each.
    pub port: u16,
}

impl Default for FlowPlan {
    fn default() -> Self {
        FlowPlan {
            from: Side::A,
            family: Family::V4,
            rate: 1000,
            size: 200,
            port: PORT,
        }
    }
}

/// What became of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    /// Packets that the source's socket took.
    pub sent: u64,
    /// Different packets that arrived.
    pub received: u64,
    /// Packets that arrived again.
    pub duplicates: u64,
    /// Packets that arrived after one sent later.
    pub reordered: u64,
    /// The longest time without an arrival, from the first to the last.
    pub longest_gap: Duration,
}

impl Tally {
    /// Packets that never arrived.
    pub fn lost(&self) -> u64 {
        self.sent.saturating_sub(self.received)
    }
}

/// A running flow: a source and a sink, each a thread in its host's namespace.
#[derive(Debug)]
pub struct Flow {
    shared: Arc<Shared>,
    source: Option<Worker>,
    sink: Option<Worker>,
}

type Worker = JoinHandle<Result<Result<(), LabError>, LabError>>;

#[derive(Debug, Default)]
struct Shared {
    stop_source: AtomicBool,
    stop_sink: AtomicBool,
    sent: AtomicU64,
    received: AtomicU64,
    duplicates: AtomicU64,
    reordered: AtomicU64,
    longest_gap_us: AtomicU64,
}

impl Flow {
    /// Starts sink and source.
    ///
    /// # Errors
    /// [`LabError`] if a namespace or a socket cannot be had.
    pub fn start(topology: &Topology, plan: FlowPlan) -> Result<Self, LabError> {
        let from = SocketAddr::new(plan.from.host_address(plan.family), 0);
        let to = SocketAddr::new(plan.from.other().host_address(plan.family), plan.port);
        let sink_socket = bind(topology.host(plan.from.other()), to)?;
        let source_socket = bind(topology.host(plan.from), from)?;
        let shared = Arc::new(Shared::default());
        let at_sink = Arc::clone(&shared);
        let at_source = Arc::clone(&shared);
        Ok(Flow {
            sink: Some(
                topology
                    .host(plan.from.other())
                    .spawn("flow-sink", move || sink(&sink_socket, &at_sink))?,
            ),
            source: Some(topology.host(plan.from).spawn("flow-source", move || {
                source(&source_socket, to, plan, &at_source)
            })?),
            shared,
        })
    }

    /// Packets sent so far.
    pub fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::Relaxed)
    }

    /// Different packets received so far.
    pub fn received(&self) -> u64 {
        self.shared.received.load(Ordering::Relaxed)
    }

    /// Waits until `more` packets have arrived from now on.
    ///
    /// # Errors
    /// [`LabError::Timeout`] if they do not within `limit`.
    pub fn wait_for_arrivals(&self, more: u64, limit: Duration) -> Result<(), LabError> {
        let goal = self.received() + more;
        wait::until(&format!("{more} packets to arrive"), limit, || {
            Ok(Look::at(self.received() >= goal))
        })
    }

    /// Waits until `more` packets have been sent from now on, whether or not they arrive.
    ///
    /// # Errors
    /// [`LabError::Timeout`] if they are not within `limit`.
    pub fn wait_for_sending(&self, more: u64, limit: Duration) -> Result<(), LabError> {
        let goal = self.sent() + more;
        wait::until(&format!("{more} packets to be sent"), limit, || {
            Ok(Look::at(self.sent() >= goal))
        })
    }

    /// Stops the source, gives the last packets time to arrive, stops the sink and counts.
    ///
    /// # Errors
    /// [`LabError`] that a thread ended with.
    pub fn stop(mut self) -> Result<Tally, LabError> {
        self.shared.stop_source.store(true, Ordering::Relaxed);
        join(self.source.take())?;
        let all_there = || Ok(Look::at(self.received() >= self.sent()));
        match wait::until("the last packets", SETTLE, all_there) {
            Ok(()) | Err(LabError::Timeout { .. }) => {}
            Err(other) => return Err(other),
        }
        self.shared.stop_sink.store(true, Ordering::Relaxed);
        join(self.sink.take())?;
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Ok(Tally {
            sent: count(&self.shared.sent),
            received: count(&self.shared.received),
            duplicates: count(&self.shared.duplicates),
            reordered: count(&self.shared.reordered),
            longest_gap: Duration::from_micros(count(&self.shared.longest_gap_us)),
        })
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.shared.stop_source.store(true, Ordering::Relaxed);
        self.shared.stop_sink.store(true, Ordering::Relaxed);
    }
}

/// The highest rate, among `floor`, 2 `floor`, 4 `floor` … up to `ceiling`, at which a second of the flow loses nothing; none if even `floor`
/// loses. Rates are compared only with others of the same run, since machines differ and have neighbours.
///
/// # Errors
/// As [`Flow::start`].
pub fn lossless_rate(
    topology: &Topology,
    plan: FlowPlan,
    floor: u32,
    ceiling: u32,
) -> Result<Option<u32>, LabError> {
    let mut best = None;
    let mut rate = floor;
    while rate <= ceiling {
        let flow = Flow::start(topology, FlowPlan { rate, ..plan })?;
        flow.wait_for_sending(rate.into(), Duration::from_secs(4))
            .or_else(|error| match error {
                // The source itself cannot keep up: that rate is out of reach.
                LabError::Timeout { .. } => Ok(()),
                other => Err(other),
            })?;
        let tally = flow.stop()?;
        if tally.lost() > 0 || tally.sent < u64::from(rate) {
            break;
        }
        best = Some(rate);
        rate = rate.saturating_mul(2);
    }
    Ok(best)
}

fn bind(host: &Namespace, address: SocketAddr) -> Result<UdpSocket, LabError> {
    let socket = host
        .enter(|| UdpSocket::bind(address))?
        .map_err(|e| LabError::io(format!("bind {address} in {}", host.name()), e))?;
    rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, SINK_BUFFER)
        .map_err(|e| LabError::io("enlarge a socket's receive buffer", e))?;
    socket
        .set_read_timeout(Some(Duration::from_millis(20)))
        .map_err(|e| LabError::io("set a socket's time limit", e))?;
    Ok(socket)
}

fn source(
    socket: &UdpSocket,
    to: SocketAddr,
    plan: FlowPlan,
    shared: &Shared,
) -> Result<(), LabError> {
    let mut payload = vec![0u8; plan.size.max(HEADER)];
    payload[..MARKER.len()].copy_from_slice(MARKER);
    let period = Duration::from_secs(1) / plan.rate.max(1);
    let mut due = Instant::now();
    let mut next = 0u64;
    while !shared.stop_source.load(Ordering::Relaxed) {
        let now = Instant::now();
        if now < due {
            std::thread::sleep((due - now).min(Duration::from_millis(1)));
            continue;
        }
        // A burst after a long absence would overrun queues that the rate itself does not.
        due = due.max(now.checked_sub(CATCH_UP).unwrap_or(now));
        payload[MARKER.len()..HEADER].copy_from_slice(&next.to_be_bytes());
        match socket.send_to(&payload, to) {
            Ok(_) => {
                next += 1;
                shared.sent.store(next, Ordering::Relaxed);
            }
            // Asynchronous errors of earlier packets (unreachable, refused) and full queues: this packet has not left.
            Err(e) if is_passing(&e) => {}
            Err(e) => return Err(LabError::io(format!("send to {to}"), e)),
        }
        due += period;
    }
    Ok(())
}

fn is_passing(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{
        ConnectionRefused, HostUnreachable, Interrupted, NetworkUnreachable, WouldBlock,
    };
    matches!(
        error.kind(),
        ConnectionRefused | HostUnreachable | Interrupted | NetworkUnreachable | WouldBlock
    ) || error.raw_os_error() == Some(rustix::io::Errno::NOBUFS.raw_os_error())
}

fn sink(socket: &UdpSocket, shared: &Shared) -> Result<(), LabError> {
    let mut seen = Seen::default();
    let mut buffer = [0u8; 2048];
    let mut last_arrival: Option<Instant> = None;
    while !shared.stop_sink.load(Ordering::Relaxed) {
        let length = match socket.recv(&mut buffer) {
            Ok(length) => length,
            Err(e) if is_passing(&e) => continue,
            Err(e) => return Err(LabError::io("receive from a flow", e)),
        };
        let Some(number) = number_in(&buffer[..length]) else {
            continue;
        };
        let now = Instant::now();
        if let Some(before) = last_arrival.replace(now) {
            let gap = u64::try_from((now - before).as_micros()).unwrap_or(u64::MAX);
            shared.longest_gap_us.fetch_max(gap, Ordering::Relaxed);
        }
        match seen.note(number) {
            Arrival::InOrder => {}
            Arrival::Late => {
                shared.reordered.fetch_add(1, Ordering::Relaxed);
            }
            Arrival::Again => {
                shared.duplicates.fetch_add(1, Ordering::Relaxed);
                continue;
            }
        }
        shared.received.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// The sequence number of a payload of a flow.
fn number_in(payload: &[u8]) -> Option<u64> {
    let number = payload.strip_prefix(MARKER)?.first_chunk()?;
    Some(u64::from_be_bytes(*number))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Arrival {
    InOrder,
    Late,
    Again,
}

/// Which sequence numbers have arrived, a bit each.
#[derive(Debug, Default)]
struct Seen {
    words: Vec<u64>,
    next: u64,
}

impl Seen {
    fn note(&mut self, number: u64) -> Arrival {
        let word = usize::try_from(number / 64).unwrap_or(usize::MAX);
        let bit = 1u64 << (number % 64);
        if word >= self.words.len() {
            self.words.resize(word.saturating_add(1), 0);
        }
        if self.words[word] & bit != 0 {
            return Arrival::Again;
        }
        self.words[word] |= bit;
        if number < self.next {
            return Arrival::Late;
        }
        self.next = number + 1;
        Arrival::InOrder
    }
}

fn join(worker: Option<Worker>) -> Result<(), LabError> {
    match worker.map(JoinHandle::join) {
        None => Ok(()),
        Some(Ok(outcome)) => outcome?,
        Some(Err(panic)) => std::panic::resume_unwind(panic),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrivals_are_told_apart() {
        let mut seen = Seen::default();
        let verdicts: Vec<Arrival> = [0, 1, 3, 2, 3, 200].map(|n| seen.note(n)).into();
        use Arrival::{Again, InOrder, Late};
        assert_eq!(verdicts, [InOrder, InOrder, InOrder, Late, Again, InOrder]);
    }

    #[test]
    fn only_payloads_of_a_flow_have_a_number() {
        let mut payload = MARKER.to_vec();
        assert_eq!(number_in(&payload), None);
        payload.extend(7u64.to_be_bytes());
        assert_eq!(number_in(&payload), Some(7));
        payload[0] ^= 1;
        assert_eq!(number_in(&payload), None);
    }
}
