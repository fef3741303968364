/*
[dependencies]
serde_json = 1
*/
use arroyo_udf_plugin::udf;

#[udf]
fn versions(text: &str) -> i64 {
    1
}
