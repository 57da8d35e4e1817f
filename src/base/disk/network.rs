//! File systems that live on another machine.

use std::path::Path;

/// As the kernel calls them. What is on them is as safe as the other machine's word, and its locks are.
const KINDS: [&str; 21] = [
    "9p",
    "afs",
    "beegfs",
    "ceph",
    "cifs",
    "coda",
    "davfs",
    "fuse.ceph-fuse",
    "fuse.curlftpfs",
    "fuse.gcsfuse",
    "fuse.glusterfs",
    "fuse.rclone",
    "fuse.s3fs",
    "fuse.sshfs",
    "glusterfs",
    "lustre",
    "nfs",
    "nfs4",
    "smb3",
    "smbfs",
    "vboxsf",
];

/// The kind of network file system that a directory is on; none where it is on none, or the system does not tell.
#[cfg(target_os = "linux")]
pub fn network(path: &Path) -> Option<&'static str> {
    use std::os::unix::fs::MetadataExt;
    let device = path.metadata().ok()?.dev();
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    kind(&mounts, &format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device)))
}

/// The kind of network file system that a directory is on; not on this system.
#[cfg(not(target_os = "linux"))]
pub fn network(_path: &Path) -> Option<&'static str> {
    None
}

/// Looks a device up in Linux's list of mounts: its third word is the device, the first one behind ` - ` the kind.
#[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "only Linux has such a list"))]
fn kind(mounts: &str, device: &str) -> Option<&'static str> {
    let line = mounts.lines().find(|line| line.split(' ').nth(2) == Some(device))?;
    let found = line.split_once(" - ")?.1.split(' ').next()?;
    KINDS.into_iter().find(|kind| *kind == found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_file_system_is_known_by_the_device_of_its_mount() {
        let mounts = "28 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n\
                      40 28 0:52 / /mnt/a\\040b rw shared:7 - nfs4 server:/a rw,vers=4.2\n\
                      41 28 0:53 / /mnt/c rw - fuse.sshfs me@there: rw\n";
        let of = |device| kind(mounts, device);
        assert_eq!([of("0:52"), of("0:53"), of("254:0"), of("9:9")], [Some("nfs4"), Some("fuse.sshfs"), None, None]);
        assert_eq!(network(Path::new("/nowhere/at/all")), None);
    }
}
