//! The messages between control and the data plane: one datagram each on a `SOCK_SEQPACKET` Unix socket.
//!
//! Numbers are little-endian. Descriptors travel beside a message as `SCM_RIGHTS`; each message says which.
//! Both sides run on one machine and are of one version ([`crate::LAYOUT_VERSION`] is checked by
//! [`ToControl::Hello`]), yet every length is checked as if the peer were hostile.

use thiserror::Error;
use zerocopy::{FromBytes, IntoBytes};

use crate::forwarding::Side;
use crate::sa::SaRef;
use crate::selector::Selector;

/// The largest message in bytes.
pub const MAX_MESSAGE: usize = 32 * 1024;
/// SAs that one [`ToDataplane::Prepare`] names at most.
pub const MAX_PREPARE: usize = 1024;
/// Descriptors that travel with one message at most.
pub const MAX_FDS: usize = 4;

/// How ports are bound to their NIC's queues.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum ZeroCopy {
    /// Zero-copy where every port has it, else copy everywhere.
    #[default]
    Auto = 0,
    /// Copy.
    Copy = 1,
    /// Zero-copy or fail.
    Force = 2,
}

/// One port of a [`Setup`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortSetup {
    /// Port number, its slot in the region's table of ports.
    pub number: u8,
    /// The kernel's interface number.
    pub ifindex: u32,
    /// Which side of the gateway.
    pub side: Side,
    /// Receive queues to serve, from queue 0 on.
    pub queues: u16,
    /// Interface name, for messages to people.
    pub name: String,
}

/// What the data plane needs to know once, before it opens its ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setup {
    /// Bytes of a UMEM chunk, 2048 or 4096.
    pub frame_size: u16,
    /// Chunks of each worker's stock.
    pub frames_per_worker: u32,
    /// Descriptors of each ring, a power of two.
    pub ring_size: u32,
    /// Worker threads; worker *i* owns queue *i* of every port.
    pub workers: u16,
    /// Whether the UMEM asks for huge pages.
    pub huge_pages: bool,
    /// Bind mode.
    pub zero_copy: ZeroCopy,
    /// CPU of each worker, in order; empty leaves it to the scheduler.
    pub cpus: Vec<u16>,
    /// The ports.
    pub ports: Vec<PortSetup>,
}

/// One SA whose state is to be made ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prepare {
    /// The slot, and the generation that it is about to have.
    pub sa: SaRef,
    /// The last sequence number that counts as used; 0 for a fresh SA.
    pub last_sequence: u64,
}

/// What becomes of packets that were held for an SA. That there is an SA now needs no word: the table says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Verdict {
    /// They are dropped.
    Drop = 0,
    /// They are forwarded in clear.
    Clear = 1,
}

/// From control to the data plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToDataplane {
    /// Map these. Descriptors: policy region, state region, eventfd to write when an event was pushed.
    Regions,
    /// Open these ports. Descriptors: the TUN device, if there is a port of side [`Side::Host`].
    Setup(Setup),
    /// Make these states ready, then answer [`ToControl::Prepared`] with the token.
    Prepare {
        /// Comes back in the answer.
        token: u64,
        /// Which ones.
        sas: Vec<Prepare>,
    },
    /// Let this SA go on with the state of that one, then answer [`ToControl::Prepared`] with the token.
    Share {
        /// Comes back in the answer.
        token: u64,
        /// The slot, and the generation that it is about to have.
        sa: SaRef,
        /// The slot whose state counts, and its generation.
        with: SaRef,
    },
    /// The socket of this port and queue is in the XSKMAP.
    Steered {
        /// Port number.
        port: u8,
        /// Queue.
        queue: u16,
    },
    /// Policies, settings or forwarding have changed: look at the generations now.
    ///
    /// The data plane looks by itself from time to time; this saves the wait.
    Changed,
    /// What becomes of packets that are held for an SA under this policy. It counts for what is held now: what
    /// follows meets the policies as they are.
    Answer {
        /// Slot of the policy.
        policy: u32,
        /// Which of its packets.
        selector: Selector,
        /// What becomes of them.
        verdict: Verdict,
    },
    /// Finish: send what is in the rings, then exit.
    Stop,
}

