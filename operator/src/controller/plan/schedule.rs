//! Training by the clock: cron in a time zone.

use std::str::FromStr as _;

use croner::Cron;
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Ticks of a cron expression in a time zone.
#[derive(Debug, Clone)]
pub struct Schedule {
    cron: Cron,
    zone: TimeZone,
}

/// Why a schedule cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScheduleError {
    /// Not a cron expression.
    #[error("{cron:?} is not five cron fields, such as \"0 3 * * 0\"")]
    Cron {
        /// What was given.
        cron: String,
        /// What is wrong with it.
        #[source]
        source: croner::errors::CronError,
    },
    /// Seconds would train without end.
    #[error("{cron:?} has {fields} fields; give five: minute, hour, day, month, weekday")]
    Fields {
        /// What was given.
        cron: String,
        /// How many it has.
        fields: usize,
    },
    /// Not a time zone.
    #[error("time zone {zone:?} is not known; give an IANA name such as Europe/Berlin")]
    Zone {
        /// What was given.
        zone: String,
        /// What was looked for.
        #[source]
        source: jiff::Error,
    },
}

impl Schedule {
    /// Reads five cron fields and an IANA time zone; UTC where there is none.
    pub fn parse(cron: &str, zone: Option<&str>) -> Result<Self, ScheduleError> {
        let fields = cron.split_whitespace().count();
        // `@daily` and its kin are one word.
        if fields != 5 && !cron.trim_start().starts_with('@') {
            return Err(ScheduleError::Fields { cron: cron.to_owned(), fields });
        }
        let parsed =
            Cron::from_str(cron).map_err(|source| ScheduleError::Cron { cron: cron.to_owned(), source })?;
        let zone = match zone {
            Some(zone) => {
                TimeZone::get(zone).map_err(|source| ScheduleError::Zone { zone: zone.to_owned(), source })?
            }
            None => TimeZone::UTC,
        };
        Ok(Self { cron: parsed, zone })
    }

    /// First tick after a time; none for an expression that never comes true, such as 30 February.
    pub fn after(&self, time: Timestamp) -> Option<Timestamp> {
        let time = time.to_zoned(self.zone.clone());
        self.cron.find_next_occurrence(&time, false).ok().map(|tick| tick.timestamp())
    }

    /// Whether a time is a tick: one that was computed from another schedule is not.
    pub fn is_tick(&self, time: Timestamp) -> bool {
        self.cron.is_time_matching(&time.to_zoned(self.zone.clone())).unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn ticks_follow_the_wall_clock_of_the_zone() {
        let weekly = Schedule::parse("0 3 * * 0", Some("Europe/Berlin")).unwrap();
        // Sunday, 3 o'clock: summer time before the last Sunday of October, winter time after.
        assert_eq!(weekly.after(at("2026-10-20T00:00:00Z")), Some(at("2026-10-25T02:00:00Z")));
        assert_eq!(weekly.after(at("2026-10-12T00:00:00Z")), Some(at("2026-10-18T01:00:00Z")));
        let utc = Schedule::parse("0 3 * * 0", None).unwrap();
        assert_eq!(utc.after(at("2026-10-18T03:00:00Z")), Some(at("2026-10-25T03:00:00Z")));
    }

    #[test]
    fn an_hour_that_does_not_exist_does_not_stop_the_schedule() {
        let daily = Schedule::parse("30 2 * * *", Some("Europe/Berlin")).unwrap();
        let tick = daily.after(at("2026-03-28T12:00:00Z")).unwrap();
        assert!(tick < at("2026-03-30T01:00:00Z"), "{tick}");
    }

    #[test]
    fn a_tick_of_another_schedule_is_not_one() {
        let weekly = Schedule::parse("0 3 * * 0", None).unwrap();
        assert!(weekly.is_tick(at("2026-10-25T03:00:00Z")));
        assert!(!weekly.is_tick(at("2026-10-25T04:00:00Z")));
    }

    #[test]
    fn what_cannot_be_read_says_what_to_write() {
        let error = Schedule::parse("* * * * * *", None).unwrap_err().to_string();
        assert!(error.contains("6 fields"), "{error}");
        assert!(Schedule::parse("0 25 * * *", None).is_err());
        assert!(Schedule::parse("0 3 30 2 *", None).unwrap().after(at("2026-01-01T00:00:00Z")).is_none());
    }
}
