//! One gateway of a lab: its directory, its configuration, its two processes, and its control socket.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use adit_vici::{Client, ClientError, Message};
use rustix::mount::{MountFlags, mount};
use rustix::process::Signal;

use super::daemons::Daemons;
use super::namespace::Namespace;
use super::process::Daemon;
use super::report::PortModes;
use super::sas::{LabSa, TunnelPlan};
use super::wait::{self, Look};
use super::{Family, LabError, Side, Topology};

/// How long a gateway has to be ready after its processes were started.
const READY_LIMIT: Duration = Duration::from_secs(20);
/// How long a gateway has to answer a command.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// One gateway. Dropping the value kills its processes.
#[derive(Debug)]
pub struct Gateway {
    side: Side,
    namespace: Namespace,
    dir: PathBuf,
    daemons: Daemons,
    control: Option<Daemon>,
    dataplane: Option<Daemon>,
}

impl Gateway {
    /// Makes the gateway's directory in the lab's, with a bpffs of its own and an `adit.toml` that names its ports. Nothing is started.
    ///
    /// # Errors
    /// [`LabError`] if the daemons are not found or the directory cannot be made.
    pub fn new(topology: &Topology, side: Side) -> Result<Self, LabError> {
        let gateway = Gateway {
            side,
            namespace: topology.gateway(side).clone(),
            dir: topology.dir().join(side.gateway()),
            daemons: Daemons::find()?,
            control: None,
            dataplane: None,
        };
        let bpffs = gateway.dir.join("bpf");
        std::fs::create_dir_all(&bpffs)
            .map_err(|e| LabError::io(format!("make {}", bpffs.display()), e))?;
        mount("bpf", &bpffs, "bpf", MountFlags::empty(), None)
            .map_err(|e| LabError::io(format!("mount a bpffs at {}", bpffs.display()), e))?;
        let config = gateway.config_path();
        std::fs::write(&config, gateway.config(topology.shape().queues))
            .map_err(|e| LabError::io(format!("write {}", config.display()), e))?;
        Ok(gateway)
    }

    /// Which gateway.
    pub fn side(&self) -> Side {
        self.side
    }

    /// Its directory: configuration, logs, sockets and bpffs.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Its VICI socket.
    pub fn control_socket(&self) -> PathBuf {
        self.dir.join("adit.vici")
    }

    /// Its `adit.toml`.
    pub fn config_path(&self) -> PathBuf {
        self.dir.join("adit.toml")
    }

    /// Starts both processes, control first, and waits until packets can flow.
    ///
    /// # Errors
    /// As [`Gateway::wait_until_ready`].
    pub fn start(&mut self) -> Result<(), LabError> {
        self.start_control()?;
        self.start_dataplane()?;
        self.wait_until_ready()
    }

    /// Starts `adit-control`.
    ///
    /// # Errors
    /// [`LabError::Io`] if it cannot be started.
    pub fn start_control(&mut self) -> Result<(), LabError> {
        let mut command = self.namespace.command(&self.daemons.control);
        command.arg("--config").arg(self.config_path());
        self.control = Some(Daemon::start(
            format!("control of {}", self.side.gateway()),
            &self.dir.join("control.log"),
            &mut command,
        )?);
        Ok(())
    }

    /// Starts `adit-dataplane`.
    ///
    /// # Errors
    /// [`LabError::Io`] if it cannot be started.
    pub fn start_dataplane(&mut self) -> Result<(), LabError> {
        let mut command = self.namespace.command(&self.daemons.dataplane);
        command.arg("--socket").arg(self.dataplane_socket());
        self.dataplane = Some(Daemon::start(
            format!("data plane of {}", self.side.gateway()),
            &self.dir.join("dataplane.log"),
            &mut command,
        )?);
        Ok(())
    }

    /// Waits until control answers on its socket.
    ///
    /// # Errors
    /// [`LabError::Died`] or [`LabError::Timeout`].
    pub fn wait_for_control(&mut self) -> Result<(), LabError> {
        self.wait_for("control to answer", |_| Look::Ready(()))
    }

