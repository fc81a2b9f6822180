//! JSON pointers (RFC 6901): the place of a value in an object.

/// The pointer of a field, or of an item by its index, of the value at another pointer.
pub(crate) fn joined(pointer: &str, field: &str) -> String {
    format!("{pointer}/{}", field.replace('~', "~0").replace('/', "~1"))
}

/// The fields and indices of a pointer.
pub(crate) fn steps(pointer: &str) -> impl Iterator<Item = String> {
    let steps = pointer.split('/').skip(1);
    steps.map(|step| step.replace("~1", "/").replace("~0", "~"))
}