/// From the data plane to control.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToControl {
    /// First message. Descriptors: policy and state region, if it has them from an earlier control.
    Hello {
        /// [`crate::LAYOUT_VERSION`] of the sender.
        layout: u64,
        /// Its process.
        pid: u32,
        /// What it runs already; [`None`] for a fresh one.
        running: Option<Setup>,
    },
    /// The regions are mapped.
    Mapped,
    /// A socket is bound. Descriptor: the socket, for the XSKMAP.
    Bound {
        /// Port number.
        port: u8,
        /// Queue.
        queue: u16,
        /// Whether it is bound in zero-copy mode.
        zero_copy: bool,
        /// Why this mode, for people.
        reason: String,
    },
    /// All ports are open and all workers run.
    Ready,
    /// The answer to [`ToDataplane::Prepare`].
    Prepared {
        /// The question's token.
        token: u64,
    },
    /// Something cannot be done; the data plane goes on without it or ends.
    Failed {
        /// What and why, for people.
        reason: String,
    },
}

/// A message that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum MessageError {
    /// It ends too early.
    #[error("the message ends inside `{0}`")]
    Truncated(&'static str),
    /// A field has a value that it cannot have.
    #[error("the field `{0}` has an impossible value")]
    Value(&'static str),
    /// There are bytes behind the last field.
    #[error("{0} bytes follow the message's end")]
    Trailing(usize),
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], MessageError> {
        let (head, rest) = self
            .0
            .split_first_chunk()
            .ok_or(MessageError::Truncated(field))?;
        self.0 = rest;
        Ok(*head)
    }
    fn u8(&mut self, field: &'static str) -> Result<u8, MessageError> {
        Ok(u8::from_le_bytes(self.array(field)?))
    }
    fn u16(&mut self, field: &'static str) -> Result<u16, MessageError> {
        Ok(u16::from_le_bytes(self.array(field)?))
    }
    fn u32(&mut self, field: &'static str) -> Result<u32, MessageError> {
        Ok(u32::from_le_bytes(self.array(field)?))
    }
    fn u64(&mut self, field: &'static str) -> Result<u64, MessageError> {
        Ok(u64::from_le_bytes(self.array(field)?))
    }
    fn sa(&mut self) -> Result<SaRef, MessageError> {
        Ok(SaRef {
            slot: self.u32("slot")?,
            generation: self.u32("generation")?,
        })
    }
    fn bool(&mut self, field: &'static str) -> Result<bool, MessageError> {
        match self.u8(field)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(MessageError::Value(field)),
        }
    }
    fn text(&mut self, field: &'static str) -> Result<String, MessageError> {
        let n = usize::from(self.u16(field)?);
        let (head, rest) = self
            .0
            .split_at_checked(n)
            .ok_or(MessageError::Truncated(field))?;
        self.0 = rest;
        String::from_utf8(head.to_vec()).map_err(|_| MessageError::Value(field))
    }
    fn end<T>(self, value: T) -> Result<T, MessageError> {
        if self.0.is_empty() {
            Ok(value)
        } else {
            Err(MessageError::Trailing(self.0.len()))
        }
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    let mut n = text.len().min(1024);
    while !text.is_char_boundary(n) {
        n -= 1;
    }
    out.extend((n as u16).to_le_bytes());
    out.extend(&text.as_bytes()[..n]);
}

impl Setup {
    fn emit(&self, out: &mut Vec<u8>) {
        out.extend(self.frame_size.to_le_bytes());
        out.extend(self.frames_per_worker.to_le_bytes());
        out.extend(self.ring_size.to_le_bytes());
        out.extend(self.workers.to_le_bytes());
        out.push(u8::from(self.huge_pages));
        out.push(self.zero_copy as u8);
        out.push(self.cpus.len() as u8);
        for cpu in &self.cpus {
            out.extend(cpu.to_le_bytes());
        }
        out.push(self.ports.len() as u8);
        for p in &self.ports {
            out.push(p.number);
            out.extend(p.ifindex.to_le_bytes());
            out.push(p.side as u8);
            out.extend(p.queues.to_le_bytes());
            put_text(out, &p.name);
        }
    }

