use arroyo_udf_plugin::udf;

#[udf]
fn borrowed(text: &str) -> &str {
    text
}
