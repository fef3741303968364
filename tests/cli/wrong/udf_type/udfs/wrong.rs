use arroyo_udf_plugin::udf;

#[udf]
fn wrong(text: String, many: Vec<i64>, when: std::time::SystemTime) -> (i64, i64) {
    (1, 2)
}
