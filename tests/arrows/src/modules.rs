//! The modules of a crate, and the references between siblings.
//!
//! A reference counts between the two siblings at which the paths of its ends differ. A parent and its children may refer to each
//! other, and code for tests counts nowhere.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use syn::visit::Visit;

/// The path of a module inside its crate; empty for the root.
pub type ModulePath = Vec<String>;

/// References between sibling modules.
pub type References = BTreeMap<ModulePath, BTreeSet<ModulePath>>;

/// The references between sibling modules of the crate whose root is `lib.rs` or `main.rs` of `src`.
///
/// # Errors
/// A file that cannot be read or parsed: its path, and why.
pub fn references(src: &Path) -> Result<References, String> {
    let root = ["lib.rs", "main.rs"].map(|name| src.join(name));
    let root = root.into_iter().find(|file| file.exists());
    let root = root.ok_or_else(|| format!("{} has no lib.rs or main.rs", src.display()))?;
    let mut files = Files::default();
    files.read(&root, src, Vec::new())?;
    let mut references = References::new();
    let modules = Modules::new(&files);
    for (module, items) in &files.modules {
        let mut paths = Paths::default();
        items.iter().for_each(|item| paths.visit_item(item));
        for path in paths.found {
            let Some(to) = modules.resolve(module, &path) else {
                continue;
            };
            let common = module.iter().zip(&to).take_while(|(a, b)| a == b).count();
            if common < module.len() && common < to.len() {
                let (from, to) = (&module[..=common], &to[..=common]);
                references
                    .entry(from.to_vec())
                    .or_default()
                    .insert(to.to_vec());
            }
        }
    }
    Ok(references)
}

/// One cycle for each module that is part of one: the modules in order, the first one again at the end.
#[must_use]
pub fn cycles(references: &References) -> BTreeSet<Vec<String>> {
    let mut found = BTreeSet::new();
    for start in references.keys() {
        let mut path = vec![start];
        let mut visited = BTreeSet::new();
        if leads_back(start, start, references, &mut path, &mut visited) {
            let first = path.iter().enumerate().min_by_key(|(_, module)| *module);
            let first = first.map_or(0, |(at, _)| at);
            path.rotate_left(first);
            let names = path.iter().chain(path.first());
            found.insert(names.map(|module| module.join("::")).collect());
        }
    }
    found
}

/// Whether references lead from `at` to `start`; if so, `path` has them.
fn leads_back<'a>(
    start: &ModulePath,
    at: &ModulePath,
    references: &'a References,
    path: &mut Vec<&'a ModulePath>,
    visited: &mut BTreeSet<&'a ModulePath>,
) -> bool {
    for to in references.get(at).into_iter().flatten() {
        if to == start {
            return true;
        }
        if visited.insert(to) {
            path.push(to);
            if leads_back(start, to, references, path, visited) {
                return true;
            }
            path.pop();
        }
    }
    false
}

#[derive(Default)]
struct Files {
    modules: BTreeMap<ModulePath, Vec<syn::Item>>,
}

impl Files {
    /// Reads a module and its children; `directory` is where the files of its children are.
    fn read(&mut self, file: &Path, directory: &Path, module: ModulePath) -> Result<(), String> {
        let text = std::fs::read_to_string(file);
        let text = text.map_err(|error| format!("{}: {error}", file.display()))?;
        let parsed = syn::parse_file(&text);
        let parsed = parsed.map_err(|error| format!("{}: {error}", file.display()))?;
        self.add(parsed.items, directory, module)
    }

    fn add(
        &mut self,
        items: Vec<syn::Item>,
        directory: &Path,
        module: ModulePath,
    ) -> Result<(), String> {
        let mut own = Vec::new();
        for item in items.into_iter().filter(|item| !is_test(attributes(item))) {
            let syn::Item::Mod(child) = item else {
                own.push(item);
                continue;
            };
            let name = child.ident.to_string();
            let path = [module.as_slice(), std::slice::from_ref(&name)].concat();
            let below = directory.join(&name);
            match child.content {
                Some((_, items)) => self.add(items, &below, path)?,
                None => {
                    let files: [PathBuf; 2] =
                        [directory.join(format!("{name}.rs")), below.join("mod.rs")];
                    let file = files.iter().find(|file| file.exists());
                    let file = file.ok_or_else(|| format!("{} has no file", path.join("::")))?;
                    self.read(file, &below, path)?;
                }
            }
        }
        self.modules.insert(module, own);
        Ok(())
    }
}

fn attributes(item: &syn::Item) -> &[syn::Attribute] {
    match item {
        syn::Item::Mod(item) => &item.attrs,
        syn::Item::Use(item) => &item.attrs,
        syn::Item::Fn(item) => &item.attrs,
        syn::Item::Impl(item) => &item.attrs,
        _ => &[],
    }
}

fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let condition = attribute.path().is_ident("cfg").then_some(attribute);
        let condition = condition.and_then(|it| it.parse_args::<syn::Path>().ok());
        condition.is_some_and(|condition| condition.is_ident("test"))
    })
}

/// The paths that code names.
#[derive(Default)]
struct Paths {
    found: BTreeSet<Vec<String>>,
}

