//! One line a figure: ours, the others', the ratio, what was asked for and whether it is so.

use crate::params::Figures;

/// What a figure must be.
#[derive(Clone, Copy)]
pub enum Ask {
    /// At most so many times the other's: the goal and the aim.
    Times(f64, Option<f64>),
    TimesAtLeast(f64, Option<f64>),
    /// At most the other's and so much more.
    Plus(f64, Option<f64>),
    AtMost(f64, Option<f64>),
    /// At most a tenth above another figure of ours.
    Same(&'static str),
    /// For information.
    Info,
}

/// "The same" allows for this much more.
const TOLERANCE: f64 = 1.1;

/// The verdict where there is nothing to judge.
const NOT_MEASURED: &str = "not measured";

/// Medians of what one balancer did.
pub type Medians = Option<Figures>;

pub struct Line<'a> {
    pub goal: u8,
    pub what: &'a str,
    pub figure: &'a str,
    pub ask: Ask,
}

/// Head of the table: who is compared with what. Between two builds there is no goal, but the ratio's spread
/// over the rounds: it tells a difference from noise.
pub fn head(others: &[&str], judged: bool) -> String {
    let mut line = format!("| goal | {:38} | {:>9} |", "", "ours");
    for other in others {
        line += &format!(" {other:>9} |");
    }
    let (goal, aim, verdict) = if judged {
        ("goal", "aim", "verdict")
    } else {
        ("lowest", "highest", "")
    };
    line += &format!(
        " {:>6} | {goal:>7} | {aim:>7} | {verdict:7} |\n|-----:|-",
        "ratio"
    );
    line += &("-".repeat(38) + "-|-" + &"-".repeat(9) + ":|");
    for _ in others {
        line += &("-".repeat(10) + ":|");
    }
    line + "-------:|--------:|--------:|---------|"
}

/// One line; `others` in the order of the head. The first of them is the measure.
pub fn line(
    row: &Line,
    ours: &Figures,
    others: &[Medians],
    judged: bool,
    spread: Option<(f64, f64)>,
) -> (String, &'static str) {
    let of = |figures: &Figures, name: &str| {
        figures.get(name).copied().filter(|value| value.is_finite())
    };
    let goal = if row.goal > 0 {
        row.goal.to_string()
    } else {
        String::new()
    };
    let Some(value) = of(ours, row.figure) else {
        let verdict = if matches!(row.ask, Ask::Info) {
            ""
        } else {
            NOT_MEASURED
        };
        return (
            format!("| {goal:>4} | {:38} | not measured |", row.what),
            verdict,
        );
    };
    let other = others
        .first()
        .and_then(|other| of(other.as_ref()?, row.figure));
    let base = match row.ask {
        Ask::Same(figure) if judged => of(ours, figure),
        _ => other,
    };
    let ratio = base.filter(|base| *base > 0.0).map(|base| value / base);
    let mut text = format!(
        "| {goal:>4} | {:38} | {:>9} |",
        row.what,
        number(Some(value))
    );
    for other in others {
        text += &format!(
            " {:>9} |",
            number(other.as_ref().and_then(|other| of(other, row.figure)))
        );
    }
    let (asked, aim, verdict) = judge(
        row.ask,
        value,
        other,
        base,
        of(ours, "failed").unwrap_or(0.0),
    );
    let (asked, aim, verdict) = match spread {
        _ if judged => (asked, aim, verdict),
        Some((low, high)) => (format!("{low:.2}"), format!("{high:.2}"), ""),
        None => (String::new(), String::new(), ""),
    };
    let ratio = ratio.map_or(String::new(), |ratio| format!("{ratio:.2}"));
    (
        text + &format!(" {ratio:>6} | {asked:>7} | {aim:>7} | {verdict:7} |"),
        verdict,
    )
}

/// The goal and the aim in words, and whether they are reached.
fn judge(
    ask: Ask,
    value: f64,
    other: Option<f64>,
    base: Option<f64>,
    failed: f64,
) -> (String, String, &'static str) {
    let say = |sign: &str, goal: Option<f64>, unit: &str| {
        goal.map_or(String::new(), |goal| format!("{sign}{goal}{unit}"))
    };
    let other_or_none = other.unwrap_or(f64::NAN);
    let (asked, aimed, reached): (String, String, Box<dyn Fn(f64) -> bool>) = match ask {
        Ask::Times(goal, aim) => (
            say("<= ", Some(goal), "x"),
            say("", aim, "x"),
            Box::new(move |bound| value <= other_or_none * bound),
        ),
        Ask::TimesAtLeast(goal, aim) => (
            say(">= ", Some(goal), "x"),
            say("", aim, "x"),
            Box::new(move |bound| value >= other_or_none * bound),
        ),
        Ask::Plus(goal, aim) => (
            say("<= +", Some(goal), ""),
            say("+", aim, ""),
            Box::new(move |bound| value <= other_or_none + bound),
        ),
        Ask::AtMost(goal, aim) => (
            say("<= ", Some(goal), ""),
            say("", aim, ""),
            Box::new(move |bound| value <= bound),
        ),
        Ask::Same(_) => {
            let base = base.unwrap_or(f64::NAN);
            (
                say("<= ", Some(TOLERANCE), "x"),
                String::new(),
                Box::new(move |bound| value <= base * bound),
            )
        }
        Ask::Info => return (String::new(), String::new(), ""),
    };
    let (goal, aim) = match ask {
        Ask::Times(goal, aim)
        | Ask::TimesAtLeast(goal, aim)
        | Ask::Plus(goal, aim)
        | Ask::AtMost(goal, aim) => (goal, aim),
        Ask::Same(_) | Ask::Info => (TOLERANCE, None),
    };
    // Nor is there a multiple of what is nothing, or less: a difference on a busy machine can come out so.
    let unknown = match ask {
        Ask::Times(..) | Ask::TimesAtLeast(..) => !other.is_some_and(|other| other > 0.0),
        Ask::Plus(..) => other.is_none(),
        _ => false,
    };
    let verdict = match () {
        () if failed > 0.0 => "NOT met",
        () if unknown => "?",
        () if aim.is_some_and(&reached) => "aim",
        () if reached(goal) => "met",
        () => "NOT met",
    };
    (asked, aimed, verdict)
}

/// Three digits that matter.
fn number(value: Option<f64>) -> String {
    match value {
        None => String::new(),
        Some(value) if value.abs() >= 100.0 || value == 0.0 => format!("{value:.0}"),
        Some(value) if value.abs() >= 10.0 => format!("{value:.1}"),
        Some(value) => format!("{value:.2}"),
    }
}
