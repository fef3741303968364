package bench;

/** Ends the benchmark with a message for whoever runs it. */
final class Failure extends RuntimeException {
    private static final long serialVersionUID = 1;

    final int exitCode;

    /** Something went wrong. */
    Failure(String message) {
        this(message, 1);
    }

    private Failure(String message, int exitCode) {
        super(message);
        this.exitCode = exitCode;
    }

    /** It was started wrongly. */
    static Failure usage(String message) {
        return new Failure(message, 2);
    }
}
