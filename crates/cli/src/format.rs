//! How numbers are written, once for every table and line: instructions, cycles, XDR, bytes, shares, shapes.
//!
//! Instructions have four significant digits, cycles three; both in K, M, B, T of a thousand each.

/// Cycles of one XDR.
const CYCLES_PER_XDR: f64 = 1e12;
/// Fees on a subnet of n nodes are those of 13 nodes times n/13.
const BASE_NODES: u128 = 13;

/// Counted instructions: `1.234 B`, `62.90 M`, `812`.
pub fn instructions(count: u64) -> String {
    scaled(count as f64, 4)
}

/// An estimate: `1.7 B`.
pub fn about(count: u64) -> String {
    scaled(count as f64, 2)
}

/// Cycles: `12.3 M`, `1.04 B`, `free` for none.
pub fn cycles(amount: u128) -> String {
    if amount == 0 { "free".to_owned() } else { scaled(amount as f64, 3) }
}

/// What an amount of cycles costs in XDR, of which 1 buys 1 T cycles: `0.0000123`, never in exponents.
pub fn xdr(cycles: u128) -> String {
    let value = cycles as f64 / CYCLES_PER_XDR;
    if cycles == 0 {
        return "0".to_owned();
    }
    // Three significant digits, and the two decimals of money at least.
    let decimals = (2 - value.log10().floor() as i32).clamp(2, 15) as usize;
    format!("{value:.decimals$}")
}

/// The fee of a 13-node subnet on one of `nodes` nodes.
pub fn on_nodes(cycles: u128, nodes: u128) -> u128 {
    cycles * nodes / BASE_NODES
}

/// A byte count: `62,935 bytes`, `14.2 MB`, `2.68 GB`.
pub fn bytes(count: u64) -> String {
    match count {
        0..1_000_000 => format!("{} bytes", grouped(count)),
        _ => format!("{}B", scaled(count as f64, 3).replace('B', "G")),
    }
}

/// An integer with thousands set apart: `2,097,152`.
pub fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `count` of `limit` in per cent: `2.31 %`, `0.01 %`.
pub fn share(count: u64, limit: u64) -> String {
    let percent = 100.0 * count as f64 / limit.max(1) as f64;
    match percent {
        p if p >= 100.0 => format!("{p:.0} %"),
        p if p >= 10.0 => format!("{p:.1} %"),
        p if p >= 0.01 || p == 0.0 => format!("{p:.2} %"),
        _ => "<0.01 %".to_owned(),
    }
}

/// A shape with dynamic axes: `[1, 3, ?, ?]`.
pub fn shape(dimensions: &[Option<u32>]) -> String {
    axes(dimensions.iter().map(|d| d.map_or_else(|| "?".to_owned(), |d| d.to_string())))
}

/// Axes by length or name: `[batch, 3, 224, 224]`.
pub fn axes(axes: impl Iterator<Item = String>) -> String {
    format!("[{}]", axes.collect::<Vec<_>>().join(", "))
}

/// A tensor's value as people read it: five significant digits, exponents only where they save space.
pub fn value(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return value.to_string();
    }
    if value.fract() == 0.0 && value.abs() < 1e9 {
        return format!("{value:.0}");
    }
    let magnitude = value.abs().log10().floor() as i32;
    if (-5..9).contains(&magnitude) {
        let decimals = (4 - magnitude).max(0) as usize;
        return format!("{value:.decimals$}");
    }
    format!("{value:.4e}")
}

/// A moment, in nanoseconds since 1970, in UTC to the second: `2026-11-20 20:59:07`.
pub fn utc(nanoseconds: u64) -> String {
    let seconds = nanoseconds / 1_000_000_000;
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    // Years begin in March, so that the leap day is the last: eras of 400 years have 146,097 days (Hinnant,
    // "chrono-Compatible Low-Level Date Algorithms").
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}", of_day / 3_600, of_day / 60 % 60, of_day % 60)
}

/// The first characters of a sha256.
pub fn short_hash(sha256: &[u8]) -> String {
    let hex = hex::encode(sha256);
    hex.get(..12).unwrap_or(&hex).to_owned()
}

/// `digits` significant digits and the letter of the thousands.
fn scaled(value: f64, digits: usize) -> String {
    const UNITS: [&str; 6] = ["", " K", " M", " B", " T", " P"];
    if value < 1_000.0 {
        return format!("{value:.0}");
    }
    // Rounded before the unit is chosen: 999,960 is 1.000 M, not 1000 K.
    let mut value: f64 = format!("{value:.*e}", digits - 1).parse().unwrap_or(value);
    let mut unit = 0;
    while value >= 1_000.0 && unit + 1 < UNITS.len() {
        value /= 1_000.0;
        unit += 1;
    }
    let before_point = value.log10().floor().max(0.0) as usize + 1;
    format!("{value:.*}{}", digits.saturating_sub(before_point), UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_dates() {
        assert_eq!(utc(0), "1970-01-01 00:00:00");
        assert_eq!(utc(951_782_400_000_000_000), "2000-02-29 00:00:00");
        assert_eq!(utc(1_795_208_347_999_999_999), "2026-11-20 20:59:07");
        assert_eq!(utc(4_102_444_800_000_000_000), "2100-01-01 00:00:00");
    }

    #[test]
    fn counts_carry_their_unit() {
        let table =
            [(0, "0"), (812, "812"), (1_000, "1.000 K"), (62_903_412, "62.90 M"), (999_960, "1.000 M")];
        for (count, text) in table {
            assert_eq!(instructions(count), text);
        }
        assert_eq!(instructions(1_234_567_890), "1.235 B");
        assert_eq!(cycles(12_345_678), "12.3 M");
        assert_eq!(cycles(0), "free");
    }

    #[test]
    fn money_is_written_out() {
        assert_eq!(xdr(12_345_678), "0.0000123");
        assert_eq!(xdr(4_000_000_000_000), "4.00");
        assert_eq!(xdr(0), "0");
        assert_eq!(on_nodes(13_000, 34), 34_000);
    }

    #[test]
    fn shares_never_read_as_nothing() {
        assert_eq!(share(1, 5_000_000_000), "<0.01 %");
        assert_eq!(share(115_500_000, 5_000_000_000), "2.31 %");
        assert_eq!(share(6_000_000_000, 5_000_000_000), "120 %");
        assert_eq!(share(0, 0), "0.00 %");
    }

    #[test]
    fn sizes_and_shapes() {
        assert_eq!(bytes(62_935), "62,935 bytes");
        assert_eq!(bytes(14_165_920), "14.2 MB");
        assert_eq!(bytes(68_700_000_000), "68.7 GB");
        assert_eq!(grouped(2_097_152), "2,097,152");
        assert_eq!(shape(&[Some(1), None, Some(8)]), "[1, ?, 8]");
        assert_eq!(shape(&[]), "[]");
        assert_eq!(about(1_721_000), "1.7 M");
    }

    #[test]
    fn values_keep_five_digits() {
        let table =
            [(0.1234567, "0.12346"), (-12.5, "-12.500"), (3.0, "3"), (1.5e-7, "1.5000e-7"), (0.0, "0")];
        for (number, text) in table {
            assert_eq!(value(number), text);
        }
        assert_eq!(value(f64::NAN), "NaN");
    }
}