    /// Waits until control answers and says that the data plane has bound every port.
    ///
    /// # Errors
    /// [`LabError::Died`] with the end of a process's log, or [`LabError::Timeout`].
    pub fn wait_until_ready(&mut self) -> Result<(), LabError> {
        self.wait_for("every port to be bound", |status| {
            let dataplane = status.section("dataplane");
            match dataplane.and_then(|dataplane| dataplane.str("stage")) {
                Some("ready") => Look::Ready(()),
                stage => Look::NotYet(format!("its data plane is {}", stage.unwrap_or("unknown"))),
            }
        })
    }

    /// `kill -9` of control.
    pub fn kill_control(&mut self) {
        if let Some(daemon) = self.control.take() {
            daemon.kill();
        }
    }

    /// `kill -9` of the data plane.
    pub fn kill_dataplane(&mut self) {
        if let Some(daemon) = self.dataplane.take() {
            daemon.kill();
        }
    }

    /// `kill -9` of both at one moment: neither outlives the other long enough to notice.
    pub fn kill_both(&mut self) {
        for daemon in [&mut self.control, &mut self.dataplane]
            .into_iter()
            .flatten()
        {
            daemon.signal(Signal::KILL);
        }
        self.kill_control();
        self.kill_dataplane();
    }

    /// An orderly end of control.
    ///
    /// # Errors
    /// [`LabError::Command`] if SIGTERM does not end it, or it ends with an error.
    pub fn stop_control(&mut self) -> Result<(), LabError> {
        self.control.take().map_or(Ok(()), stop)
    }

    /// An orderly end of the data plane.
    ///
    /// # Errors
    /// As [`Gateway::stop_control`].
    pub fn stop_dataplane(&mut self) -> Result<(), LabError> {
        self.dataplane.take().map_or(Ok(()), stop)
    }

    /// Leaves both processes running when this value goes.
    pub fn keep(mut self) {
        if let Some(daemon) = self.control.take() {
            daemon.release();
        }
        if let Some(daemon) = self.dataplane.take() {
            daemon.release();
        }
    }

    /// Fails if a process that should run has ended.
    ///
    /// # Errors
    /// [`LabError::Died`] with the end of its log.
    pub fn check_alive(&mut self) -> Result<(), LabError> {
        for daemon in [&mut self.control, &mut self.dataplane]
            .into_iter()
            .flatten()
        {
            daemon.check_alive()?;
        }
        Ok(())
    }

    /// Asks a command on the control socket.
    ///
    /// # Errors
    /// [`LabError::Control`] if nobody answers or the gateway refuses.
    pub fn request(&self, command: &str, arguments: &Message) -> Result<Message, LabError> {
        self.ask(|client| client.request(command, arguments))
    }

    /// Installs this gateway's end of `plan`: policies, then the SAs that it opens, then those that it seals.
    ///
    /// # Errors
    /// As [`Gateway::request`].
    pub fn install(&self, plan: &TunnelPlan) -> Result<(), LabError> {
        self.install_inbound(plan)?;
        self.install_outbound(plan)
    }

    /// The policies and the SAs that this gateway opens.
    ///
    /// # Errors
    /// As [`Gateway::request`].
    pub fn install_inbound(&self, plan: &TunnelPlan) -> Result<(), LabError> {
        for (priority, family) in Family::BOTH.into_iter().enumerate() {
            let policy = Message::new()
                .with("name", policy_name(family))
                .with("action", "protect")
                .with("priority", (100 + priority).to_string());
            self.request("policy-add", &self.with_selectors(policy, family))?;
        }
        self.add_sas(plan, self.side.other())
    }

    /// The SAs that this gateway seals into.
    ///
    /// # Errors
    /// As [`Gateway::request`].
    pub fn install_outbound(&self, plan: &TunnelPlan) -> Result<(), LabError> {
        self.add_sas(plan, self.side)
    }

