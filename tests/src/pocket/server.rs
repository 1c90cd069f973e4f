//! Where PocketIC instances come from.
//!
//! Owns the server's process and the instance on it. A server that `POCKET_IC_BIN` names is started and asked for an
//! instance here and not by the `pocket-ic` crate, because the crate turns away servers older than itself, which are the
//! ones that charge by the older schedules; the calls an instance takes are the same in all of them.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use pocket_ic::common::rest::{ExtendedSubnetConfigSet, SubnetSpec};
use pocket_ic::{PocketIc, PocketIcBuilder};
use serde_json::{Value, json};

/// Longest a server may take to come up, and to answer about instances.
const START: Duration = Duration::from_secs(60);
/// A server without calls for so many seconds ends itself: for test processes that were killed.
const IDLE_SECONDS: &str = "600";
/// Longest one operation of an instance may take: compiling a large module.
const OPERATION_MILLIS: u64 = 600_000;

/// A way to a PocketIC server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PocketServer {
    /// The server in this file.
    Binary(PathBuf),
    /// The server that belongs to the `pocket-ic` crate, which fetches it into the temporary folder once.
    Download,
}

impl PocketServer {
    /// What the environment asks for: `POCKET_IC_BIN` names a server, `IC_NN_POCKET_IC=download` lets one be fetched.
    pub(super) fn from_env() -> Option<Self> {
        match env::var_os("POCKET_IC_BIN").filter(|binary| !binary.is_empty()) {
            Some(binary) => Some(Self::Binary(binary.into())),
            None => env::var_os("IC_NN_POCKET_IC").filter(|word| word == "download").map(|_| Self::Download),
        }
    }

    /// An instance with one application subnet.
    pub(super) fn instance(&self) -> Instance {
        match self {
            Self::Binary(binary) => Instance::on(Process::start(binary)),
            Self::Download => {
                let builder = PocketIcBuilder::new().with_application_subnet();
                let pic = builder.with_max_request_time_ms(Some(OPERATION_MILLIS)).build();
                Instance { pic, _process: None }
            }
        }
    }
}

/// An instance and, where it is ours, the server it lives on.
pub(super) struct Instance {
    pub pic: PocketIc,
    _process: Option<Process>,
}

impl Instance {
    fn on(mut process: Process) -> Self {
        let subnets =
            ExtendedSubnetConfigSet { application: vec![SubnetSpec::default()], ..Default::default() };
        let reply: Value = http()
            .post(format!("{}instances", process.url))
            .json(&json!({ "subnet_config_set": subnets }))
            .send()
            .and_then(reqwest::blocking::Response::json)
            .expect("the PocketIC server answers");
        let Some(id) = reply["Created"]["instance_id"].as_u64() else {
            panic!("the PocketIC server made no instance: {reply}");
        };
        process.instance = Some(id);
        let url = process.url.parse().expect("the server's address is a URL");
        let id = usize::try_from(id).expect("an instance number fits in a word");
        let pic = PocketIc::new_from_existing_instance(url, id, Some(OPERATION_MILLIS));
        Self { pic, _process: Some(process) }
    }
}

/// A server; it ends with this value.
struct Process {
    child: Child,
    /// `http://127.0.0.1:PORT/`.
    url: String,
    instance: Option<u64>,
}

impl Process {
    fn start(binary: &Path) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let port_file = folder.path().join("port");
        let child = Command::new(binary)
            .arg("--port-file")
            .arg(&port_file)
            .args(["--ttl", IDLE_SECONDS])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("POCKET_IC_BIN={}: {error}", binary.display()));
        let mut process = Self { child, url: String::new(), instance: None };
        let started = Instant::now();
        loop {
            let port = fs::read_to_string(&port_file).unwrap_or_default();
            if let Some(port) = port.strip_suffix('\n') {
                process.url = format!("http://127.0.0.1:{port}/");
                return process;
            }
            if let Ok(Some(status)) = process.child.try_wait() {
                panic!("POCKET_IC_BIN={}: ended at once, {status}", binary.display());
            }
            assert!(started.elapsed() < START, "POCKET_IC_BIN={}: opens no port", binary.display());
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(id) = self.instance {
            // Lets the server clean up; where it cannot, it is ended all the same.
            let _ = http().delete(format!("{}instances/{id}/", self.url)).send();
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn http() -> reqwest::blocking::Client {
    let client = reqwest::blocking::Client::builder().no_proxy().timeout(START);
    client.build().expect("an HTTP client")
}