impl Paths {
    fn tree(&mut self, tree: &syn::UseTree, mut before: Vec<String>) {
        match tree {
            syn::UseTree::Path(path) => {
                before.push(path.ident.to_string());
                self.tree(&path.tree, before);
            }
            syn::UseTree::Group(group) => {
                let trees = group.items.iter();
                trees.for_each(|tree| self.tree(tree, before.clone()));
            }
            syn::UseTree::Name(name) => {
                before.push(name.ident.to_string());
                self.found.insert(before);
            }
            syn::UseTree::Rename(name) => {
                before.push(name.ident.to_string());
                self.found.insert(before);
            }
            syn::UseTree::Glob(_) => _ = self.found.insert(before),
        }
    }
}

impl<'ast> Visit<'ast> for Paths {
    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.tree(&item.tree, Vec::new());
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names = path.segments.iter().map(|part| part.ident.to_string());
        self.found.insert(names.collect());
        syn::visit::visit_path(self, path);
    }

    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}
}

/// The modules of a crate, and the names that each exports from its children.
struct Modules<'a> {
    known: BTreeSet<&'a ModulePath>,
    exports: BTreeMap<(ModulePath, String), ModulePath>,
}

impl<'a> Modules<'a> {
    fn new(files: &'a Files) -> Self {
        let mut modules = Self {
            known: files.modules.keys().collect(),
            exports: BTreeMap::new(),
        };
        let mut exports = BTreeMap::new();
        for (module, items) in &files.modules {
            for item in items {
                let syn::Item::Use(item) = item else { continue };
                if matches!(item.vis, syn::Visibility::Inherited) {
                    continue;
                }
                let mut paths = Paths::default();
                paths.tree(&item.tree, Vec::new());
                for path in paths.found {
                    let name = path.last().cloned().unwrap_or_default();
                    if let Some(from) = modules.resolve(module, &path) {
                        exports.insert((module.clone(), name), from);
                    }
                }
            }
        }
        modules.exports = exports;
        modules
    }

    /// The deepest module that a path leads to, through what modules export; `None` for a path that leaves the crate.
    fn resolve(&self, module: &ModulePath, path: &[String]) -> Option<ModulePath> {
        let mut at = module.clone();
        let mut rest = path;
        match path.first().map(String::as_str) {
            Some("crate") => {
                at.clear();
                rest = &path[1..];
            }
            Some("self") => rest = &path[1..],
            Some("super") => {}
            // A name of the module itself: one of its children, or of another crate.
            _ => {
                let child = [module.as_slice(), path.get(..1)?].concat();
                if !self.known.contains(&child) {
                    return None;
                }
            }
        }
        while rest.first().is_some_and(|part| part == "super") {
            at.pop()?;
            rest = &rest[1..];
        }
        for part in rest {
            at.push(part.clone());
            if !self.known.contains(&at) {
                at.pop();
                let mut name = (at, part.clone());
                while let Some(from) = self.exports.get(&name) {
                    if *from == name.0 {
                        break;
                    }
                    name.0 = from.clone();
                }
                return Some(name.0);
            }
        }
        Some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(arrows: &[(&str, &str)]) -> References {
        let path = |text: &str| text.split("::").map(str::to_owned).collect::<ModulePath>();
        let mut references = References::new();
        for (from, to) in arrows {
            references.entry(path(from)).or_default().insert(path(to));
        }
        references
    }

    #[test]
    fn a_cycle_is_found_once_and_reported_from_its_first_module() {
        let references = graph(&[("c", "a"), ("a", "b"), ("b", "c"), ("d", "a")]);
        let found = cycles(&references);
        assert_eq!(found.len(), 1);
        assert!(found.contains(["a", "b", "c", "a"].map(str::to_owned).as_slice()));
        assert!(cycles(&graph(&[("a", "b"), ("a", "c"), ("b", "c")])).is_empty());
    }

    #[test]
    fn a_path_leads_to_the_deepest_module_of_its_crate() {
        let module = |parts: &[&str]| {
            parts
                .iter()
                .map(|p| (*p).to_owned())
                .collect::<ModulePath>()
        };
        let modules = [
            module(&[]),
            module(&["a"]),
            module(&["a", "b"]),
            module(&["c"]),
        ];
        let modules = Modules {
            known: modules.iter().collect(),
            exports: BTreeMap::from([((module(&[]), "Item".to_owned()), module(&["a", "b"]))]),
        };
        let from = module(&["c"]);
        let to = |path: &[&str]| modules.resolve(&from, &module(path));
        assert_eq!(to(&["crate", "Item"]), Some(module(&["a", "b"])));
        let from = module(&["a", "b"]);
        let to = |path: &[&str]| modules.resolve(&from, &module(path));
        assert_eq!(to(&["crate", "c", "Item"]), Some(module(&["c"])));
        assert_eq!(to(&["super", "super", "c", "f"]), Some(module(&["c"])));
        assert_eq!(to(&["super", "Item"]), Some(module(&["a"])));
        assert_eq!(to(&["std", "fmt"]), None);
    }
}
