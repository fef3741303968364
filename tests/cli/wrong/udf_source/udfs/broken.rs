use arroyo_udf_plugin::udf;

#[udf]
fn broken(text: &str) -> String {
    text.to_string(
}
