use std::sync::Arc;
use overnight::*;
fn cpu() -> f64 { let s = std::fs::read_to_string("/proc/self/stat").unwrap(); let v: Vec<&str> = s.rsplit(')').next().unwrap().split_whitespace().collect(); (v[11].parse::<f64>().unwrap()+v[12].parse::<f64>().unwrap())/100.0 }
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let data = std::fs::read(&a[1]).unwrap();
    let layout = layout::Layout::new(std::path::Path::new(&a[2]));
    let registry = Arc::new(schema::Registry::built_in().unwrap());
    let mut buffer = buffer::Buffer::open(&layout).unwrap();
    let rec = roll::recover(&mut buffer, &layout).unwrap();
    let mut c = collect::Collector::new(registry.clone(), event::Source::Stream);
    let mut f = wire::Frames::lines();
    let t0 = cpu(); let mut batches = vec![]; let mut n = 0;
    for ch in data.chunks(5000*370) { f.feed(ch, &mut |fr| { c.add(&fr, 5); }); let b = c.take().unwrap(); n += b.events(); batches.push(b); }
    let t1 = cpu(); println!("parse {} events {:.3} us/event", n, (t1-t0)/n as f64*1e6);
    let mut k = keep::Keeper::new(buffer); let w = std::time::Instant::now();
    for b in batches { k.step(keep::Order::Keep(b), 7).unwrap(); }
    let t2 = cpu(); println!("keep {:.3} us/event, wall {:.3}, db {} wal {}", (t2-t1)/n as f64*1e6, w.elapsed().as_secs_f64(), std::fs::metadata(layout.buffer()).unwrap().len(), std::fs::metadata(format!("{}-wal", layout.buffer().display())).unwrap().len());
    let mut r = roll::Roller::new(&layout, registry, rec.unsealed).unwrap(); let p = roll::Policy::default();
    let now = time::now(); let mut ev = 0;
    for w in r.due(&p, now, true).unwrap() { if let roll::Work::Roll(part) = w { let d = r.roll(&part, &p, now).unwrap().unwrap(); ev += d.events; k.step(keep::Order::Forget(part, d.seq), 7).unwrap(); } }
    k.step(keep::Order::Tidy, 7).unwrap();
    let t3 = cpu(); println!("roll {} {:.3} us/event", ev, (t3-t2)/n as f64*1e6);
    println!("{}", std::fs::read_to_string("/proc/self/status").unwrap().lines().filter(|l| l.starts_with("VmHWM")).next().unwrap());
}
