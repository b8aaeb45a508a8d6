//! `load-cert`, `load-key`, `load-authority` and what belongs to them.

use adit_vici::Message;

use super::arguments::Arguments;
use crate::connection::section::Section;
use crate::gateway::Gateway;
use crate::ike::credentials::Flag;
use crate::vici::{Answer, Reply, success};

impl Gateway {
    /// `load-cert`: a certificate of ours, a peer's or an authority's, or a revocation list.
    pub(super) fn load_cert(&mut self, message: &Message) -> Result<(), String> {
        let a = Arguments::check(message, &["type", "flag", "data"])?;
        let data = a.bytes("data")?.ok_or("data is missing")?;
        let flags = [("NONE", Flag::None), ("CA", Flag::Authority)];
        let kind = a.needed("type")?;
        match kind.to_ascii_uppercase().as_str() {
            "X509" => {
                let flag = a.word("flag", &flags)?.unwrap_or(Flag::None);
                self.ike.credentials.load_certificate(data, flag)?;
            }
            "X509_CRL" => self.ike.credentials.load_crl(data)?,
            _ => return Err(format!("type is {kind:?}, expected X509 or X509_CRL")),
        }
        self.tell_authorities();
        Ok(())
    }

    /// `load-key`: a private key; the answer names it.
    pub(super) fn load_key(&mut self, message: &Message) -> Result<Message, String> {
        let a = Arguments::check(message, &["type", "data"])?;
        let data = a.bytes("data")?.ok_or("data is missing")?;
        let name = self.ike.credentials.load_key(data)?;
        Ok(success().with("id", hex(&name)))
    }

    /// `unload-key`.
    pub(super) fn unload_key(&mut self, message: &Message) -> Result<(), String> {
        let id = Arguments::check(message, &["id"])?.needed("id")?;
        let credentials = &mut self.ike.credentials;
        let found = credentials.keys().find(|name| hex(*name) == id).copied();
        match found {
            Some(name) if credentials.unload_key(&name) => Ok(()),
            _ => Err(format!("there is no private key with the id {id:?}")),
        }
    }

    /// `get-keys`: the ids of the private keys.
    pub(super) fn get_keys(&self) -> Message {
        let keys = self.ike.credentials.keys();
        Message::new().with_list("keys", keys.map(|name| hex(name)))
    }

    /// `load-authority`: one section, named as the authority.
    pub(super) fn load_authority(&mut self, message: &Message) -> Result<(), String> {
        let sections = Section::new("authorities", message).all_sections()?;
        let [(name, section)] = <[_; 1]>::try_from(sections)
            .map_err(|_| "load-authority takes one section, named as the authority".to_owned())?;
        let [cacert] = <[_; 1]>::try_from(section.blobs("cacert")?)
            .map_err(|_| section.wrong("cacert", "missing", "one certificate"))?;
        let uris = section.list("crl_uris")?;
        section.finish(&crate::connection::AUTHORITY_UNSUPPORTED)?;
        let uris = uris.into_iter().map(str::to_owned).collect();
        self.ike
            .credentials
            .load_authority(name, cacert, uris)
            .map_err(|e| format!("authorities.{name}.cacert: {e}"))?;
        self.tell_authorities();
        Ok(())
    }

    /// `unload-authority`.
    pub(super) fn unload_authority(&mut self, message: &Message) -> Result<(), String> {
        let name = Arguments::check(message, &["name"])?.needed("name")?;
        if !self.ike.credentials.unload_authority(name) {
            return Err(format!("there is no authority named {name:?}"));
        }
        self.tell_authorities();
        Ok(())
    }

    /// `get-authorities`: their names.
    pub(super) fn get_authorities(&self) -> Message {
        let names = self.ike.credentials.authorities().map(|(name, _)| name);
        Message::new().with_list("authorities", names)
    }

    /// `list-authorities`, streamed.
    pub(super) fn list_authorities(&self, request: &Message, reply: &mut Reply<'_>) -> Answer {
        for (name, authority) in self.ike.credentials.authorities() {
            if request.str("name").is_none_or(|asked| asked == name) {
                let one = Message::new()
                    .with("cacert", authority.certificate.subject().to_string())
                    .with_list("crl_uris", &authority.crl_uris);
                reply.event("list-authority", &Message::new().with_section(name, one));
            }
        }
        Answer::Done(Message::new())
    }

    /// `list-certs`, streamed; the cursor is how many were told.
    pub(super) fn list_certs(
        &self,
        request: &Message,
        cursor: u64,
        reply: &mut Reply<'_>,
    ) -> Answer {
        let first = usize::try_from(cursor).unwrap_or(usize::MAX);
        for (n, (certificate, flag, has_key)) in
            self.ike.credentials.certificates().enumerate().skip(first)
        {
            if !reply.has_room() {
                return Answer::More(n as u64);
            }
            let flag = match flag {
                Flag::None => "NONE",
                Flag::Authority => "CA",
            };
            let asked = |key, is: &str| {
                let text = request.str(key);
                text.is_none_or(|text| {
                    text.eq_ignore_ascii_case("any") || text.eq_ignore_ascii_case(is)
                })
            };
            let subject = certificate.subject().to_string();
            let by_subject = request.str("subject").is_none_or(|text| text == subject);
            if !(asked("type", "X509") && asked("flag", flag) && by_subject) {
                continue;
            }
            let mut one = Message::new();
            one.add("type", "X509").add("flag", flag);
            if has_key {
                one.add("has_privkey", "yes");
            }
            one.add("data", certificate.der());
            reply.event("list-cert", &one);
        }
        Answer::Done(Message::new())
    }

    /// `flush-certs`: nothing is cached of peers' certificates; revocation lists go.
    pub(super) fn flush_certs(&mut self, message: &Message) -> Result<(), String> {
        let kind = Arguments::check(message, &["type"])?.text("type")?;
        if kind.is_none_or(|kind| kind.eq_ignore_ascii_case("X509_CRL")) {
            self.ike.credentials.flush_crls();
        }
        Ok(())
    }

    /// Certificate requests name the authorities that are there.
    pub(super) fn tell_authorities(&mut self) {
        let hashes = self.ike.credentials.key_hashes();
        self.ike.endpoint.trust(hashes);
    }
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}
