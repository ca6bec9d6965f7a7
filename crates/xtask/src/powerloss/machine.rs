//! A small Linux machine in qemu that runs the server on one disk, and whose plug can be pulled.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::disk::SECTOR;
use crate::process::{capture, run, which};
use crate::stage::Failure;

/// Longer than a machine without hardware support takes to boot.
const BOOT: Duration = Duration::from_secs(300);

/// Modules that the kernel may have as files, in the order in which they need each other.
const MODULES: &[&str] = &[
    "virtio_ring",
    "virtio",
    "virtio_pci_modern_dev",
    "virtio_pci_legacy_dev",
    "virtio_pci",
    "virtio_blk",
    "failover",
    "net_failover",
    "virtio_net",
];

const INIT: &str = r#"#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev; mount -t tmpfs tmp /tmp
for module in $(cat /modules/order); do insmod /modules/$module; done
ip link set lo up; ip addr add 10.0.2.15/24 dev eth0; ip link set eth0 up; ip route add default via 10.0.2.2
mount -t ext4 /dev/vda /data || { echo "cannot mount the disk"; poweroff -f; }
export ROADSTEAD_AUTH__ENABLED=false ROADSTEAD_HTTP__TLS__DISABLED=true ROADSTEAD_LOG__LEVEL=warn RUST_BACKTRACE=0
/roadstead serve --data-dir /data/roadstead --listen 0.0.0.0:5000 2>&1
echo "the server ended with $?"
poweroff -f
"#;

/// What a machine is made of.
pub(crate) struct Parts {
    kernel: PathBuf,
    initrd: PathBuf,
}

/// A machine that runs.
pub(crate) struct Machine {
    qemu: Child,
    addr: SocketAddr,
    console: thread::JoinHandle<Vec<String>>,
}

/// What of the tools is not installed.
pub(crate) fn lacking() -> Option<String> {
    let tools = ["qemu-system-x86_64", "busybox", "cpio", "mkfs.ext4", "strip", "ldd"];
    let absent: Vec<&str> = tools.into_iter().filter(|tool| which(tool).is_none()).collect();
    if !absent.is_empty() {
        return Some(format!("{} not installed", absent.join(", ")));
    }
    kernel()
        .is_none()
        .then(|| "no kernel in /boot with its modules in /lib/modules (linux-image-cloud-amd64)".to_owned())
}

/// The newest kernel of the distribution, and its modules.
fn kernel() -> Option<(PathBuf, PathBuf)> {
    let mut kernels: Vec<String> = fs::read_dir("/boot")
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.file_name().to_str()?.strip_prefix("vmlinuz-")?.to_owned()))
        .filter(|version| Path::new("/lib/modules").join(version).is_dir())
        .collect();
    kernels.sort();
    let version = kernels.pop()?;
    Some((Path::new("/boot").join(format!("vmlinuz-{version}")), Path::new("/lib/modules").join(version)))
}

impl Parts {
    /// Puts the server and what it needs into an initial file system below `directory`.
    pub(crate) fn gather(binary: &Path, directory: &Path) -> Result<Self, Failure> {
        let (kernel, modules) = kernel().ok_or_else(|| Failure::new("no kernel in /boot"))?;
        let root = directory.join("root");
        for folder in ["bin", "proc", "sys", "dev", "tmp", "data", "modules", "lib64"] {
            fs::create_dir_all(root.join(folder))?;
        }
        fs::write(root.join("init"), INIT)?;
        fs::set_permissions(root.join("init"), fs::Permissions::from_mode(0o755))?;
        let busybox = which("busybox").ok_or_else(|| Failure::new("busybox"))?;
        fs::copy(busybox, root.join("bin/busybox"))?;
        run(Command::new("strip").arg("-o").arg(root.join("roadstead")).arg(binary))?;
        for library in libraries(binary)? {
            let place = root.join(library.strip_prefix("/").unwrap_or(&library));
            fs::create_dir_all(place.parent().unwrap_or(&root))?;
            fs::copy(&library, place)?;
        }
        let mut order = String::new();
        for module in MODULES {
            let name = format!("{module}.ko");
            let found = capture(Command::new("find").arg(&modules).args(["-name", &name]))?;
            // Built in otherwise.
            if let Some(file) = found.lines().next() {
                fs::copy(file, root.join("modules").join(&name))?;
                order += &format!("{name}\n");
            }
        }
        fs::write(root.join("modules/order"), order)?;
        let initrd = directory.join("initrd");
        let pack = format!("find . | cpio --quiet -o -H newc > '{}'", initrd.display());
        run(Command::new("sh").args(["-c", &pack]).current_dir(&root))?;
        Ok(Self { kernel, initrd })
    }

    /// Switches a machine on whose disk listens on `socket`, and waits until the server in it listens.
    pub(crate) fn boot(&self, socket: &Path) -> Result<Machine, Failure> {
        // Free now, and nobody else's in the next moment.
        let addr = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        // On a busy machine the emulated timer is late, and the kernel takes that for a broken board.
        let arguments = "console=ttyS0 no_timer_check quiet panic=-1 edd=off";
        let mut qemu = Command::new("qemu-system-x86_64")
            .args(["-M", "q35", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "1024"])
            .args(["-nographic", "-no-reboot", "-append", arguments])
            .arg("-kernel")
            .arg(&self.kernel)
            .arg("-initrd")
            .arg(&self.initrd)
            .args(["-drive", &format!("file=nbd:unix:{},format=raw,if=none,id=data,cache=writeback", socket.display())])
            .args([
                "-device",
                &format!("virtio-blk-pci,drive=data,logical_block_size={SECTOR},physical_block_size={SECTOR}"),
            ])
            .args(["-netdev", &format!("user,id=n,hostfwd=tcp:{addr}-:5000")])
            .args(["-device", "virtio-net-pci,netdev=n,romfile="])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()?;
        let Some(output) = qemu.stdout.take() else { return Err(Failure::new("qemu has no output")) };
        let (listening, listens) = mpsc::channel();
        let console = thread::spawn(move || follow(BufReader::new(output), &listening));
        if listens.recv_timeout(BOOT).is_ok() {
            return Ok(Machine { qemu, addr, console });
        }
        let console = Machine { qemu, addr, console }.cut();
        Err(Failure::new(format!("the server in the machine does not start:\n{}", console.join("\n"))))
    }
}

impl Machine {
    /// Where the server is reached from here.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Pulls the plug; answers what stood on the console.
    pub(crate) fn cut(mut self) -> Vec<String> {
        // It may have ended.
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
        self.console.join().unwrap_or_default()
    }
}

/// Reads the console to its end, and says when the server listens.
fn follow(console: impl BufRead, listening: &mpsc::Sender<()>) -> Vec<String> {
    let mut lines = Vec::new();
    for line in console.split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line).trim_end().to_owned();
        if line.contains("listening on http://") {
            // Nobody may wait any longer.
            let _ = listening.send(());
        }
        lines.push(line);
    }
    lines
}

/// The files that a dynamically linked program loads.
fn libraries(binary: &Path) -> Result<Vec<PathBuf>, Failure> {
    let said = capture(Command::new("ldd").arg(binary))?;
    let words = said.lines().filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')));
    Ok(words.map(PathBuf::from).collect())
}
