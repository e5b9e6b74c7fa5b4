//! The `process_*` metrics, read from `/proc/self` at each scrape; absent where there is no `/proc`.

use std::fmt;
use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

/// Ticks a second of the times in `/proc/self/stat`: fixed at 100 by Linux' interface to programs.
const TICKS_PER_SECOND: f64 = 100.0;

#[derive(Debug)]
struct Process;

/// Registers CPU time, memory, threads and open files of this process.
pub fn register(registry: &mut Registry) {
    registry.register_collector(Box::new(Process));
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        if let Some(seconds) = cpu_seconds() {
            let counter = ConstCounter::new(seconds);
            let help = "CPU time of all threads";
            let unit = Unit::Seconds;
            let metric =
                encoder.encode_descriptor("process_cpu", help, Some(&unit), counter.metric_type())?;
            counter.encode(metric)?;
        }
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let gauges = [
            (
                "process_resident_memory",
                "Memory held",
                Some(Unit::Bytes),
                number(&status, "VmRSS:").map(|kib| kib * 1024),
            ),
            ("process_threads", "Threads", None, number(&status, "Threads:")),
            ("process_open_fds", "Open files", None, open_files()),
        ];
        for (name, help, unit, value) in gauges {
            let Some(value) = value else { continue };
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, unit.as_ref(), gauge.metric_type())?)?;
        }
        Ok(())
    }
}

/// User and system time: fields 14 and 15, counted after the program's name in brackets.
fn cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    Some((ticks()? + ticks()?) / TICKS_PER_SECOND)
}

fn number(status: &str, key: &str) -> Option<i64> {
    status.lines().find_map(|line| line.strip_prefix(key))?.split_whitespace().next()?.parse().ok()
}

fn open_files() -> Option<i64> {
    i64::try_from(fs::read_dir("/proc/self/fd").ok()?.count()).ok()
}
