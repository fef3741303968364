package bench;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** The command line. */
final class Options {
    static final String HELP = """
            usage: benches/peers/flink/run [OPTIONS]

            Measures Baton's route_messages on Apache Flink. Prints the result on stdout, progress on stderr.

              --setup A,B        which of default, tuned, clients, newer-client (README.md)  [all]
              --phase NAME       only `throughput`, or only `steady`                         [both]
              --in-flight N      how many calls are to be in flight                          [200]
              --latency-ms N     how long the model takes                                    [100]
              --rate N           messages a second in the steady phase    [half of what is possible, at most 100]
              --seconds N        how long each phase is measured, after the warm-up          [20]
              --warm-up N        seconds from the first result until then                    [30]
              --format json      instead of text
              --model-url URL    a model to ask instead of the stub, up to and with /v1; --latency-ms says what it takes
              --model NAME       that model's name; its key is taken from OPENAI_API_KEY     [stub]
              --set KEY=VALUE    a setting of Flink, for every setup (several may be given)
              --java-option O    an option of Flink's JVM (several may be given)             [-Xmx512m]
              --linger MS        how long Flink's producers wait for more  [0; in `default` 5, which is Kafka's default]
              --keep             leave logs, settings and SQL in target/flink/run-PID

            KAFKA_BOOTSTRAP_SERVERS: a Kafka to use instead of one that is started here; topics are made and deleted.
            """;

    private final Map<String, String> given = new LinkedHashMap<>();
    final Map<String, String> settings = new LinkedHashMap<>();
    final List<String> javaOptions = new ArrayList<>();

    Options(List<String> args) {
        var known = List.of("setup", "phase", "in-flight", "latency-ms", "rate", "seconds", "warm-up", "format",
                "model-url", "model", "linger");
        for (var rest = args.iterator(); rest.hasNext();) {
            var arg = rest.next();
            var name = arg.startsWith("--") ? arg.substring(2) : "";
            if (name.equals("keep")) {
                given.put(name, "");
                continue;
            }
            if (!known.contains(name) && !name.equals("set") && !name.equals("java-option")) {
                throw Failure.usage("there is no option " + arg + "; --help lists them");
            }
            if (!rest.hasNext()) throw Failure.usage(arg + " needs a value");
            var value = rest.next();
            switch (name) {
                case "java-option" -> javaOptions.add(value);
                case "set" -> {
                    int equals = value.indexOf('=');
                    if (equals < 1) throw Failure.usage("--set needs KEY=VALUE, not " + value);
                    settings.put(value.substring(0, equals), value.substring(equals + 1));
                }
                default -> given.put(name, value);
            }
        }
        for (var name : List.of("in-flight", "latency-ms", "rate", "seconds", "warm-up", "linger")) number(name, 0);
        if (javaOptions.isEmpty()) javaOptions.add("-Xmx512m");
        oneOf("format", "text", "json");
        oneOf("phase", "both", "throughput", "steady");
    }

    String text(String name, String otherwise) {
        return given.getOrDefault(name, otherwise);
    }

    int number(String name, int otherwise) {
        var value = given.get(name);
        if (value == null) return otherwise;
        if (!value.matches("[1-9]\\d{0,8}|0") || (value.equals("0") && !name.equals("linger") && !name.equals("warm-up"))) {
            throw Failure.usage("--" + name + " needs a number above zero, not " + value);
        }
        return Integer.parseInt(value);
    }

    boolean has(String name) {
        return given.containsKey(name);
    }

    private void oneOf(String name, String... values) {
        var value = text(name, values[0]);
        if (!List.of(values).contains(value)) {
            throw Failure.usage("--" + name + " is one of " + String.join(", ", values) + ", not " + value);
        }
    }
}
