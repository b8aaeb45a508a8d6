//! The client as a state machine: which server is asked, when it is asked again, and which answers are believed.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use adit_ike::eap::{Msk, ServerAnswer, ServerFault};
use adit_ike::random::Random;
use adit_ike::time::Instant;

use super::accounting::Record;
use super::authenticity::{Discarded, admit, seal_access, seal_accounting, session_key};
use super::packet::{Code, Packet, PacketError, kind};
use super::terms::{
    ConversationId, Destination, Grant, Nas, Output, Purpose, Question, RecordId, ServerSettings,
};

/// Octets that an EAP message may have: its IKE message then fits most paths.
const FRAMED_MTU: u32 = 1200;
/// How long a server that did not answer comes last.
const AVOIDED: Duration = Duration::from_secs(60);
/// Conversations at the same time; more are refused.
const MAX_CONVERSATIONS: usize = 65_536;

/// A conversation.
struct Conversation {
    /// Who leads it.
    server: usize,
    /// Servers that were asked in vain.
    silent: Vec<usize>,
    /// Whether it has spoken: no other can go on with its conversation.
    has_begun: bool,
    /// What it wants to hear again.
    state: Option<Vec<u8>>,
    question: Question,
}

/// What an open request is about.
enum Matter {
    Conversation(ConversationId),
    Record {
        id: RecordId,
        record: Box<Record>,
        silent: Vec<usize>,
    },
}

/// A request that waits for its answer.
struct Open {
    matter: Matter,
    datagram: Vec<u8>,
    authenticator: [u8; 16],
    tries_left: u8,
    interval: Duration,
    due: Instant,
}

struct Server {
    settings: ServerSettings,
    avoided_until: Option<Instant>,
    next_identifier: u8,
}

/// The client.
pub struct Client {
    nas: Nas,
    servers: Vec<Server>,
    conversations: HashMap<ConversationId, Conversation>,
    open: HashMap<(Destination, u8), Open>,
    outputs: VecDeque<Output>,
}

impl Client {
    /// A client of these servers, which are preferred in their order.
    pub fn new(nas: Nas, servers: Vec<ServerSettings>) -> Self {
        let server = |settings| Server {
            settings,
            avoided_until: None,
            next_identifier: 0,
        };
        Self {
            nas,
            servers: servers.into_iter().map(server).collect(),
            conversations: HashMap::new(),
            open: HashMap::new(),
            outputs: VecDeque::new(),
        }
    }

    /// The settings of the servers, in order.
    pub fn servers(&self) -> impl Iterator<Item = &ServerSettings> {
        self.servers.iter().map(|server| &server.settings)
    }

    /// Passes a message of a peer on.
    pub fn ask(&mut self, now: Instant, question: Question, random: &mut dyn Random) {
        let id = question.conversation;
        self.close(id);
        if let Some(conversation) = self.conversations.get_mut(&id) {
            conversation.question = question;
        } else {
            let server = match self.choose(now, Purpose::Authentication, &[]) {
                Some(server) if self.conversations.len() < MAX_CONVERSATIONS => server,
                Some(_) => return self.refuse(id, ServerFault::Busy),
                None => return self.refuse(id, ServerFault::Silent),
            };
            let conversation = Conversation {
                server,
                silent: Vec::new(),
                has_begun: false,
                state: None,
                question,
            };
            self.conversations.insert(id, conversation);
        }
        self.send_question(now, id, random);
    }

    /// Drops a conversation whose peer is gone; no answer comes any more.
    pub fn forget(&mut self, id: ConversationId) {
        self.conversations.remove(&id);
        self.close(id);
    }

    /// Has a record written down.
    pub fn account(&mut self, now: Instant, id: RecordId, record: Record) {
        self.send_record(now, id, Box::new(record), Vec::new());
    }

    /// Takes what came from a server's address and port.
    ///
    /// # Errors
    /// If it is not believed, for the log: nothing has changed.
    pub fn handle(&mut self, from: Destination, datagram: &[u8]) -> Result<(), Discarded> {
        let identifier = *datagram.get(1).ok_or(PacketError::Truncated)?;
        let key = (from, identifier);
        let open = self.open.get(&key).ok_or(Discarded::Unasked)?;
        let server = self
            .servers
            .get_mut(from.server)
            .ok_or(Discarded::Unasked)?;
        let packet = admit(datagram, &open.authenticator, &server.settings.secret)?;
        let is_accounting = packet.code == Code::AccountingResponse;
        if is_accounting != (from.purpose == Purpose::Accounting) {
            return Err(Discarded::Kind);
        }
        server.avoided_until = None;
        let msk = session_key(&packet, &open.authenticator, &server.settings.secret);
        let Some(open) = self.open.remove(&key) else {
            return Err(Discarded::Unasked);
        };
        match open.matter {
            Matter::Record { id, .. } => self.outputs.push_back(Output::Accounted {
                record: id,
                written: true,
            }),
            Matter::Conversation(id) => self.answered(id, &packet, msk),
        }
        Ok(())
    }

