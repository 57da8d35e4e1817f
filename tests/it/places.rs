//! Where a recording lies and who reads it there: files that grow under their readers, places that can only be read, other disks;
//! what others may have put there.

use std::fs;
#[cfg(unix)]
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use overnight::store::archive::DayFile;

use crate::rolling::Recording;
use crate::support::{Place, Ran, Running, by_key, overnight, touch, until};

/// Long after all events of these tests.
const NOW: i64 = 1_800_000_000_000_000;

/// So many touch events of the second of October.
fn some(from: u32, to: u32) -> Vec<String> {
    (from..to).map(|at| touch(&format!("id{at:05}"), 2, at)).collect()
}

#[test]
fn a_day_file_that_grew_ends_at_every_older_length_in_the_footer_that_stood_there() {
    let place = Place::new();
    let mut recording = Recording::open(&place.dir());
    let day = overnight::base::time::Day::parse("2026-10-02").unwrap();
    let path = place.dir().join("data/touch/2026-10-02.parquet");
    let cut = place.path("cut.parquet");
    // Lengths of the file since it was rewritten, and the rows that it had then.
    let mut lengths: Vec<(usize, u64)> = Vec::new();
    let mut rewrites = 0;
    let mut before: Vec<u8> = Vec::new();
    for round in 0..55 {
        recording.keep(&some(round * 20, round * 20 + 20));
        recording.roll(day.start(), true);
        recording.check();
        let after = fs::read(&path).unwrap();
        if !after.starts_with(&before) {
            rewrites += 1;
            lengths.clear();
        }
        for (length, rows) in &lengths {
            fs::write(&cut, &after[..*length]).unwrap();
            let file = DayFile::open(&cut).unwrap().unwrap();
            assert_eq!(file.footer().rows, *rows, "round {round}, {length} bytes of {}", after.len());
        }
        let file = DayFile::open(&path).unwrap().unwrap();
        let live: u64 = (0..file.groups()).map(|group| file.group_bytes(group)).sum();
        assert!(file.bytes() < 2 * live + 300 * 1024, "dead bytes are bounded: {} of {}", file.bytes() - live, file.bytes());
        lengths.push((after.len(), u64::from(round + 1) * 20));
        before = after;
    }
    assert!((1..=3).contains(&rewrites), "{rewrites} rewrites of 55 rolls: only where many row groups become one");
    // The seal is a rewrite without dead bytes, and a late event goes behind what was sealed.
    recording.roll(NOW, true);
    recording.roller.seal(&overnight::model::event::Partition { event_type: "touch".into(), day }).unwrap();
    let sealed = fs::read(&path).unwrap();
    assert!(!sealed.starts_with(&before) && sealed.len() < before.len());
    recording.keep(&[touch("late", 2, 7)]);
    recording.roll(day.start(), true);
    assert!(fs::read(&path).unwrap().starts_with(&sealed), "a sealed file is the beginning of the one with a late event");
    recording.check();
    assert_eq!(by_key(&place.events()).len(), 55 * 20 + 1);
    drop(recording);
    assert_eq!(place.run(&["roll"]).code, 0);
    let verified = place.run(&["verify"]);
    assert_eq!(verified.code, 0, "{}{}", verified.stdout, verified.stderr);
}

/// Runs a verb on a recording as somebody who has the rights of its files only: nobody, where the tests have all rights.
#[cfg(unix)]
fn run_as_nobody(place: &Place, dir: &Path, arguments: &[&str]) -> Ran {
    use std::os::unix::process::CommandExt;
    let mut command = overnight();
    if place.folder.path().metadata().unwrap().uid() == NOBODY {
        let program = place.path("overnight");
        if !program.exists() {
            fs::copy(env!("CARGO_BIN_EXE_overnight"), &program).unwrap();
        }
        let own = command;
        command = std::process::Command::new(program);
        command.envs(own.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).uid(NOBODY);
    }
    Ran::new(&command.args(arguments).arg("--dir").arg(dir).current_dir(place.path("out")).output().unwrap())
}

#[cfg(unix)]
const NOBODY: u32 = 65_534;

#[cfg(unix)]
fn tool(name: &str, arguments: &[&str], paths: &[&Path]) {
    assert!(std::process::Command::new(name).args(arguments).args(paths).status().unwrap().success(), "{name} {arguments:?}");
}

