//! `load-conn` and what belongs to it, `initiate`, and `adit-explain`.

use std::time::{Duration, Instant};

use adit_ike::config::{Action, AuthMethod, Connection, Version};
use adit_ike::endpoint::{ChildId, ChildInfo, IkeInfo, IkeSaId, Input, Reason, Target};
use adit_vici::Message;

use super::arguments::Arguments;
use crate::clock;
use crate::connection::{self, values};
use crate::gateway::Gateway;
use crate::vici::{Answer, Reply, failure, success};

impl Gateway {
    /// `load-conn`: one section, named as the connection.
    pub(super) fn load_conn(&mut self, message: &Message) -> Result<(), String> {
        let loaded = connection::load(message)?;
        self.load_connection(loaded)
    }

    /// `unload-conn`: IKE SAs of the connection stay.
    pub(super) fn unload_conn(&mut self, message: &Message) -> Result<(), String> {
        let name = Arguments::check(message, &["name"])?.needed("name")?;
        if self.unload_connection(name) {
            Ok(())
        } else {
            Err(format!("there is no connection named {name:?}"))
        }
    }

    /// `get-conns`: the names of what was loaded.
    pub(super) fn get_conns(&self) -> Message {
        Message::new().with_list("conns", self.ike.loaded.keys().map(|name| &**name))
    }

    /// `list-conns`, streamed; the cursor is how many were told.
    pub(super) fn list_conns(
        &self,
        request: &Message,
        cursor: u64,
        reply: &mut Reply<'_>,
    ) -> Answer {
        let first = usize::try_from(cursor).unwrap_or(usize::MAX);
        for (n, (name, loaded)) in self.ike.loaded.iter().enumerate().skip(first) {
            if !reply.has_room() {
                return Answer::More(n as u64);
            }
            if request.str("ike").is_none_or(|asked| asked == &**name) {
                reply.event("list-conn", &list_conn(&loaded.connection));
            }
        }
        Answer::Done(Message::new())
    }

    /// `initiate`: answers when it is up, when it failed, or when the time is over; at once if that is negative.
    pub(super) fn initiate(&mut self, message: &Message, reply: &Reply<'_>) -> Answer {
        match self.begin(message, reply) {
            Ok(answer) => answer,
            Err(reason) => Answer::Done(failure(reason)),
        }
    }

    fn begin(&mut self, message: &Message, reply: &Reply<'_>) -> Result<Answer, String> {
        let keys = ["child", "ike", "timeout", "init-limits", "loglevel"];
        let a = Arguments::check(message, &keys)?;
        let (ike, child) = (a.text("ike")?, a.text("child")?);
        let found = self.ike.loaded.values().map(|l| &l.connection).find(|c| {
            ike.is_none_or(|name| name == &*c.name)
                && child.is_none_or(|name| c.child(name).is_some())
        });
        let connection = match (found, ike, child) {
            (_, None, None) => return Err("name a connection by ike, or a child".into()),
            (Some(connection), ..) => connection.name.clone(),
            (None, Some(ike), None) => return Err(format!("there is no connection named {ike:?}")),
            (None, _, Some(child)) => {
                let of = ike.map_or(String::new(), |ike| format!(" of a connection {ike:?}"));
                return Err(format!("there is no child named {child:?}{of}"));
            }
        };
        let timeout = match a.text("timeout")? {
            None => 0,
            Some(text) => text
                .parse::<i64>()
                .map_err(|_| format!("timeout is {text:?}, expected milliseconds"))?,
        };
        let until = u64::try_from(timeout)
            .ok()
            .filter(|t| *t > 0)
            .map(|t| Instant::now() + Duration::from_millis(t));
        let ticket = (timeout >= 0).then(|| reply.ticket());
        Ok(self.bring_up(connection, child.map(Into::into), ticket, until))
    }

    /// `terminate`: the answer comes at once, and the peer is told in the background.
    pub(super) fn terminate(&mut self, message: &Message) -> Result<Message, String> {
        let keys = [
            "child", "ike", "child-id", "ike-id", "force", "timeout", "loglevel",
        ];
        let (target, matches) = self.target(message, &keys)?;
        self.tell_ike(Input::Terminate(target));
        Ok(success()
            .with("matches", matches.to_string())
            .with("terminated", matches.to_string()))
    }

    /// `rekey`: the answer comes at once, and the new keys in the background.
    pub(super) fn rekey(&mut self, message: &Message) -> Result<Message, String> {
        let keys = ["child", "ike", "child-id", "ike-id", "reauth"];
        if message.str("reauth").is_some_and(|text| text != "no") {
            return Err("reauth: authenticate anew by terminate and initiate".into());
        }
        let (target, matches) = self.target(message, &keys)?;
        self.tell_ike(Input::Rekey(target));
        Ok(success().with("matches", matches.to_string()))
    }