    /// Lists the SPIs of all SAs, as `in …` and `out …`, in order.
    ///
    /// # Errors
    /// As [`Gateway::request`].
    pub fn sas(&self) -> Result<Vec<String>, LabError> {
        let events = self.ask(|client| client.collect("list-sas", "list-sa", &Message::new()))?;
        let mut spis: Vec<String> = events
            .iter()
            .flat_map(Message::sections)
            .filter_map(|(_, ike)| ike.section("child-sas"))
            .flat_map(Message::sections)
            .flat_map(|(_, child)| {
                ["in", "out"].into_iter().filter_map(|direction| {
                    let spi = child.str(&format!("spi-{direction}"))?;
                    Some(format!("{direction} {spi}"))
                })
            })
            .filter(|spi| !spi.ends_with(" 00000000"))
            .collect();
        spis.sort();
        Ok(spis)
    }

    /// Packets dropped, by reason; reasons without drops are left out. What the steering program drops, and what no socket had room for,
    /// bears the port's name.
    ///
    /// # Errors
    /// As [`Gateway::request`].
    pub fn drops(&self) -> Result<BTreeMap<String, u64>, LabError> {
        let stats = self.request("adit-stats", &Message::new())?;
        let mut drops: BTreeMap<String, u64> = stats
            .section("drops")
            .into_iter()
            .flat_map(numbers)
            .collect();
        for (port, counters) in stats
            .section("steering")
            .into_iter()
            .flat_map(Message::sections)
        {
            let dropped = numbers(counters).filter(|(name, _)| name.starts_with("drop-"));
            drops.extend(dropped.map(|(name, count)| (format!("{port}: {name}"), count)));
        }
        for (port, counters) in stats
            .section("ports")
            .into_iter()
            .flat_map(Message::sections)
        {
            let lost = numbers(counters).filter(|(name, _)| name.starts_with("receive_"));
            drops.extend(
                lost.map(|(name, count)| (format!("{port}: {}", name.replace('_', "-")), count)),
            );
        }
        drops.retain(|_, count| *count > 0);
        Ok(drops)
    }

    /// How each port is attached and bound, and why.
    ///
    /// # Errors
    /// As [`Gateway::request`].
    pub fn modes(&self) -> Result<Vec<PortModes>, LabError> {
        Ok(port_modes(&self.request("adit-status", &Message::new())?))
    }

    fn dataplane_socket(&self) -> PathBuf {
        self.dir.join("dataplane.sock")
    }

    /// Ports only: policies and SAs come over the control socket.
    fn config(&self, queues: u16) -> String {
        let dir = self.dir.display();
        let mut text = format!(
            "[gateway]\n\
             control_socket = \"{dir}/adit.vici\"\n\
             dataplane_socket = \"{dir}/dataplane.sock\"\n\
             bpf_dir = \"{dir}/bpf/adit\"\n"
        );
        for side in ["inside", "outside"] {
            text += &format!(
                "\n[[gateway.ports]]\ninterface = \"{side}\"\nside = \"{side}\"\nqueues = {queues}\n"
            );
        }
        text
    }

    /// Adds the SAs that `from` seals, which is this gateway or the other.
    fn add_sas(&self, plan: &TunnelPlan, from: Side) -> Result<(), LabError> {
        let sas = plan.sas.iter().filter(|sa| sa.from == from);
        for sa in sas {
            self.request("sa-add", &self.sa_message(plan, sa))?;
        }
        Ok(())
    }

    fn sa_message(&self, plan: &TunnelPlan, sa: &LabSa) -> Message {
        let shape = plan.shape;
        let outbound = sa.from == self.side;
        let mut message = Message::new()
            .with("policy", policy_name(sa.inner))
            .with("direction", if outbound { "out" } else { "in" })
            .with("spi", format!("{:#010x}", sa.spi))
            .with("src", sa.source(shape.outer).to_string())
            .with("dst", sa.destination(shape.outer).to_string())
            .with("suite", shape.suite.to_string())
            .with("enc_key", sa.enc_key.as_slice())
            .with("esn", yes_no(shape.esn))
            .with("encap", yes_no(shape.encap))
            .with("keepalive", yes_no(shape.encap && outbound));
        if !sa.auth_key.is_empty() {
            message.add("auth_key", sa.auth_key.as_slice());
        }
        self.with_selectors(message, sa.inner)
    }

