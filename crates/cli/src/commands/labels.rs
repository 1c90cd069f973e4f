//! Which versions are served, and by what names: `label`, `policy`, `retire`, `restore`.

use ic_nn_types::VersionPolicy;

use crate::args::{LabelArgs, NameArgs, PolicyArgs};
use crate::failure::Failure;
use crate::print::say;
use crate::progress::Progress;
use crate::target::Target;

/// `label`.
pub fn label(args: &LabelArgs, progress: Progress) -> Result<(), Failure> {
    let target = Target::open(&args.target, progress)?;
    let (model, label) = (&args.model, &args.label);
    if args.remove {
        target.client().remove_label(model, label)?;
        target.keep()?;
        progress.note(&format!("{model} has no label {label} any more"));
    } else {
        target.client().set_label(model, label)?;
        target.keep()?;
        let name = model.split([':', '@']).next().unwrap_or(model);
        progress.note(&format!("{name}@{label} is {model}"));
    }
    Ok(())
}

/// `policy`.
pub fn policy(args: &PolicyArgs, progress: Progress) -> Result<(), Failure> {
    let policy = match (args.all, args.latest, args.versions.as_slice()) {
        (true, ..) => Some(VersionPolicy::All),
        (_, Some(count), _) => Some(VersionPolicy::Latest(count)),
        (_, _, []) => None,
        (_, _, versions) => Some(VersionPolicy::Specific(versions.to_vec())),
    };
    let target = Target::open(&args.target, progress)?;
    let client = target.client();
    if let Some(policy) = policy {
        client.set_version_policy(&args.name, &policy)?;
        target.keep()?;
    }
    say!("{}: {}", args.name, text(&client.version_policy(&args.name)?));
    Ok(())
}

fn text(policy: &VersionPolicy) -> String {
    match policy {
        VersionPolicy::All => "every version is served".to_owned(),
        VersionPolicy::Latest(1) => "the newest version is served".to_owned(),
        VersionPolicy::Latest(count) => format!("the newest {count} versions are served"),
        VersionPolicy::Specific(versions) => {
            let versions: Vec<String> = versions.iter().map(u64::to_string).collect();
            format!("served are versions {}", versions.join(", "))
        }
    }
}

/// `retire`.
pub fn retire(args: &NameArgs, progress: Progress) -> Result<(), Failure> {
    let target = Target::open(&args.target, progress)?;
    target.client().retire(&args.model)?;
    target.keep()?;
    progress.note(&format!("{} is out of service; `ic-nn restore {}` puts it back", args.model, args.model));
    Ok(())
}

/// `restore`.
pub fn restore(args: &NameArgs, progress: Progress) -> Result<(), Failure> {
    let target = Target::open(&args.target, progress)?;
    target.client().restore(&args.model)?;
    target.keep()?;
    progress.note(&format!("{} is in service", args.model));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_told() {
        assert_eq!(text(&VersionPolicy::Latest(1)), "the newest version is served");
        assert_eq!(text(&VersionPolicy::Specific(vec![1, 4])), "served are versions 1, 4");
    }
}
