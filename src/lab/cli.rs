//! The words after `adit lab`.

use std::process::ExitCode;

use super::ikev2::{self, Ikev2Options};
use super::leftovers::{self, Owner};
use super::strongswan;
use super::tunnel::{self, TunnelOptions};
use super::{LabError, process};

/// What can be done with labs.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum LabCommand {
    /// Two gateways and two hosts in network namespaces; pings and TCP through the tunnel between them
    Tunnel(TunnelOptions),
    /// The same, with SAs that two gateways negotiate by IKEv2
    Ikev2(Ikev2Options),
    /// The same, with strongSwan in the place of one gateway
    Strongswan(Ikev2Options),
    /// Remove labs whose owner was killed, or the one named
    Clean {
        /// A lab left up by --keep
        id: Option<String>,
    },
    /// Show the labs on this machine
    List,
}

/// Does it. Exit status 0 only if all was well: for `tunnel`, if every ping came back.
pub fn run(command: &LabCommand) -> ExitCode {
    let outcome = match command {
        LabCommand::Tunnel(options) => tunnel::run(options),
        LabCommand::Ikev2(options) => ikev2::run(options),
        LabCommand::Strongswan(options) => strongswan::run(options),
        LabCommand::Clean { id } => clean(id.as_deref()).map(|()| true),
        LabCommand::List => list().map(|()| true),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // After Ctrl-C the programs of the lab fail one after another: that is no news. This blocks until the lab is down.
            drop(leftovers::building());
            eprintln!("adit lab: {error}");
            ExitCode::from(2)
        }
    }
}

fn clean(id: Option<&str>) -> Result<(), LabError> {
    process::require("ip", "iproute2")?;
    if let Some(id) = id {
        let labs = leftovers::all()?;
        match labs.iter().find(|(known, _)| known == id) {
            None => {
                return Err(LabError::Usage(format!(
                    "there is no lab {id}; `adit lab list` shows them"
                )));
            }
            Some((_, Owner::Running(pid))) => {
                return Err(LabError::Usage(format!(
                    "lab {id} is in use by process {pid}"
                )));
            }
            Some(_) => leftovers::remove(id)?,
        }
        println!("removed lab {id}");
        return Ok(());
    }
    for id in leftovers::clean()? {
        println!("removed lab {id}");
    }
    for (id, owner) in leftovers::all()? {
        if owner == Owner::Kept {
            println!("left up on purpose: lab {id}; `adit lab clean {id}` removes it");
        }
    }
    Ok(())
}

fn list() -> Result<(), LabError> {
    for (id, owner) in leftovers::all()? {
        let state = match owner {
            Owner::Running(pid) => format!("in use by process {pid}"),
            Owner::Gone => "its owner is gone; `adit lab clean` removes it".into(),
            Owner::Kept => "left up on purpose".into(),
        };
        println!("{id}  {state}");
    }
    Ok(())
}