    fn with_selectors(&self, message: Message, family: Family) -> Message {
        message
            .with_list("local_ts", [self.side.prefix(family)])
            .with_list("remote_ts", [self.side.other().prefix(family)])
    }

    fn ask<T>(
        &self,
        question: impl FnOnce(&mut Client) -> Result<T, ClientError>,
    ) -> Result<T, LabError> {
        let answer = Client::connect(self.control_socket()).and_then(|mut client| {
            client.set_timeout(Some(ANSWER_LIMIT))?;
            question(&mut client)
        });
        answer.map_err(|source| LabError::Control {
            gateway: self.side.gateway(),
            source,
        })
    }

    /// Asks for the status until `enough` says so.
    fn wait_for(
        &mut self,
        what: &str,
        enough: impl Fn(&Message) -> Look<()>,
    ) -> Result<(), LabError> {
        let what = format!("{} of {}", what, self.side.gateway());
        wait::until(&what, READY_LIMIT, || {
            self.check_alive()?;
            Ok(match self.request("adit-status", &Message::new()) {
                Ok(status) => enough(&status),
                Err(error) => Look::NotYet(error.to_string()),
            })
        })
    }
}

/// Installs both ends of `plan`: no gateway seals before the other can open.
///
/// # Errors
/// As [`Gateway::request`].
pub fn install(gateways: &[Gateway], plan: &TunnelPlan) -> Result<(), LabError> {
    gateways
        .iter()
        .try_for_each(|gateway| gateway.install_inbound(plan))?;
    gateways
        .iter()
        .try_for_each(|gateway| gateway.install_outbound(plan))
}

/// Replaces the SAs of `old` by those of `new`, as a rekey does: the new ones are opened everywhere before any is sealed into, and the old
/// ones go last.
///
/// # Errors
/// As [`Gateway::request`].
pub fn rekey(gateways: &[Gateway], old: &TunnelPlan, new: &TunnelPlan) -> Result<(), LabError> {
    for gateway in gateways {
        gateway.add_sas(new, gateway.side.other())?;
    }
    for gateway in gateways {
        gateway.install_outbound(new)?;
    }
    for gateway in gateways {
        for sa in &old.sas {
            let key = Message::new()
                .with("spi", format!("{:#010x}", sa.spi))
                .with("dst", sa.destination(old.shape.outer).to_string());
            gateway.request("sa-delete", &key)?;
        }
    }
    Ok(())
}

/// The policies' names in a lab.
fn policy_name(family: Family) -> &'static str {
    match family {
        Family::V4 => "lab-v4",
        Family::V6 => "lab-v6",
    }
}

/// The values of a section that are numbers.
fn numbers(section: &Message) -> impl Iterator<Item = (String, u64)> {
    section
        .elements()
        .filter_map(|(name, _)| Some((name.to_owned(), section.str(name)?.parse().ok()?)))
}

fn port_modes(status: &Message) -> Vec<PortModes> {
    let ports = status
        .section("ports")
        .into_iter()
        .flat_map(Message::sections);
    ports
        .map(|(name, port)| {
            let text = |key| port.str(key).unwrap_or_default().to_owned();
            PortModes {
                port: name.to_owned(),
                xdp: text("xdp"),
                af_xdp: text("bind"),
                why: text("reason"),
            }
        })
        .collect()
}

fn stop(daemon: Daemon) -> Result<(), LabError> {
    let name = daemon.name().to_owned();
    let (status, killed) = daemon.stop()?;
    // A process without a handler of its own ends by the signal itself, which is as orderly.
    let obeyed = status.success() || status.signal() == Some(Signal::TERM.as_raw());
    if obeyed && !killed {
        return Ok(());
    }
    Err(LabError::Command {
        command: format!("the orderly end of {name}"),
        outcome: super::process::outcome(status),
        output: String::new(),
    })
}

fn yes_no(value: bool) -> &'static str {
    if value { "yes" } else { "no" }
}