/// A place with a recording that holds 30 events, 10 of them in its buffer only, and copies of it: one that was closed, as it
/// stood while a recorder ran, and the same without the index of the log.
#[cfg(unix)]
fn snapshots() -> (Place, [PathBuf; 3]) {
    let place = Place::new();
    fs::create_dir(place.path("out")).unwrap();
    let mut recording = Recording::open(&place.dir());
    recording.keep(&some(0, 20));
    recording.roll(NOW, true);
    recording.keep(&some(20, 30));
    let copies = ["closed", "running", "bare"].map(|name| place.path(name));
    tool("cp", &["-R"], &[&place.dir(), &copies[1]]);
    tool("cp", &["-R"], &[&place.dir(), &copies[2]]);
    drop(recording);
    drop(overnight::store::buffer::Buffer::open(&overnight::model::layout::Layout::new(&place.dir()), NOW).unwrap());
    tool("cp", &["-R"], &[&place.dir(), &copies[0]]);
    assert!(!copies[0].join("state/buffer.db-wal").exists() && copies[1].join("state/buffer.db-shm").exists());
    fs::remove_file(copies[2].join("state/buffer.db-shm")).unwrap();
    // Else root's rights would be tried.
    if place.folder.path().metadata().unwrap().uid() == 0 {
        tool("chown", &["-R", &NOBODY.to_string()], &[place.folder.path()]);
    }
    (place, copies)
}

#[cfg(unix)]
#[test]
fn a_recording_that_can_only_be_read_reads_with_every_verb() {
    let (place, copies) = snapshots();
    for copy in &copies {
        tool("cp", &["-Rp"], &[copy, &place.path("free")]);
        tool("chmod", &["-R", "a-w"], &[copy]);
        let verbs: [&[&str]; 7] = [
            &["status", "--json"],
            &["verify"],
            &["gaps"],
            &["export", "-o", "-", "--format", "ndjson"],
            &["plot", "-o", "x.svg", "--force"],
            &["report", "-o", "x.html", "--force"],
            &["sql"],
        ];
        for verb in verbs {
            let (free, bound) = (run_as_nobody(&place, &place.path("free"), verb), run_as_nobody(&place, copy, verb));
            assert_eq!(bound.code, free.code, "{} {verb:?}: {}, and not {}", copy.display(), bound.stderr, free.stderr);
            if verb[0] == "export" {
                assert_eq!((bound.stdout.lines().count(), &bound.stdout), (30, &free.stdout), "{}", copy.display());
            }
            if verb[0] == "status" {
                let status: serde_json::Value = serde_json::from_str(&bound.stdout).unwrap();
                assert_eq!((&status["events"], &status["buffered"]), (&30.into(), &10.into()), "{}", copy.display());
            }
        }
        tool("chmod", &["-R", "u+w"], &[copy]);
        fs::remove_dir_all(place.path("free")).unwrap();
    }
}

#[cfg(unix)]
#[test]
fn what_cannot_be_opened_is_never_called_damage_nor_left_out_unsaid() {
    let (place, [copy, ..]) = snapshots();
    let closed = |name: &str, mode: &str| tool("chmod", &[mode], &[&copy.join(name)]);
    for name in ["data/touch/2026-10-02.parquet", "state/buffer.db", "state"] {
        closed(name, "000");
        let (verified, exported) =
            (run_as_nobody(&place, &copy, &["verify"]), run_as_nobody(&place, &copy, &["export", "-o", "-"]));
        let said = format!("{}{}", verified.stdout, verified.stderr);
        assert!(verified.code == 1 && said.to_lowercase().contains("permission denied"), "{name}: {said}");
        assert!(!said.to_lowercase().contains("damage") && !said.contains("all is well"), "{name}: {said}");
        assert!(
            exported.code == 1 && exported.stderr.to_lowercase().contains("permission denied"),
            "{name}: {}",
            exported.stderr
        );
        closed(name, "700");
    }
}