    fn parse(r: &mut Reader<'_>) -> Result<Self, MessageError> {
        let mut setup = Self {
            frame_size: r.u16("frame_size")?,
            frames_per_worker: r.u32("frames_per_worker")?,
            ring_size: r.u32("ring_size")?,
            workers: r.u16("workers")?,
            huge_pages: r.bool("huge_pages")?,
            zero_copy: match r.u8("zero_copy")? {
                0 => ZeroCopy::Auto,
                1 => ZeroCopy::Copy,
                2 => ZeroCopy::Force,
                _ => return Err(MessageError::Value("zero_copy")),
            },
            cpus: Vec::new(),
            ports: Vec::new(),
        };
        for _ in 0..r.u8("cpus")? {
            setup.cpus.push(r.u16("cpu")?);
        }
        for _ in 0..r.u8("ports")? {
            setup.ports.push(PortSetup {
                number: r.u8("port number")?,
                ifindex: r.u32("ifindex")?,
                side: Side::from_u8(r.u8("side")?).ok_or(MessageError::Value("side"))?,
                queues: r.u16("queues")?,
                name: r.text("name")?,
            });
        }
        if !matches!(setup.frame_size, 2048 | 4096) {
            return Err(MessageError::Value("frame_size"));
        }
        if setup.workers == 0 || usize::from(setup.workers) > crate::MAX_WORKERS {
            return Err(MessageError::Value("workers"));
        }
        if !setup.ring_size.is_power_of_two() || !(64..=65_536).contains(&setup.ring_size) {
            return Err(MessageError::Value("ring_size"));
        }
        if setup
            .ports
            .iter()
            .any(|p| usize::from(p.number) >= crate::MAX_PORTS)
        {
            return Err(MessageError::Value("port number"));
        }
        Ok(setup)
    }
}

impl ToDataplane {
    /// The message's bytes.
    ///
    /// A [`ToDataplane::Prepare`] carries its first [`MAX_PREPARE`] SAs only: send more in several messages.
    pub fn emit(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
        match self {
            Self::Regions => out.push(1),
            Self::Setup(setup) => {
                out.push(2);
                setup.emit(&mut out);
            }
            Self::Prepare { token, sas } => {
                out.push(3);
                out.extend(token.to_le_bytes());
                let sas = &sas[..sas.len().min(MAX_PREPARE)];
                out.extend((sas.len() as u16).to_le_bytes());
                for p in sas {
                    out.extend(p.sa.slot.to_le_bytes());
                    out.extend(p.sa.generation.to_le_bytes());
                    out.extend(p.last_sequence.to_le_bytes());
                }
            }
            Self::Steered { port, queue } => {
                out.extend([4, *port]);
                out.extend(queue.to_le_bytes());
            }
            Self::Share { token, sa, with } => {
                out.push(7);
                out.extend(token.to_le_bytes());
                for sa in [sa, with] {
                    out.extend(sa.slot.to_le_bytes());
                    out.extend(sa.generation.to_le_bytes());
                }
            }
            Self::Stop => out.push(5),
            Self::Changed => out.push(6),
            Self::Answer {
                policy,
                selector,
                verdict,
            } => {
                out.extend([8, *verdict as u8]);
                out.extend(policy.to_le_bytes());
                out.extend(selector.as_bytes());
            }
        }
        out
    }

    /// Reads a message.
    ///
    /// # Errors
    /// Names the field that is cut off or impossible.
    pub fn parse(bytes: &[u8]) -> Result<Self, MessageError> {
        let mut r = Reader(bytes);
        let message = match r.u8("kind")? {
            1 => Self::Regions,
            2 => Self::Setup(Setup::parse(&mut r)?),
            3 => {
                let token = r.u64("token")?;
                let n = usize::from(r.u16("sas")?);
                if n > MAX_PREPARE {
                    return Err(MessageError::Value("sas"));
                }
                let mut sas = Vec::with_capacity(n);
                for _ in 0..n {
                    let sa = r.sa()?;
                    sas.push(Prepare {
                        sa,
                        last_sequence: r.u64("last_sequence")?,
                    });
                }
                Self::Prepare { token, sas }
            }
            7 => Self::Share {
                token: r.u64("token")?,
                sa: r.sa()?,
                with: r.sa()?,
            },
            4 => Self::Steered {
                port: r.u8("port")?,
                queue: r.u16("queue")?,
            },
            5 => Self::Stop,
            6 => Self::Changed,
            8 => {
                let verdict = match r.u8("verdict")? {
                    0 => Verdict::Drop,
                    1 => Verdict::Clear,
                    _ => return Err(MessageError::Value("verdict")),
                };
                let policy = r.u32("policy")?;
                let bytes: [u8; size_of::<Selector>()] = r.array("selector")?;
                Self::Answer {
                    policy,
                    selector: Selector::read_from_bytes(&bytes)
                        .map_err(|_| MessageError::Value("selector"))?,
                    verdict,
                }
            }
            _ => return Err(MessageError::Value("kind")),
        };
        r.end(message)
    }
}

