//! Every shader, as naga reads it, against its row in the table and against the host's parameter struct and constants.

use deltamax::kernel::Kernel;
use deltamax::ops::{self, linear::RELAX};
use wgpu::naga;

#[allow(dead_code, reason = "the checks of the sources use the rest")]
#[path = "../tidy/source.rs"]
mod source;

use source::{Token, closing};

/// Compares the shader with the kernel's row.
pub fn agrees(kernel: &Kernel) -> Result<(), String> {
    let module = naga::front::wgsl::parse_str(kernel.source).map_err(|e| e.emit_to_string(kernel.source))?;
    let info = naga::valid::Validator::new(naga::valid::ValidationFlags::all(), naga::valid::Capabilities::default())
        .validate(&module)
        .map_err(|e| e.emit_to_string(kernel.source))?;
    let (index, entry) = (module.entry_points.iter().enumerate())
        .find(|(_, e)| e.name == kernel.entry)
        .ok_or_else(|| format!("no entry point {}", kernel.entry))?;
    if entry.workgroup_size != kernel.workgroup {
        return Err(format!("workgroup size {:?}, the table says {:?}", entry.workgroup_size, kernel.workgroup));
    }
    let used = info.get_entry_point(index);
    let mut bindings = Vec::new();
    for (handle, variable) in module.global_variables.iter() {
        if let (Some(b), false) = (variable.binding, used[handle].is_empty()) {
            bindings.push((b.group, b.binding, variable));
        }
    }
    bindings.sort_by_key(|&(group, binding, _)| (group, binding));
    let expected = 1 + kernel.reads + kernel.writes;
    if bindings.len() != expected {
        return Err(format!("uses {} bindings, the table says {expected}", bindings.len()));
    }
    for (i, &(group, binding, variable)) in bindings.iter().enumerate() {
        let name = variable.name.as_deref().unwrap_or("?");
        if (group, binding as usize) != (0, i) {
            return Err(format!("{name} is at group {group}, binding {binding}; expected group 0, binding {i}"));
        }
        let ty = &module.types[variable.ty].inner;
        match (i, variable.space) {
            (0, naga::AddressSpace::Uniform) => params(&module, ty, kernel)?,
            (1.., naga::AddressSpace::Storage { access }) => {
                let writes = access.contains(naga::StorageAccess::STORE);
                if writes != (i > kernel.reads) {
                    return Err(format!("{name}: {access:?}, but binding {i} of {} + {}", kernel.reads, kernel.writes));
                }
                let words = words(&module, ty).map_err(|e| format!("{name}: {e}"))?;
                if name.ends_with("table") && words != RELAX {
                    return Err(format!("{name}: {words} words an entry, relaxation tables have {RELAX}"));
                }
            }
            (_, space) => return Err(format!("{name} is in {space:?}")),
        }
    }
    constants(&module)
}

/// The uniform block is the host's struct: the same names and kinds in the same order, 4-byte scalars all. Structs that
/// several ops have in theirs stand for their fields.
fn params(module: &naga::Module, ty: &naga::TypeInner, kernel: &Kernel) -> Result<(), String> {
    let naga::TypeInner::Struct { members, span } = ty else {
        return Err("binding 0 is not a struct".into());
    };
    if *span as usize != kernel.params || kernel.params > 256 {
        return Err(format!("parameters: {span} bytes, the host's struct has {}, at most 256", kernel.params));
    }
    let host = host_params(kernel.name)?;
    if host.len() != members.len() {
        return Err(format!("{} parameters, the host's struct has {}", members.len(), host.len()));
    }
    for (i, (member, host)) in members.iter().zip(host).enumerate() {
        let name = member.name.as_deref().unwrap_or("?");
        let kind = match module.types[member.ty].inner {
            naga::TypeInner::Scalar(naga::Scalar { kind: naga::ScalarKind::Float, width: 4 }) => "f32",
            naga::TypeInner::Scalar(naga::Scalar { kind: naga::ScalarKind::Uint, width: 4 }) => "u32",
            naga::TypeInner::Scalar(naga::Scalar { kind: naga::ScalarKind::Sint, width: 4 }) => "i32",
            _ => "no 4-byte scalar",
        };
        if (name, kind) != (&host.0, &host.1) || member.offset as usize != 4 * i {
            return Err(format!("parameter {i} is {name}: {kind}, on the host it is {}: {}", host.0, host.1));
        }
    }
    Ok(())
}

