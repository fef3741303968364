package bench;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;

/** Seconds of CPU that have been used, from /proc. */
final class Cpu {
    private static final double CLOCK_TICKS_A_SECOND = 100; // what Linux shows to programs, whatever it uses itself

    private Cpu() {}

    static double ofProcess(long pid) throws IOException {
        var stat = Files.readString(Path.of("/proc/" + pid + "/stat"));
        var fields = stat.substring(stat.lastIndexOf(')') + 2).split(" ");
        return (Long.parseLong(fields[11]) + Long.parseLong(fields[12])) / CLOCK_TICKS_A_SECOND;
    }

    static double ofMachine() throws IOException {
        var fields = Files.readString(Path.of("/proc/stat")).lines().findFirst().orElseThrow().split(" +");
        long ticks = 0;
        for (int i = 1; i <= 8; i++) {
            if (i != 4 && i != 5) ticks += Long.parseLong(fields[i]); // 4 and 5: idle, and idle because of a disk
        }
        return ticks / CLOCK_TICKS_A_SECOND;
    }
}