impl ToControl {
    /// The message's bytes. Texts are cut at 1,024 bytes.
    pub fn emit(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
        match self {
            Self::Hello {
                layout,
                pid,
                running,
            } => {
                out.push(1);
                out.extend(layout.to_le_bytes());
                out.extend(pid.to_le_bytes());
                out.push(u8::from(running.is_some()));
                if let Some(setup) = running {
                    setup.emit(&mut out);
                }
            }
            Self::Mapped => out.push(2),
            Self::Bound {
                port,
                queue,
                zero_copy,
                reason,
            } => {
                out.extend([3, *port]);
                out.extend(queue.to_le_bytes());
                out.push(u8::from(*zero_copy));
                put_text(&mut out, reason);
            }
            Self::Ready => out.push(4),
            Self::Prepared { token } => {
                out.push(5);
                out.extend(token.to_le_bytes());
            }
            Self::Failed { reason } => {
                out.push(6);
                put_text(&mut out, reason);
            }
        }
        out
    }

    /// Reads a message.
    ///
    /// # Errors
    /// Names the field that is cut off or impossible.
    pub fn parse(bytes: &[u8]) -> Result<Self, MessageError> {
        let mut r = Reader(bytes);
        let message = match r.u8("kind")? {
            1 => Self::Hello {
                layout: r.u64("layout")?,
                pid: r.u32("pid")?,
                running: if r.bool("running")? {
                    Some(Setup::parse(&mut r)?)
                } else {
                    None
                },
            },
            2 => Self::Mapped,
            3 => Self::Bound {
                port: r.u8("port")?,
                queue: r.u16("queue")?,
                zero_copy: r.bool("zero_copy")?,
                reason: r.text("reason")?,
            },
            4 => Self::Ready,
            5 => Self::Prepared {
                token: r.u64("token")?,
            },
            6 => Self::Failed {
                reason: r.text("reason")?,
            },
            _ => return Err(MessageError::Value("kind")),
        };
        r.end(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn setup() -> Setup {
        Setup {
            frame_size: 2048,
            frames_per_worker: 4096,
            ring_size: 2048,
            workers: 2,
            huge_pages: true,
            zero_copy: ZeroCopy::Force,
            cpus: vec![0, 1],
            ports: vec![PortSetup {
                number: 1,
                ifindex: 7,
                side: Side::Outside,
                queues: 2,
                name: "wan0".into(),
            }],
        }
    }

    fn net(ip: &str) -> crate::Prefix {
        crate::Prefix::new(ip.parse().unwrap(), 24).unwrap()
    }

    #[test]
    fn every_message_comes_back_as_it_was_sent() {
        let sa = SaRef {
            slot: 9,
            generation: 2,
        };
        for m in [
            ToDataplane::Regions,
            ToDataplane::Setup(setup()),
            ToDataplane::Prepare {
                token: 5,
                sas: vec![
                    Prepare {
                        sa,
                        last_sequence: 77
                    };
                    3
                ],
            },
            ToDataplane::Share {
                token: 6,
                sa,
                with: SaRef { slot: 3, ..sa },
            },
            ToDataplane::Steered { port: 1, queue: 3 },
            ToDataplane::Stop,
            ToDataplane::Changed,
            ToDataplane::Answer {
                policy: 6,
                selector: Selector::between(net("10.1.0.0"), net("10.2.0.0")),
                verdict: Verdict::Clear,
            },
        ] {
            assert_eq!(ToDataplane::parse(&m.emit()), Ok(m));
        }
        for m in [
            ToControl::Hello {
                layout: 1,
                pid: 2,
                running: None,
            },
            ToControl::Hello {
                layout: 1,
                pid: 2,
                running: Some(setup()),
            },
            ToControl::Mapped,
            ToControl::Bound {
                port: 1,
                queue: 2,
                zero_copy: false,
                reason: "EOPNOTSUPP".into(),
            },
            ToControl::Ready,
            ToControl::Prepared { token: 1 },
            ToControl::Failed {
                reason: "no".into(),
            },
        ] {
            assert_eq!(ToControl::parse(&m.emit()), Ok(m));
        }
    }

    #[test]
    fn the_largest_messages_fit() {
        let sa = SaRef {
            slot: 9,
            generation: 2,
        };
        let m = ToDataplane::Prepare {
            token: 5,
            sas: vec![
                Prepare {
                    sa,
                    last_sequence: 0
                };
                MAX_PREPARE
            ],
        };
        assert!(m.emit().len() <= MAX_MESSAGE);
    }

    #[test]
    fn a_cut_message_names_the_field() {
        let bytes = ToDataplane::Setup(setup()).emit();
        assert_eq!(
            ToDataplane::parse(&bytes[..2]),
            Err(MessageError::Truncated("frame_size"))
        );
        let mut long = bytes;
        long.push(0);
        assert_eq!(ToDataplane::parse(&long), Err(MessageError::Trailing(1)));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = ToDataplane::parse(&bytes);
            let _ = ToControl::parse(&bytes);
        }
    }
}
