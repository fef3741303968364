package bench;

/** Ends the benchmark with a message for whoever runs it. */
final class Failure extends RuntimeException {
    private static final long serialVersionUID = 1;

    Failure(String message) {
        super(message);
    }
}
