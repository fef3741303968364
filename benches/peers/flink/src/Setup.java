package bench;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.IntFunction;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

/** One way of running the job on Flink: its settings, and by how many clients the model is asked. */
record Setup(
        String name, String about, int clients, int callsAtOnce, boolean newerClient, int lingerMs,
        Map<String, String> settings) {
    /** What OkHttp allows to one host, and the client library of Flink 2.3 leaves at that. */
    private static final int CALLS_OF_A_CLIENT = 5;
    /** What newer versions of that library (first on the class path, in newer-client) allow. */
    private static final int CALLS_OF_A_NEWER_CLIENT = 64;

    private static final Pattern EACH = Pattern.compile("\\$\\{each (\\w+)(?:, with ([^\n]+))?:\n(.*?)\n}", Pattern.DOTALL);

    static List<Setup> all(int inFlight) {
        int many = divide(inFlight, CALLS_OF_A_CLIENT);
        int few = divide(inFlight, CALLS_OF_A_NEWER_CLIENT);
        return List.of(
                new Setup("default", "Flink as it comes", 1, CALLS_OF_A_CLIENT, false, 5, base()),
                new Setup("tuned", "its settings for speed", 1, CALLS_OF_A_CLIENT, false, 0, fast(inFlight)),
                new Setup("clients", "tuned, the model declared " + many + " times, each time with a client of its own",
                        many, many * CALLS_OF_A_CLIENT, false, 0, fast(4 * CALLS_OF_A_CLIENT)),
                new Setup("newer-client", "tuned, a newer openai-java ahead of Flink's, the model declared " + few + " times",
                        few, inFlight, true, 0, fast(divide(inFlight, few))));
    }

    private static Map<String, String> base() {
        var settings = new TreeMap<String, String>();
        settings.put("execution.checkpointing.interval", "10 s"); // without it no offset is ever committed
        settings.put("restart-strategy.type", "none"); // a failure ends the benchmark
        for (var role : List.of("rest.bind-address", "rest.address", "jobmanager.bind-host", "taskmanager.bind-host")) {
            settings.put(role, "127.0.0.1");
        }
        return settings;
    }

    private static Map<String, String> fast(int callsOfAModel) {
        var settings = base();
        settings.put("parallelism.default", "1");
        settings.put("pipeline.object-reuse", "true");
        // what the seven INSERTs share is planned once, not seven times
        settings.put("table.optimizer.reuse-optimize-block-with-digest-enabled", "true");
        settings.put("execution.buffer-timeout", "0 ms");
        settings.put("table.exec.async-ml-predict.output-mode", "ALLOW_UNORDERED");
        settings.put("table.exec.async-ml-predict.max-concurrent-operations", Integer.toString(callsOfAModel));
        return settings;
    }

    private static int divide(int whole, int part) {
        return (whole + part - 1) / part;
    }

    Setup with(Map<String, String> more) {
        var settings = new LinkedHashMap<>(this.settings);
        settings.putAll(more);
        return new Setup(name, about, clients, callsAtOnce, newerClient, lingerMs, settings);
    }

    /** The text of job.sql for this setup. `url` ends with /v1. */
    String sql(String template, Map<String, String> values, String url) {
        IntFunction<Map<String, String>> model = n -> Map.of(
                "n", Integer.toString(n),
                "slice", clients == 1 ? "TRUE" : "MOD(offset_id + 7 * `partition`, %d) = %d".formatted(clients, n),
                // Flink shares a client among models of the same URL; a fragment is not sent to the server.
                "endpoint", url + (n == 0 ? "" : "#" + n) + "/chat/completions");
        var each = Map.of(
                "model", IntStream.range(0, clients).mapToObj(model).toList(),
                "agent", Message.AGENTS.stream().map(agent -> Map.of("topic", agent.topic())).toList());
        var text = EACH.matcher(template).replaceAll(found -> {
            var between = found.group(2) == null ? "\n" : "\n" + found.group(2) + "\n";
            var parts = each.get(found.group(1)).stream().map(own -> fill(found.group(3), own));
            return java.util.regex.Matcher.quoteReplacement(parts.collect(Collectors.joining(between)));
        });
        return fill(text, values);
    }

    private static String fill(String text, Map<String, String> values) {
        for (var value : values.entrySet()) text = text.replace("${" + value.getKey() + "}", value.getValue());
        return text;
    }
}
