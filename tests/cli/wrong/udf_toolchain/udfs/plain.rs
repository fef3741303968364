use arroyo_udf_plugin::udf;

#[udf]
fn plain(n: i64) -> i64 {
    n
}