/// Fields of the parameter struct in the source of the op whose row has this name: what its rows take the size of.
fn host_params(kernel: &str) -> Result<Vec<(String, String)>, String> {
    let name = format!("\"{kernel}\"");
    let ops: Vec<source::Source> = source::files("src/ops", "rs");
    let mut structs = Vec::new();
    for op in ops.iter().filter(|s| !s.is_test) {
        let tokens = source::tokens(&op.code);
        if tokens.iter().any(|t| t.text == name) {
            // `size_of::<Params>()`, or `Kernel::of::<Params>(...)`, which takes it.
            let takes = |w: &&[Token<'_>]| ["size_of", "of"].contains(&w[0].text) && w[2].text == "<";
            let sized = tokens.windows(4).filter(takes).map(|w| w[3].text);
            let mut sized: Vec<&str> = sized.collect();
            sized.dedup();
            let found =
                |name| fields(&tokens, name).or_else(|| fields(&source::tokens(&imported(&ops, op, name)?.code), name));
            structs.extend(sized.into_iter().map(|name| flattened(&ops, found(name)?)));
        }
    }
    match &structs[..] {
        [Some(fields)] => Ok(fields.clone()),
        [None] => {
            Err(format!("the rows of {kernel} take the size of something that is no #[repr(C)] struct beside them"))
        }
        _ => Err(format!("src/ops names {kernel} beside {} sizes of structs; expected one", structs.len())),
    }
}

/// The op that a name of another op is imported from.
fn imported<'a>(ops: &'a [source::Source], op: &source::Source, name: &str) -> Option<&'a source::Source> {
    let uses = op.code.split(';').filter_map(|item| item.trim().strip_prefix("use super::"));
    let names = |list: &str| list.split(|c: char| !c.is_alphanumeric()).any(|word| word == name);
    let from = uses.filter_map(|item| item.split_once("::")).find(|(_, list)| names(list))?.0;
    ops.iter().find(|s| s.module_path() == [from] && s.code.contains("pub static KERNELS"))
}

/// With the fields of a struct that is found in some op in place of a field of its type.
fn flattened(ops: &[source::Source], outer: Vec<(String, String)>) -> Option<Vec<(String, String)>> {
    let inner = |(name, kind): (String, String)| match kind.as_str() {
        "u32" | "i32" | "f32" => Some(vec![(name, kind)]),
        kind => ops.iter().find_map(|op| fields(&source::tokens(&op.code), kind)),
    };
    Some(outer.into_iter().map(inner).collect::<Option<Vec<_>>>()?.concat())
}