    /// What a command speaks of, and how many of these there are.
    fn target(&self, message: &Message, keys: &[&str]) -> Result<(Target, usize), String> {
        let a = Arguments::check(message, keys)?;
        let (ike, child) = (a.text("ike")?, a.text("child")?);
        let (ike_id, child_id) = (a.number("ike-id")?, a.number("child-id")?);
        let target = match (ike, child, ike_id, child_id) {
            (None, None, None, Some(id)) => Target::Child(ChildId(id)),
            (None, None, Some(id), None) => Target::Ike(IkeSaId(id)),
            (connection, Some(child), None, None) => Target::ChildNamed {
                connection: connection.map(Into::into),
                child: child.into(),
            },
            (Some(connection), None, None, None) => Target::Connection(connection.into()),
            _ => {
                let which = "name one of ike, child, ike-id, child-id; ike and child go together";
                return Err(which.into());
            }
        };
        let fits = |(sa, children): &(IkeInfo, Vec<ChildInfo>)| match &target {
            Target::Connection(name) => usize::from(sa.connection == *name),
            Target::Ike(id) => usize::from(sa.id == *id),
            Target::Child(id) => children.iter().filter(|c| c.id == *id).count(),
            Target::ChildNamed { connection, child } => {
                let of = connection
                    .as_ref()
                    .is_none_or(|name| sa.connection == *name);
                children.iter().filter(|c| of && c.name == *child).count()
            }
        };
        match self.ike.endpoint.established().map(|sa| fits(&sa)).sum() {
            0 => Err("nothing that is up fits".into()),
            matches => Ok((target, matches)),
        }
    }

    /// `adit-explain`: the last failures, of one connection or of all, as `adit-failure` events, the newest first.
    pub(super) fn explain(&self, message: &Message, reply: &mut Reply<'_>) -> Result<(), String> {
        let a = Arguments::check(message, &["connection"])?;
        let connection = a.text("connection")?;
        if let Some(name) = connection
            && !self.ike.loaded.contains_key(name)
            && self.ike.failures.of(Some(name)).next().is_none()
        {
            return Err(format!("there is no connection named {name:?}"));
        }
        let now = clock::wall_seconds();
        for told in self.ike.failures.of(connection) {
            let f = &told.failure;
            let mut m = Message::new();
            m.add("connection", f.connection.as_deref().unwrap_or(""))
                .add("child", f.child.as_deref().unwrap_or(""))
                .add("local", f.local.to_string())
                .add("remote", f.remote.to_string())
                .add("seconds-ago", now.saturating_sub(told.at).to_string())
                .add("times", told.times.to_string())
                .add("reason", f.reason.to_string());
            details(&mut m, &f.reason);
            reply.event("adit-failure", &m);
        }
        Ok(())
    }
}

/// What both sides offered, as lists that a program can lay side by side.
fn details(m: &mut Message, reason: &Reason) {
    match reason {
        Reason::NoProposal {
            key,
            ours,
            theirs,
            mismatches,
            ..
        } => {
            m.add("key", key)
                .add_list("ours", ours)
                .add_list("theirs", theirs)
                .add_list("mismatches", mismatches);
        }
        Reason::Selectors {
            local,
            remote,
            peer_local,
            peer_remote,
            ..
        } => {
            m.add_list("local-ts", local)
                .add_list("remote-ts", remote)
                .add_list("offered-local-ts", peer_local)
                .add_list("offered-remote-ts", peer_remote);
        }
        Reason::Authentication {
            problem, remedy, ..
        } => {
            m.add("problem", problem).add("remedy", remedy);
        }
        _ => {}
    }
}

/// strongSwan's `list-conn` event.
fn list_conn(c: &Connection) -> Message {
    let hosts = |hosts: &[adit_ike::config::Host]| -> Vec<String> {
        if hosts.is_empty() {
            vec!["%any".to_owned()]
        } else {
            hosts.iter().map(values::show_host).collect()
        }
    };
    let seconds = |d: Duration| d.as_secs().to_string();
    let mut m = Message::new();
    m.add_list("local_addrs", hosts(&c.local_addrs))
        .add_list("remote_addrs", hosts(&c.remote_addrs))
        .add(
            "version",
            match c.version {
                Version::Any => "IKEv1/2",
                Version::V1 => "IKEv1",
                Version::V2 => "IKEv2",
            },
        )
        .add("reauth_time", seconds(c.reauth_time))
        .add("rekey_time", seconds(c.rekey_time))
        .add("dpd_delay", seconds(c.dpd_delay));
    for (n, local) in c.local.iter().enumerate() {
        let mut round = Message::new();
        round.add("class", class(local.method));
        if let Some(id) = &local.id {
            round.add("id", id.to_string());
        }
        m.add_section(format!("local-{}", n + 1), round);
    }
    for (n, remote) in c.remote.iter().enumerate() {
        let mut round = Message::new();
        round
            .add("class", class(remote.method))
            .add("id", remote.id.to_string());
        m.add_section(format!("remote-{}", n + 1), round);
    }
    let mut children = Message::new();
    for child in &c.children {
        let sides = |specs: &[adit_ike::config::SelectorSpec]| -> Vec<String> {
            specs.iter().map(values::show_selector).collect()
        };
        let mut one = Message::new();
        one.add("mode", child.mode.name().to_uppercase())
            .add("rekey_time", seconds(child.rekey_time))
            .add("rekey_bytes", child.rekey.bytes.to_string())
            .add("rekey_packets", child.rekey.packets.to_string())
            .add("dpd_action", action(child.dpd_action))
            .add("close_action", action(child.close_action))
            .add_list("local-ts", sides(&child.local_ts))
            .add_list("remote-ts", sides(&child.remote_ts));
        children.add_section(&*child.name, one);
    }
    m.add_section("children", children);
    Message::new().with_section(&*c.name, m)
}

const fn class(method: AuthMethod) -> &'static str {
    match method {
        AuthMethod::Psk => "pre-shared key",
        AuthMethod::PublicKey => "public key",
        AuthMethod::Eap => "EAP",
        AuthMethod::Null => "null",
    }
}

const fn action(action: Action) -> &'static str {
    match action {
        Action::None => "none",
        Action::Trap => "trap",
        Action::Start => "start",
    }
}
