#!/bin/sh
# Calls UDFs under valgrind and fails when memory is lost for good in proportion to the rows.
#
# Not part of the suite: valgrind is slow and not everywhere. A UDF's thread may still be on its way out when the process
# ends, so a constant is allowed; a leak of one byte a row would lose 2,000.
set -eu
cd "$(dirname "$0")/.."

allowed_bytes=1024

binary=$(cargo test --release --test udf_host --no-run --message-format=json |
    sed -n 's/.*"executable":"\([^"]*udf_host-[^"]*\)".*/\1/p' | tail -1)
[ -n "$binary" ] || { echo "the test binary was not built" >&2; exit 1; }
# Compiles the fixtures outside of valgrind.
BATON_LEAK_ROWS=100 "$binary" --ignored --exact udf_host::leaks::rows_for_valgrind

log=$(mktemp)
trap 'rm -f "$log"' EXIT
BATON_LEAK_ROWS="${BATON_LEAK_ROWS:-2000}" valgrind --leak-check=full --show-leak-kinds=definite --log-file="$log" \
    "$binary" --ignored --exact udf_host::leaks::rows_for_valgrind
lost=$(sed -n 's/.*definitely lost: \([0-9,]*\) bytes.*/\1/p' "$log" | tr -d ,)
lost=${lost:-0}
echo "definitely lost: $lost bytes (allowed: $allowed_bytes)"
if [ "$lost" -gt "$allowed_bytes" ] || grep -q "Invalid \(read\|write\|free\)" "$log"; then
    cat "$log" >&2
    exit 1
fi