/// Names and types of the fields of a `#[repr(C)]` struct.
fn fields(tokens: &[Token<'_>], name: &str) -> Option<Vec<(String, String)>> {
    let at = tokens.windows(3).position(|w| w[0].text == "struct" && w[1].text == name && w[2].text == "{")?;
    let before: Vec<&str> = tokens[..at].iter().map(|t| t.text).collect();
    let item = before.iter().rposition(|t| [";", "}"].contains(t)).map_or(0, |end| end + 1);
    before[item..].windows(4).find(|w| *w == ["repr", "(", "C", ")"])?;
    let inside = &tokens[at + 3..closing(tokens, at + 2)?];
    let mut found = Vec::new();
    for field in inside.split(|t| t.text == ",").filter(|f| !f.is_empty()) {
        let [.., name, colon, kind] = field else { return None };
        if colon.text != ":" {
            return None;
        }
        found.push((name.text.to_string(), kind.text.to_string()));
    }
    Some(found)
}

/// Storage is a run-time array of 4-byte scalars or of vectors of four (or two) of them; how many.
fn words(module: &naga::Module, ty: &naga::TypeInner) -> Result<usize, String> {
    let naga::TypeInner::Array { base, size: naga::ArraySize::Dynamic, .. } = ty else {
        return Err("not a run-time array".into());
    };
    match &module.types[*base].inner {
        naga::TypeInner::Scalar(s) | naga::TypeInner::Atomic(s) if s.width == 4 => Ok(1),
        naga::TypeInner::Vector { size, scalar } if scalar.width == 4 && *size != naga::VectorSize::Tri => {
            Ok(*size as usize)
        }
        _ => Err("elements are not 4-byte words or vectors of them".into()),
    }
}

/// Every constant of the shader is one of those that Rust has too, to the bit.
fn constants(module: &naga::Module) -> Result<(), String> {
    for (_, constant) in module.constants.iter() {
        let Some(name) = constant.name.as_deref() else { continue };
        let naga::Expression::Literal(literal) = module.global_expressions[constant.init] else {
            return Err(format!("{name}: not a number"));
        };
        let bits = match literal {
            naga::Literal::F32(x) => x.to_bits(),
            naga::Literal::U32(x) => x,
            naga::Literal::I32(x) => x as u32,
            _ => return Err(format!("{name}: {literal:?} is not a 4-byte number")),
        };
        let host: Vec<u32> = ops::constants().iter().filter(|(n, _)| *n == name).map(|(_, bits)| *bits).collect();
        if host.is_empty() || host.iter().any(|h| *h != bits) {
            return Err(format!("{name} is {literal:?}, bits {bits:#x}; ops::constants() has {host:x?}"));
        }
    }
    Ok(())
}

/// No constant is listed that no shader has any more.
pub fn constants_are_used() -> Result<(), String> {
    let declared = |name: &str| ops::kernels().iter().any(|k| k.source.contains(&format!("\nconst {name}: ")));
    match ops::constants().into_iter().find(|(name, _)| !declared(name)) {
        None => Ok(()),
        Some((name, _)) => Err(format!("no shader has a constant {name}; take it off ops::constants()")),
    }
}

/// Changes to shaders that the comparison has to see, by what it then says.
pub fn changes_are_seen() -> Result<(), String> {
    let changes: &[(&str, &[[&str; 2]], &str)] = &[
        (
            "range_values",
            &[["    most: f32,\n    lost: f32,", "    lost: f32,\n    most: f32,"]],
            "parameter 2 is lost: f32",
        ),
        ("noise_gaussian", &[["clip: u32", "clip: i32"], ["params.clip == 1u", "params.clip == 1i"]], "is clip: i32"),
        ("range_values", &[["    lost: f32,\n", "    lost: f32,\n    more: f32,\n"]], "20 bytes"),
        ("linear_radius", &[["CAUTION: f32 = 0.99999", "CAUTION: f32 = 0.999991"]], "CAUTION is"),
        ("range_values", &[["SLICES: u32 = 8u", "SLICES: u32 = 4u"]], "SLICES is"),
        ("add_interval", &[["TINY_BITS: u32 = 0x0d800000u", "TINY_BITS: u32 = 0x0d000000u"]], "TINY_BITS is"),
        ("signs_climb", &[["MOST: f32 = 1024.0", "MOST: f32 = 2048.0"]], "MOST is"),
        ("gather_forward", &[["const NOWHERE", "const NEW: f32 = 1.0;\nconst NOWHERE"]], "NEW is"),
        (
            "relu_forward",
            &[["@workgroup_size(64, 1, 1)\nfn forward", "@workgroup_size(32, 1, 1)\nfn forward"]],
            "workgroup",
        ),
    ];
    for (name, replaced, expected) in changes {
        let kernel = ops::kernels().into_iter().find(|k| k.name == *name).ok_or_else(|| format!("no kernel {name}"))?;
        let mut source = kernel.source.to_string();
        for [from, to] in *replaced {
            if !source.contains(from) {
                return Err(format!("{name} has no {from:?} any more; choose another change"));
            }
            source = source.replace(from, to);
        }
        let said = agrees(&Kernel { source: source.leak(), ..*kernel }).err();
        if !said.as_ref().is_some_and(|said| said.contains(expected)) {
            return Err(format!("{name} with {replaced:?}: {said:?}, expected {expected:?}"));
        }
    }
    Ok(())
}