/// A file system as the program finds some: `fsync` of a directory is no valid call; or `data/` is on another disk.
#[cfg(target_os = "linux")]
fn on_file_system(place: &Place, kind: &str) -> std::process::Command {
    const SHIM: &str = r#"
        #define _GNU_SOURCE
        #include <dlfcn.h>
        #include <errno.h>
        #include <stdlib.h>
        #include <string.h>
        #include <sys/stat.h>
        #include <sys/syscall.h>
        #include <unistd.h>
        static int is(const char *kind) { const char *is = getenv("FILE_SYSTEM"); return is && !strcmp(is, kind); }
        static int crosses(const char *a, const char *b) { return is("two") && !strstr(a, "/data/") != !strstr(b, "/data/"); }
        int fsync(int file) {
            struct stat about;
            if (is("share") && !fstat(file, &about) && S_ISDIR(about.st_mode)) { errno = EINVAL; return -1; }
            return syscall(SYS_fsync, file);
        }
        int rename(const char *a, const char *b) {
            if (crosses(a, b)) { errno = EXDEV; return -1; }
            return syscall(SYS_renameat2, -100, a, -100, b, 0);
        }
        int linkat(int x, const char *a, int y, const char *b, int flags) {
            if (crosses(a, b)) { errno = EXDEV; return -1; }
            return syscall(SYS_linkat, x, a, y, b, flags);
        }
        int link(const char *a, const char *b) { return linkat(-100, a, -100, b, 0); }
    "#;
    let (source, shim) = (place.path("shim.c"), place.path("shim.so"));
    fs::write(&source, SHIM).unwrap();
    tool("cc", &["-shared", "-fPIC", "-o"], &[&shim, &source]);
    let mut command = overnight();
    command.env("LD_PRELOAD", shim).env("FILE_SYSTEM", kind);
    command
}