    /// When [`Client::timeout`] is to be called next.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.open.values().map(|open| open.due).min()
    }

    /// Asks again what is overdue, or asks the next server.
    pub fn timeout(&mut self, now: Instant, random: &mut dyn Random) {
        let is_due = |(_, open): &(&(Destination, u8), &Open)| open.due <= now;
        let due: Vec<_> = self
            .open
            .iter()
            .filter(is_due)
            .map(|(key, _)| *key)
            .collect();
        for key in due {
            let Some(mut open) = self.open.remove(&key) else {
                continue;
            };
            if open.tries_left > 0 {
                //= RFC 2865 §2.5: a request sent again is the same, identifier and authenticator included
                open.tries_left -= 1;
                open.interval = open.interval * 3 / 2;
                open.due = now + open.interval;
                let datagram = open.datagram.clone();
                self.outputs.push_back(Output::Send {
                    to: key.0,
                    datagram,
                });
                self.open.insert(key, open);
                continue;
            }
            if let Some(server) = self.servers.get_mut(key.0.server) {
                server.avoided_until = Some(now + AVOIDED);
            }
            match open.matter {
                Matter::Record {
                    id,
                    record,
                    mut silent,
                } => {
                    silent.push(key.0.server);
                    self.send_record(now, id, record, silent);
                }
                Matter::Conversation(id) => self.next_server(now, id, random),
            }
        }
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The first server in order that is not among the silent ones; one that did not answer lately only if there is no other.
    fn choose(&self, now: Instant, purpose: Purpose, silent: &[usize]) -> Option<usize> {
        let usable = |(at, server): &(usize, &Server)| {
            let serves = match purpose {
                Purpose::Authentication => true,
                Purpose::Accounting => server.settings.accounting.is_some(),
            };
            serves && !silent.contains(at)
        };
        let usable = || self.servers.iter().enumerate().filter(usable);
        let answers =
            |(_, server): &(usize, &Server)| server.avoided_until.is_none_or(|until| until <= now);
        let chosen = usable().find(answers).or_else(|| usable().next());
        chosen.map(|(at, _)| at)
    }

    /// Drops the open request of a conversation.
    fn close(&mut self, id: ConversationId) {
        self.open
            .retain(|_, open| !matches!(open.matter, Matter::Conversation(other) if other == id));
    }

    fn refuse(&mut self, conversation: ConversationId, fault: ServerFault) {
        self.conversations.remove(&conversation);
        self.outputs.push_back(Output::Answer {
            conversation,
            answer: ServerAnswer::Refused(fault, None),
            grant: None,
        });
    }

    /// The server that leads a conversation is silent: another one may begin anew, if none has spoken yet.
    fn next_server(&mut self, now: Instant, id: ConversationId, random: &mut dyn Random) {
        let Some(conversation) = self.conversations.get_mut(&id) else {
            return;
        };
        conversation.silent.push(conversation.server);
        let silent = conversation.silent.clone();
        let has_begun = conversation.has_begun;
        let next = self.choose(now, Purpose::Authentication, &silent);
        match (next.filter(|_| !has_begun), self.conversations.get_mut(&id)) {
            (Some(next), Some(conversation)) => {
                conversation.server = next;
                self.send_question(now, id, random);
            }
            _ => self.refuse(id, ServerFault::Silent),
        }
    }

    fn send_question(&mut self, now: Instant, id: ConversationId, random: &mut dyn Random) {
        let Some(conversation) = self.conversations.get(&id) else {
            return;
        };
        let to = Destination {
            server: conversation.server,
            purpose: Purpose::Authentication,
        };
        let mut authenticator = [0; 16];
        random.fill(&mut authenticator);
        let mut packet = self.packet(Code::AccessRequest);
        packet.authenticator = authenticator;
        let question = &conversation.question;
        packet.add(kind::USER_NAME, &question.name[..]);
        packet.add(kind::NAS_PORT_ID, question.connection.as_bytes());
        packet.add(kind::FRAMED_MTU, FRAMED_MTU.to_be_bytes());
        packet.add(kind::CALLED_STATION_ID, question.called.as_bytes());
        packet.add(kind::CALLING_STATION_ID, question.calling.as_bytes());
        packet.add_eap(&question.eap);
        if let Some(state) = &conversation.state {
            packet.add(kind::STATE, &state[..]);
        }
        let matter = Matter::Conversation(id);
        if let Err((matter, fault)) = self.send(now, to, packet, matter)
            && let Matter::Conversation(id) = matter
        {
            self.refuse(id, fault);
        }
    }

    fn send_record(&mut self, now: Instant, id: RecordId, record: Box<Record>, silent: Vec<usize>) {
        let failed = Output::Accounted {
            record: id,
            written: false,
        };
        let Some(server) = self.choose(now, Purpose::Accounting, &silent) else {
            self.outputs.push_back(failed);
            return;
        };
        let to = Destination {
            server,
            purpose: Purpose::Accounting,
        };
        let mut packet = self.packet(Code::AccountingRequest);
        record.describe(&mut packet);
        let matter = Matter::Record { id, record, silent };
        if self.send(now, to, packet, matter).is_err() {
            self.outputs.push_back(failed);
        }
    }

    /// A request that says who we are; for access, with a place for the Message-Authenticator in front.
    fn packet(&self, code: Code) -> Packet {
        let mut packet = Packet {
            code,
            identifier: 0,
            authenticator: [0; 16],
            attributes: Vec::new(),
        };
        if code == Code::AccessRequest {
            packet.add(kind::MESSAGE_AUTHENTICATOR, [0; 16]);
        }
        packet.add(kind::NAS_IDENTIFIER, self.nas.identifier.as_bytes());
        match self.nas.address {
            Some(IpAddr::V4(address)) => packet.add(kind::NAS_IP_ADDRESS, address.octets()),
            Some(IpAddr::V6(address)) => packet.add(kind::NAS_IPV6_ADDRESS, address.octets()),
            None => {}
        }
        // Framed, on a virtual port.
        packet.add(kind::SERVICE_TYPE, 2_u32.to_be_bytes());
        packet.add(kind::NAS_PORT_TYPE, 5_u32.to_be_bytes());
        packet
    }

    /// Sends a request under an identifier that no other open request of this destination has.
    fn send(
        &mut self,
        now: Instant,
        to: Destination,
        mut packet: Packet,
        matter: Matter,
    ) -> Result<(), (Matter, ServerFault)> {
        let Some(server) = self.servers.get_mut(to.server) else {
            return Err((matter, ServerFault::Silent));
        };
        let first = server.next_identifier;
        let identifier = (0..=u8::MAX)
            .map(|step| first.wrapping_add(step))
            .find(|identifier| !self.open.contains_key(&(to, *identifier)));
        let Some(identifier) = identifier else {
            return Err((matter, ServerFault::Busy));
        };
        server.next_identifier = identifier.wrapping_add(1);
        packet.identifier = identifier;
        let sealed = match to.purpose {
            Purpose::Authentication => seal_access(&packet, &server.settings.secret)
                .map(|datagram| (datagram, packet.authenticator)),
            Purpose::Accounting => seal_accounting(&packet, &server.settings.secret),
        };
        // A name or message that no packet can carry.
        let Ok((datagram, authenticator)) = sealed else {
            return Err((matter, ServerFault::Incomplete));
        };
        let interval = server.settings.timeout;
        let open = Open {
            matter,
            datagram: datagram.clone(),
            authenticator,
            tries_left: server.settings.tries.saturating_sub(1),
            interval,
            due: now + interval,
        };
        self.open.insert((to, identifier), open);
        self.outputs.push_back(Output::Send { to, datagram });
        Ok(())
    }

    /// A believed answer to a conversation's question.
    fn answered(&mut self, id: ConversationId, packet: &Packet, msk: Option<Msk>) {
        let (answer, grant) = match (packet.code, packet.eap(), msk) {
            (Code::AccessChallenge, Some(eap), _) => {
                if let Some(conversation) = self.conversations.get_mut(&id) {
                    //= RFC 2865 §5.24: State goes back to the server as it came
                    conversation.state = packet.first(kind::STATE).map(<[u8]>::to_vec);
                    conversation.has_begun = true;
                }
                (ServerAnswer::Challenge(eap), None)
            }
            (Code::AccessAccept, Some(eap), Some(msk)) => {
                let grant = Box::new(Grant::of(packet));
                (ServerAnswer::Accept(eap, msk), Some(grant))
            }
            (Code::AccessReject, eap, _) => {
                (ServerAnswer::Refused(ServerFault::Rejected, eap), None)
            }
            _ => (ServerAnswer::Refused(ServerFault::Incomplete, None), None),
        };
        if !matches!(answer, ServerAnswer::Challenge(_)) {
            self.conversations.remove(&id);
        }
        self.outputs.push_back(Output::Answer {
            conversation: id,
            answer,
            grant,
        });
    }
}
