//! What the program was started with.

use std::ffi::OsString;
use std::path::PathBuf;

use lexopt::prelude::*;

const USAGE: &str = "\
usage: claude-loadbalancer [-c PATH | --config PATH] [--check [--probe] | --demo | --example]
                           [-h | --help] [-V | --version]

  -c, --config PATH  the configuration file (default: endpoints.json next to the
                     executable, else in the current directory, else in
                     /etc/claude-loadbalancer)
  --check            check the configuration and the environment, print what would
                     be in force, and end
  --probe            with --check: ask each endpoint for GET v1/models, and say what came back
  --demo             balance over two built-in fake endpoints; needs no file
  --example          print an example of a configuration file, and end
  -h, --help         print this, and end
  -V, --version      print the version, and end

environment: PORT, HOST (beat the file's `listen`), LOG_LEVEL (error, warn, info, debug),
LOG_FORMAT (text, json), SSL_CERT_FILE (certificate authorities instead of the built-in ones)";

const EXAMPLE: &str = include_str!("../../endpoints.json.example");

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Mode {
    /// `None`: the file is where it is looked for by default.
    Serve(Option<PathBuf>),
    Check {
        path: Option<PathBuf>,
        probe: bool,
    },
    Demo,
    /// Print this to stdout, and end.
    Print(String),
}

/// The arguments behind the program's name.
///
/// # Errors
/// Wrong usage, in one line.
pub fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Mode, lexopt::Error> {
    let mut parser = lexopt::Parser::from_args(arguments);
    let (mut check, mut probe, mut demo, mut example, mut path) = (0, 0, 0, 0, None);
    while let Some(argument) = parser.next()? {
        match argument {
            Short('c') | Long("config") => {
                let given = PathBuf::from(parser.value()?);
                if path.replace(given).is_some() {
                    return Err("--config is given twice".into());
                }
            }
            Long("check") => check += 1,
            Long("probe") => probe += 1,
            Long("demo") => demo += 1,
            Long("example") => example += 1,
            Short('h') | Long("help") => return Ok(Mode::Print(USAGE.into())),
            Short('V') | Long("version") => {
                let version = format!("claude-loadbalancer {}", env!("VERSION_AND_COMMIT"));
                return Ok(Mode::Print(version));
            }
            argument => return Err(argument.unexpected()),
        }
    }
    let flags = [
        ("check", check),
        ("probe", probe),
        ("demo", demo),
        ("example", example),
    ];
    if let Some((name, _)) = flags.iter().find(|(_, count)| *count > 1) {
        return Err(format!("--{name} is given twice").into());
    }
    match (check > 0, demo > 0, example > 0) {
        (true, true, _) => Err("--check and --demo do not go together".into()),
        (true, _, true) => Err("--check and --example do not go together".into()),
        (_, true, true) => Err("--demo and --example do not go together".into()),
        (false, _, _) if probe > 0 => Err("--probe goes with --check".into()),
        (true, ..) => Ok(Mode::Check {
            path,
            probe: probe > 0,
        }),
        (_, true, _) if path.is_some() => Err("--demo takes no configuration file".into()),
        (_, _, true) if path.is_some() => Err("--example takes no configuration file".into()),
        (_, true, _) => Ok(Mode::Demo),
        (_, _, true) => Ok(Mode::Print(EXAMPLE.trim_end().into())),
        (false, false, false) => Ok(Mode::Serve(path)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Mode, String> {
        let arguments = line.split_whitespace().map(OsString::from);
        super::read(arguments).map_err(|err| err.to_string())
    }

    #[test]
    fn modes() {
        let check = |line: &str, mode: Mode| assert_eq!(read(line), Ok(mode), "{line}");
        check("", Mode::Serve(None));
        check("-c a", Mode::Serve(Some("a".into())));
        check("-ca", Mode::Serve(Some("a".into())));
        check("--demo", Mode::Demo);
        let checks = |path: Option<&str>, probe| Mode::Check {
            path: path.map(Into::into),
            probe,
        };
        check("--check", checks(None, false));
        check("--config=a --probe --check", checks(Some("a"), true));
        for line in ["-h", "--help", "-V", "--version", "--example", "--check -h"] {
            assert!(matches!(read(line), Ok(Mode::Print(_))), "{line}");
        }
    }

    #[test]
    fn wrong_usage() {
        let check = |line: &str, expected: &str| assert_eq!(read(line), Err(expected.into()));
        check("--check --demo", "--check and --demo do not go together");
        check(
            "--example --check",
            "--check and --example do not go together",
        );
        check(
            "--demo --example",
            "--demo and --example do not go together",
        );
        check("--probe", "--probe goes with --check");
        check("--demo --probe", "--probe goes with --check");
        check("--demo -c a", "--demo takes no configuration file");
        check("--example -c a", "--example takes no configuration file");
        check("--check --check", "--check is given twice");
        check("-c a -c b", "--config is given twice");
        check("--wrong", "invalid option '--wrong'");
        check("a", "unexpected argument \"a\"");
    }
}