#[cfg(target_os = "linux")]
#[test]
fn data_on_another_disk_is_rolled_sealed_and_set_aside_like_on_one() {
    let place = Place::new();
    let import = |from: u32, to: u32| {
        fs::write(place.path("events"), some(from, to).join("\n")).unwrap();
        let mut import = on_file_system(&place, "two");
        Ran::new(&import.arg("import").arg(place.path("events")).arg("--dir").arg(place.dir()).output().unwrap())
    };
    for round in 0..3 {
        let ran = import(round * 10, round * 10 + 10);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
    }
    assert_eq!((place.events().len(), place.day_files()), (30, vec!["touch/2026-10-02.parquet".to_owned()]));
    assert_eq!(place.run(&["verify"]).code, 0);
    // A crash in the middle of the way leaves a piece, which the next one sweeps.
    fs::write(place.dir().join("data/touch/.2026-10-02.parquet.moving"), "half").unwrap();
    let verified = place.run(&["verify"]);
    assert!(verified.code == 0 && verified.stdout.contains("an unfinished file"), "{}", verified.stdout);
    // A damaged file goes over to the other disk.
    let path = place.dir().join("data/touch/2026-10-02.parquet");
    fs::write(&path, "no day file").unwrap();
    let ran = import(30, 40);
    assert!(ran.code == 3 && ran.stderr.contains("is damaged"), "{}", ran.stderr);
    assert_eq!((place.events().len(), place.day_files().len()), (10, 1));
    let aside: Vec<_> = fs::read_dir(place.dir().join("state/damaged")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(aside.len() == 1 && fs::read(&aside[0]).unwrap() == b"no day file", "{aside:?}");
}

#[cfg(target_os = "linux")]
#[test]
fn where_names_do_not_last_nothing_is_recorded_and_an_export_is_written() {
    let place = Place::new();
    let import = |dir: &Path| {
        fs::write(place.path("events"), some(0, 3).join("\n")).unwrap();
        let mut import = on_file_system(&place, "share");
        Ran::new(&import.arg("import").arg(place.path("events")).arg("--dir").arg(dir).output().unwrap())
    };
    assert_eq!(place.import(some(0, 3).join("\n")).code, 0);
    for dir in [place.path("other"), place.dir()] {
        let ran = import(&dir);
        assert!(ran.code == 1 && ran.stderr.contains("power cut") && ran.stderr.contains("local disk"), "{}", ran.stderr);
    }
    let out = place.path("out.csv");
    let mut export = on_file_system(&place, "share");
    let ran = Ran::new(&export.args(["export", "-o"]).arg(&out).arg("--dir").arg(place.dir()).output().unwrap());
    assert!(ran.code == 0 && fs::read_to_string(&out).unwrap().lines().count() == 4, "{}", ran.stderr);
}

/// What a recording has in files, all of which somebody else may have made.
#[cfg(unix)]
const FILES: [&str; 8] = [
    "data/touch/2026-10-02.parquet",
    "overnight.toml",
    "MANIFEST",
    "state/lock",
    "state/buffer.db",
    "state/buffer.db-wal",
    "state/schemas/x.toml",
    "state/requests/x.json",
];

/// Runs all kinds of verbs, none of which may wait for ever; gives what was said.
#[cfg(unix)]
fn everything(place: &Place) -> String {
    fs::write(place.path("events"), touch("new", 3, 1)).unwrap();
    let events = place.path("events");
    let verbs: [&[&str]; 8] = [
        &["status"],
        &["verify"],
        &["export", "-o", "-"],
        &["report", "-o", "-"],
        &["record", "--project", "p", "--api-url", "http://127.0.0.1:9", "--max-retries", "0"],
        &["import", events.to_str().unwrap()],
        &["roll"],
        &["rebuild"],
    ];
    let mut said = Vec::new();
    for verb in verbs {
        let mut running = Running::start(overnight().args(verb).arg("--dir").arg(place.dir()).env("DT_PROJECT_ID", "p"));
        let mut out = running.child.stdout.take().unwrap();
        let reader = std::thread::spawn(move || std::io::read_to_string(&mut out).unwrap());
        until(&format!("the end of {verb:?}"), || running.child.try_wait().unwrap().is_some());
        let ran = running.wait();
        said.push(format!("{verb:?} {}: {}{}", ran.code, ran.stderr, reader.join().unwrap()));
    }
    said.join("\n")
}

#[cfg(unix)]
#[test]
fn pipes_and_links_where_files_should_be_are_never_opened() {
    for name in FILES {
        for is_pipe in [true, false] {
            let place = Place::new();
            assert_eq!(place.import(some(0, 3).join("\n")).code, 0);
            let (path, outside) = (place.dir().join(name), place.path("outside"));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::remove_file(&path).ok();
            let secret = "-----BEGIN PRIVATE KEY-----\nhunter2 = \"hunter3\"\n";
            fs::write(&outside, secret).unwrap();
            if is_pipe {
                tool("mkfifo", &[], &[&path]);
            } else {
                std::os::unix::fs::symlink(&outside, &path).unwrap();
            }
            let said = everything(&place);
            assert!(!said.contains("hunter") && !said.contains("PRIVATE"), "{name}: {said}");
            assert_eq!(fs::read_to_string(&outside).unwrap(), secret, "{name} was written through");
            let kind = if is_pipe { "a pipe" } else { "a link" };
            // A list is written anew, and a request that is none is left alone.
            assert!(said.contains(kind) || name == "MANIFEST" || name.contains("requests"), "{name}: {said}");
        }
    }
}

#[cfg(unix)]
#[test]
fn no_file_of_a_recording_is_written_through_a_second_name() {
    for name in ["state/lock", "state/buffer.db", "state/buffer.db-wal", "state/buffer.db-shm"] {
        let place = Place::new();
        assert_eq!(place.import(some(0, 3).join("\n")).code, 0);
        let (path, outside) = (place.dir().join(name), place.path("outside"));
        if path.exists() {
            fs::rename(&path, &outside).unwrap();
        } else {
            fs::write(&outside, "").unwrap();
        }
        fs::hard_link(&outside, &path).unwrap();
        let before = fs::read(&outside).unwrap();
        let ran = place.import(touch("new", 3, 1));
        assert!(ran.code == 1 && ran.stderr.contains("hard link") && ran.stderr.contains(name), "{name}: {}", ran.stderr);
        assert_eq!(place.events().len(), 3, "{name}");
        assert_eq!(fs::read(&outside).unwrap(), before, "{name} was written through");
    }
}

#[cfg(unix)]
#[test]
fn a_recording_that_others_own_or_can_write_to_is_refused_with_a_word() {
    for name in ["state", "data"] {
        let place = Place::new();
        assert_eq!(place.import(some(0, 3).join("\n")).code, 0);
        tool("chmod", &["777"], &[&place.dir().join(name)]);
        let ran = place.import(touch("new", 3, 1));
        assert!(ran.code == 1 && ran.stderr.contains("other users can write") && ran.stderr.contains(name), "{}", ran.stderr);
        tool("chmod", &["755"], &[&place.dir().join(name)]);
        assert_eq!(place.import(touch("new", 3, 1)).code, 0);
        // Only root can give a directory away.
        if place.folder.path().metadata().unwrap().uid() == 0 {
            tool("chown", &[&NOBODY.to_string()], &[&place.dir().join(name)]);
            let ran = place.import(touch("newer", 3, 1));
            assert!(ran.code == 1 && ran.stderr.contains("another user's (uid 65534"), "{}", ran.stderr);
        }
        assert_eq!(place.events().len(), 4);
    }
}

#[test]
fn an_error_of_a_settings_file_quotes_nothing_that_stands_in_it() {
    let place = Place::new();
    fs::create_dir(place.dir()).unwrap();
    let texts = [
        "-----BEGIN PRIVATE KEY-----\nhunter2hunter2\n-----END PRIVATE KEY-----\n",
        "roll_every = \"1m\"\nhunter2 = \"hunter3\"\n",
        "project = \"hunter2\\\" , expected hunter\"\n",
        "secret: hunter2\n",
        "api_url = \"http://hunter2\nproject = 5",
        "project = ['hunter2', 3]",
        "roll_every = \"1m\"\nroll_every = \"hunter2\"",
    ];
    for text in texts {
        fs::write(place.dir().join("overnight.toml"), text).unwrap();
        let ran = place.run(&["record", "--project", "p"]);
        assert!(ran.code != 0 && ran.stderr.contains("overnight.toml: line "), "{text}: {}", ran.stderr);
        assert!(!ran.stderr.contains("hunter") && !ran.stderr.contains("PRIVATE"), "{text}: {}", ran.stderr);
    }
}

#[test]
fn two_exports_to_one_name_give_one_whole_file_or_a_word() {
    let place = Place::new();
    assert_eq!(place.import(some(0, 3000).join("\n")).code, 0);
    let whole = place.run(&["export", "-o", "-"]).stdout;
    for force in [false, true] {
        for round in 0..8 {
            let out = place.path(&format!("{force}{round}.csv"));
            let start = || {
                let mut command = overnight();
                command.args(["export", "-o"]).arg(&out).arg("--dir").arg(place.dir());
                Running::start(if force { command.arg("--force") } else { &mut command })
            };
            let ran: Vec<Ran> = [start(), start(), start()].into_iter().map(|mut running| running.wait()).collect();
            let (good, bad): (Vec<_>, Vec<_>) = ran.iter().partition(|ran| ran.code == 0);
            assert_eq!(good.len(), if force { 3 } else { 1 }, "{ran:?}");
            assert!(bad.iter().all(|ran| ran.code == 1 && ran.stderr.contains("exists already")), "{ran:?}");
            assert!(fs::read_to_string(&out).unwrap() == whole, "a mixture");
        }
    }
    let left: Vec<_> = fs::read_dir(place.folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 17, "{left:?}");
}

#[cfg(unix)]
#[test]
fn an_export_writes_through_no_link_that_somebody_has_laid() {
    let place = Place::new();
    assert_eq!(place.import(some(0, 3).join("\n")).code, 0);
    let (out, outside) = (place.path("out.csv"), place.path("outside"));
    fs::write(&outside, "mine").unwrap();
    std::os::unix::fs::symlink(&outside, place.path("out.csv.part")).unwrap();
    std::os::unix::fs::symlink(place.path("nothing"), &out).unwrap();
    let export = |more: &[&str]| place.run(&[&["export", "-o", out.to_str().unwrap()], more].concat());
    let refused = export(&[]);
    assert!(refused.code == 1 && refused.stderr.contains("exists already"), "{}", refused.stderr);
    assert_eq!(export(&["--force"]).code, 0);
    assert!(fs::read_to_string(&out).unwrap().lines().count() == 4 && !out.is_symlink() && !place.path("nothing").exists());
    assert_eq!(fs::read_to_string(&outside).unwrap(), "mine");
}
