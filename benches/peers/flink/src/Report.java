package bench;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.SerializationFeature;
import java.lang.management.ManagementFactory;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/** What was measured, as text and as JSON. */
final class Report {
    /** At full load. Where the model is not the stub, its calls are not known. */
    record Throughput(double rate, double limit, Integer peakInFlight, Double callsPerMessage, double cpuMs,
            double memoryMb, double startSeconds, double othersCpus) {
        @Override
        public String toString() {
            return "  %.0f messages/s, %.1f %% of the limit of %.0f/s; %s%.2f ms CPU a message; %.0f MB; started in %.1f s (%.1f CPUs busy with other things)"
                    .formatted(rate, 100 * rate / limit, limit, calls(), cpuMs, memoryMb, startSeconds, othersCpus);
        }

        private String calls() {
            return peakInFlight == null ? ""
                    : "at most %d calls in flight, %.2f for each message; ".formatted(peakInFlight, callsPerMessage);
        }
    }

    /** At a steady rate. */
    record Steady(int rate, double addedP50, double addedP99, double addedMax, double cpuMs, double memoryMb,
            double othersCpus) {
        @Override
        public String toString() {
            return "  at %d/s: %.1f ms added at p50, %.1f at p99, %.1f at most; %.2f ms CPU a message; %.0f MB (%.1f CPUs busy with other things)"
                    .formatted(rate, addedP50, addedP99, addedMax, cpuMs, memoryMb, othersCpus);
        }
    }

    private final Map<String, Object> all = new LinkedHashMap<>();
    private final List<Map<String, Object>> setups = new ArrayList<>();
    private final StringBuilder text = new StringBuilder();

    Report(int inFlight, int latencyMs, int seconds, int warmUp) {
        Locale.setDefault(Locale.ROOT);
        var system = ManagementFactory.getOperatingSystemMXBean();
        all.put("benchmark", "route_messages on Flink's ML_PREDICT");
        all.put("at", Instant.now().truncatedTo(ChronoUnit.SECONDS).toString());
        all.put("cpus", system.getAvailableProcessors());
        all.put("load_average_before", system.getSystemLoadAverage());
        all.put("in_flight", inFlight);
        all.put("latency_ms", latencyMs);
        all.put("seconds", seconds);
        all.put("warm_up_seconds", warmUp);
        all.put("setups", setups);
        text.append("route_messages on Flink's ML_PREDICT: %d in flight wanted, a model of %d ms, %s, %s CPUs, load %.1f%n"
                .formatted(inFlight, latencyMs, all.get("at"), all.get("cpus"), system.getSystemLoadAverage()));
    }

    void add(Setup setup, Throughput throughput, Steady steady) {
        var one = new LinkedHashMap<String, Object>();
        one.put("setup", setup.name());
        one.put("about", setup.about());
        one.put("settings", setup.settings());
        text.append("%n%s (%s)%n".formatted(setup.name(), setup.about()));
        if (throughput != null) {
            var full = new LinkedHashMap<String, Object>();
            full.put("messages_per_second", throughput.rate());
            full.put("limit_per_second", throughput.limit());
            full.put("share_of_limit", throughput.rate() / throughput.limit());
            full.put("peak_calls_in_flight", throughput.peakInFlight());
            full.put("calls_per_message", throughput.callsPerMessage());
            full.put("cpu_ms_per_message", throughput.cpuMs());
            full.put("peak_memory_mb", throughput.memoryMb());
            full.put("start_seconds", throughput.startSeconds());
            full.put("cpus_busy_with_other_things", throughput.othersCpus());
            one.put("full_load", full);
            text.append(throughput).append('\n');
        }
        if (steady != null) {
            var calm = new LinkedHashMap<String, Object>();
            calm.put("messages_per_second", steady.rate());
            calm.put("added_ms_p50", steady.addedP50());
            calm.put("added_ms_p99", steady.addedP99());
            calm.put("added_ms_max", steady.addedMax());
            calm.put("cpu_ms_per_message", steady.cpuMs());
            calm.put("peak_memory_mb", steady.memoryMb());
            calm.put("cpus_busy_with_other_things", steady.othersCpus());
            one.put("steady", calm);
            text.append(steady).append('\n');
        }
        setups.add(one);
    }

    String text() {
        return text.toString();
    }

    String json() throws Exception {
        return new ObjectMapper().enable(SerializationFeature.INDENT_OUTPUT).writeValueAsString(all) + "\n";
    }
}
